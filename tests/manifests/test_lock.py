"""Lock files: one holder at a time, whoever held it before, and clear errors."""

import os
import subprocess
import sys

import pytest

from manifests.errors import BusyError, StorageError
from manifests.lock import hold


def _busy(holder):
    return BusyError("thing", got=holder, need="one at a time", do="Wait.")


def test_one_holder_at_a_time_and_the_error_names_it(tmp_path):
    path = tmp_path / "x.lock"
    with hold(path, _busy), pytest.raises(BusyError, match=f"process {os.getpid()} on "), hold(path, _busy):
        pass
    with hold(path, _busy):
        pass


def test_a_file_left_behind_locks_nothing_and_an_error_inside_releases_it(tmp_path):
    path = tmp_path / "x.lock"
    path.write_text("process 1 on another machine, of a longer name than ours")
    with hold(path, _busy):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
        assert "longer name" not in path.read_text()
    with pytest.raises(ZeroDivisionError), hold(path, _busy):
        raise ZeroDivisionError
    with hold(path, _busy):
        pass


def test_a_process_that_ends_releases_it(tmp_path):
    path = tmp_path / "x.lock"
    code = "import os, sys\nfrom pathlib import Path\nfrom manifests.lock import hold\nwith hold(Path(sys.argv[1]), print):\n os._exit(3)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 3
    with hold(path, _busy):
        pass


def test_a_folder_that_is_missing_is_an_error_of_storage(tmp_path):
    with pytest.raises(StorageError, match="No such file"), hold(tmp_path / "none" / "x.lock", _busy):
        pass
