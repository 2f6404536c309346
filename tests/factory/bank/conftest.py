"""Banks made of three phantom bodies: as built, and as a user would bring label maps of less."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.config import preset
from factory.engines.phantom import Phantom
from factory.engines.texture import Texture
from factory.testing import make_request
from manifests.anatomy import structure, structures
from manifests.case import Arrays
from manifests.ingest import ingest_images_labels
from manifests.nifti import write_nifti
from prompts.schema import Patient, Prompt, Study

GRID = preset("tiny").grid("torso")
PATIENTS = (Patient(sex="male", age_years=60, height_cm=178, weight_kg=80),
            Patient(sex="female", age_years=45, height_cm=163, weight_kg=62),
            Patient(sex="male", age_years=72, height_cm=170, weight_kg=90))  # fmt: skip
GROUND = ("body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle")
FEW = {"liver": "liver", "spleen": "spleen", "stomach": "stomach", "kidney_left": "kidneys", "kidney_right": "kidneys"}
KINDS = ("full", "scanned", "masks", "few")

MakeBank = Callable[[str], Path]


@pytest.fixture(scope="session")
def bodies() -> tuple[Arrays, ...]:
    """Three torsos with their CT."""
    found = []
    for number, patient in enumerate(PATIENTS):
        request = make_request(Prompt(patient=patient, study=Study(region="torso")), GRID, f"body{number}")
        masks = Phantom().draw(request)
        found.append(Arrays(GRID, Texture().render(request, masks), masks.anatomy, masks.lesions))
    return tuple(found)


@pytest.fixture(scope="session")
def bank(bodies: tuple[Arrays, ...], tmp_path_factory: pytest.TempPathFactory) -> MakeBank:
    """Make an ingested bank: `full` labels and CT, `scanned` organs and CT, `masks` of organs, `few` organs."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = _ingested(kind, bodies, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


def _ingested(kind: str, bodies: tuple[Arrays, ...], folder: Path) -> Path:
    names = {entry.id: entry.name for entry in structures()}
    if kind != "full":
        names = {id: name for id, name in names.items() if name not in GROUND}
    if kind == "few":
        names = {structure(name).id: meaning for name, meaning in FEW.items()}
    (folder / "labels.json").write_text(json.dumps({str(id): name for id, name in names.items()}))
    for number, body in enumerate(bodies):
        labels = np.where(np.isin(body.anatomy, list(names)), body.anatomy, 0).astype(np.uint8)
        for layer, array in (("labels", labels), ("images", body.ct)):
            (folder / layer).mkdir(exist_ok=True)
            write_nifti(folder / layer / f"s{number}.nii.gz", array, GRID)
    images = "" if kind in ("masks", "few") else "images/*.nii.gz"
    ingest_images_labels(folder, folder / "bank", folder / "labels.json", images=images)
    return folder / "bank"
