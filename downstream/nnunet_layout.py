"""What nnU-Net v2 demands of a raw dataset folder: names of files, one name for an id, its own check.

Source: nnU-Net 2.8, documentation/dataset_format.md and experiment_planning/verify_dataset_integrity.py.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from manifests.errors import DefectError, LocationError, MissingDependencyError

__all__ = [
    "ENDING",
    "IMAGES",
    "LABELS",
    "require_free_id",
    "require_nnunet",
    "verify_integrity",
]

ENDING = ".nii.gz"
IMAGES, LABELS = "imagesTr", "labelsTr"
_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
_VERIFIERS = 4


def require_free_id(folder: Path) -> None:
    """Make sure that no other dataset has the id of `DatasetXXX_Name`, here or in nnU-Net's own folders.

    Raises:
        LocationError: naming the folder that has it; nnU-Net refuses two names for one id.
    """
    homes = (folder.parent, *(Path(os.environ[key]) for key in _FOLDERS if os.environ.get(key)))
    for taken in (path for home in homes for path in sorted(home.glob(f"{folder.name[:10]}*"))):
        if taken.name != folder.name:
            raise LocationError(
                f"--id {folder.name[7:10]}", got=f"in use by {taken}", need="a free id", do="Choose another id."
            )


def require_nnunet(otherwise: str = "") -> None:
    """Make sure that nnU-Net is installed.

    Raises:
        MissingDependencyError: saying what to install, or what to do `otherwise`.
    """
    if find_spec("nnunetv2") is None:
        do = ", ".join(filter(None, ("pip install 'ct-factory[nnunet]'", otherwise)))
        raise MissingDependencyError("nnunetv2", got="no such package", need="nnU-Net", do=f"{do}.")


def verify_integrity(folder: Path) -> None:
    """Run nnU-Net's own check, in a process of its own: it starts pools and prints.

    Raises:
        DefectError: with the last lines of what it said, if it refuses the dataset.
    """
    code = (
        "import sys; from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity;"
        "verify_dataset_integrity(sys.argv[1], int(sys.argv[2]))"
    )
    workers = str(min(_VERIFIERS, os.cpu_count() or 1))
    command = [sys.executable, "-c", code, str(folder), workers]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        tail = " | ".join((run.stdout + run.stderr).strip().splitlines()[-3:])
        raise DefectError(
            str(folder), got=f"refused by nnU-Net: {tail}", need="a dataset that it accepts", do="Please report it."
        )
