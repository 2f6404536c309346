"""A small dataset of boxes: the downstream packages need no generator."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from manifests.anatomy import structure
from manifests.case import Arrays, Attributes, CaseRecord, Lesion, TumourAttributes
from manifests.dataset import Dataset, DatasetSpec
from manifests.foreign import measure_structures
from manifests.geometry import Grid
from manifests.identity import make_case_id, rng

GRID = Grid((22, 18, 26), (5.0, 4.0, 3.5), (-43.75, -34.0, 12.125))


def box_arrays(case_id: str, tumour: bool) -> Arrays:
    """A body with two kidneys and, in the left one, a tumour; noise tells the cases apart."""
    draw = rng(case_id, "boxes")
    anatomy = np.zeros(GRID.shape_zyx, np.uint8)
    anatomy[1:-1, 2:-2, 2:-2] = structure("body").id
    anatomy[6:16, 6:12, 4:10] = structure("kidney_right").id
    anatomy[6:16, 6:12, 16:22] = structure("kidney_left").id
    lesions = np.zeros_like(anatomy)
    if tumour:
        z = int(draw.integers(7, 11))
        lesions[z : z + 3, 7:11, 17:20] = 1
    ct = np.full(GRID.shape_zyx, -1000, np.int16)
    ct[anatomy > 0] = 20
    ct[anatomy == structure("kidney_left").id] = 160
    ct[anatomy == structure("kidney_right").id] = 160
    ct[lesions > 0] = 70
    ct += draw.integers(-12, 13, ct.shape).astype(np.int16)
    return Arrays(GRID, ct, anatomy, lesions)


def box_case(index: int, prompt: str, tumour: bool = True) -> tuple[CaseRecord, Arrays]:
    """Record and arrays of one accepted case."""
    case_id = make_case_id(prompt_id=prompt, spec="boxes", index=index, candidate=0)
    asked = Attributes(sex="male", age_years=61, tumours=(TumourAttributes(organ="kidney", side="left", count=1),))
    lesion = Lesion(
        id=1,
        organ="kidney",
        site="kidney_left",
        side="left",
        size_mm=19.1,
        volume_ml=2.5,
        center_mm_xyz=(18.0, 0.0, 60.0),
    )
    record = CaseRecord(
        case_id=case_id,
        status="accepted",
        index=index,
        prompt_id=prompt,
        prompt_text=f"A male patient with a tumour of the left kidney, {prompt} <b>&",
        requested=asked,
        measured=asked if tumour else Attributes(sex="male", age_years=61),
        lesions=(lesion,) if tumour else (),
        licence="CC0-1.0",
        factory_version="0",
        anatomy_table="t",
    )
    return record, box_arrays(case_id, tumour)


@pytest.fixture
def box_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Build `boxes(cases)`: every third case without a tumour, every case with a prompt of its own."""

    def build(cases: int, name: str = "boxes", prompts: int | None = None) -> Dataset:
        dataset = Dataset.create(tmp_path / name, DatasetSpec(kind="synthetic", prompts={"name": "boxes"}))
        for index in range(cases):
            dataset.save(*box_case(index, f"p{index % (prompts or cases)}", tumour=index % 3 != 2))
        return dataset

    return build


@pytest.fixture
def measured_boxes(tmp_path: Path) -> Callable[..., Path]:
    """Build `measured_boxes(name, kind, cases)`: box cases with their structures measured.

    Real ones have a patient each and every fifth is to be tested, generated ones a prompt each and a patient only where `patients` names a dataset of real ones.
    """

    def build(name: str, kind: str, cases: int, patients: str | None = None) -> Path:
        dataset = Dataset.create(tmp_path / name, DatasetSpec(kind=kind, prompts={"name": name}))
        named = name if kind == "real" else patients
        for index in range(cases):
            record, arrays = box_case(index, f"{name}{index}")
            measured = measure_structures(arrays.ct, arrays.anatomy, arrays.grid)
            changes = {"structures": measured, "patient_id": named and f"{named}{index}"}
            if kind == "real":
                changes |= {"prompt_id": None, "split": "test" if index % 5 == 4 else "train"}
            dataset.save(record.model_copy(update=changes), arrays)
        return dataset.root

    return build


@pytest.fixture
def workers_end() -> Callable[[Path], bool]:
    """Whether all processes that name a folder in their command end within a minute; one that still imports notices late."""

    def wait(out: Path) -> bool:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if not any(str(out).encode() in command for command in _commands()):
                return True
            time.sleep(0.2)
        return False

    return wait


def _commands() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(path.read_bytes())
    return found
