"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("factory", deadline=None)  # speed is measured in benchmarks/, never in a test
settings.load_profile("factory")

REAL_DATA = Path(os.environ.get("CT_FACTORY_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CTs, tables and reports; the test is skipped where it is missing."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set CT_FACTORY_REAL_DATA to the folder")
    return REAL_DATA
