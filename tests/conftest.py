"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

settings.register_profile("factory", deadline=None)  # speed is measured in benchmarks/, never in a test
settings.load_profile("factory")

REAL_DATA = Path(os.environ.get("CT_FACTORY_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CTs, tables and reports; the test is skipped where it is missing."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set CT_FACTORY_REAL_DATA to the folder")
    return REAL_DATA


ROOMS = {
    "tests/test_end_to_end.py": "whole builds",
    "tests/test_examples.py": "whole builds",
    "tests/factory/bank/": "bank",
    "tests/factory/phantom/": "phantom",
    "tests/factory/test_executor": "ray",
    "tests/factory/test_kill.py": "ray",
}
"""Files that one process runs: they share what is dear to make, or would start Ray beside one another."""


class Rooms(LoadFileScheduling):
    """Give each worker whole rooms, the long ones first; a room is a file, or what `ROOMS` says."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((room for start, room in ROOMS.items() if file.startswith(start)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Rooms:
    """Spread the rooms over the workers of `pytest -n`."""
    return Rooms(config, log)
