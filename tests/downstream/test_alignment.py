"""Mask-prompt alignment on masks whose answers can be told by hand."""

import math

import numpy as np
import pytest

from downstream.alignment import align, measure_tumours, summarise
from manifests.anatomy import structure, table_hash
from manifests.case import FACTORY_VERSION, Arrays, Attributes, CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.spec import DatasetSpec

LIVER, COLON = structure("liver").id, structure("colon_sigmoid").id
GRID = Grid((6, 12, 12), (4.0, 2.0, 2.0), (0.0, 0.0, 0.0))


def volumes(*boxes: tuple[slice, slice, slice]) -> Arrays:
    """Liver on the low half of x, sigmoid on the high half; each box a lesion of one instance id."""
    anatomy = np.full(GRID.shape_zyx, LIVER, np.uint8)
    anatomy[:, :, 6:] = COLON
    lesions = np.zeros_like(anatomy)
    for box in boxes:
        lesions[box] = 1
    return Arrays(GRID, np.zeros(GRID.shape_zyx, np.int16), anatomy, lesions)


def box(z: int, y: int, x: int, size: int = 2) -> tuple[slice, slice, slice]:
    return slice(z, z + 1), slice(y, y + size), slice(x, x + size)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    spec = DatasetSpec(
        kind="synthetic",
        mask_model={"name": "toy"},
        image_model={"name": "toy"},
        grid={"preset": "toy"},
        run_seed=0,
        prompts={"origin": "test"},
        gate={},
        anatomy_table=table_hash(),
        factory_version=FACTORY_VERSION,
    )
    return Dataset.create(tmp_path / "data", spec)


def deliver(dataset: Dataset, arrays: Arrays, requested: TumourAttributes, drawn: TumourAttributes) -> None:
    index = len(dataset.accepted())
    record = CaseRecord(
        case_id=f"c{index}",
        status="accepted",
        index=index,
        prompt_id="p",
        requested=Attributes(tumours=(requested,)),
        drawn=Attributes(tumours=(drawn,)),
        factory_version=FACTORY_VERSION,
        anatomy_table=table_hash(),
    )
    dataset.save(record, arrays)


def test_a_square_of_two_voxels_measures_its_diagonal() -> None:
    (found,) = measure_tumours(volumes(box(1, 1, 1)))
    assert (found.organ, found.site) == ("liver", "liver")
    assert found.size_mm == pytest.approx(math.hypot(4, 4))


def test_touching_corners_are_one_tumour_and_a_gap_makes_two() -> None:
    assert len(measure_tumours(volumes(box(1, 1, 1), box(2, 3, 3)))) == 1
    assert len(measure_tumours(volumes(box(1, 1, 1), box(2, 4, 4)))) == 2


def test_no_lesion_is_no_tumour() -> None:
    assert measure_tumours(volumes()) == ()


@pytest.mark.parametrize(
    ("boxes", "agrees"),
    [
        ([box(1, 1, 1), box(4, 1, 1)], (True, True, True)),
        ([box(1, 1, 1)], (True, True, False)),
        ([box(1, 1, 8), box(4, 1, 8)], (False, False, False)),
        ([box(1, 1, 1), box(4, 1, 8)], (False, False, False)),
        ([], (False, False, False)),
    ],
)
def test_disagreement_is_found(dataset: Dataset, boxes, agrees) -> None:
    asked = TumourAttributes(organ="liver", site="liver", count=2, size_mm=5.0)
    deliver(dataset, volumes(*boxes), TumourAttributes(organ="liver"), asked)
    (case,) = align(dataset)
    assert (case.organ, case.site, case.count) == agrees
    assert (case.asked, case.measured) == (2, len(boxes))


def test_drawn_site_that_contradicts_the_prompt_is_no_agreement(dataset: Dataset) -> None:
    stated = TumourAttributes(organ="colon", site="rectum")
    drawn = TumourAttributes(organ="colon", site="colon_sigmoid", count=1, size_mm=5.0)
    deliver(dataset, volumes(box(1, 1, 8)), stated, drawn)
    (case,) = align(dataset)
    assert (case.organ, case.site, case.count) == (True, False, True)


def test_summary_counts_and_bounds(dataset: Dataset) -> None:
    asked = TumourAttributes(organ="liver", site="liver", count=1, size_mm=5.0)
    for boxes in ([box(1, 1, 1)], [box(1, 1, 1, 3)], []):
        deliver(dataset, volumes(*boxes), asked, asked)
    summary = summarise(list(align(dataset)))
    assert summary.count.value == pytest.approx(2 / 3)
    assert summary.count.low < 2 / 3 < summary.count.high
    assert summary.disagreeing == ("c2",)
    assert summary.size_error_mean_mm == pytest.approx((math.hypot(4, 4) + math.hypot(6, 6)) / 2 - 5)


def test_dataset_without_cases_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InvalidValueError, match="no delivered case"):
        list(align(dataset))


@pytest.mark.parametrize(("m_stage", "right"), [("M1", True), ("M0", False), (None, False)])
def test_metastases_of_a_stated_m1_are_no_tumours_too_many(dataset, m_stage, right):
    """A lesion of the liver beside the asked one of the sigmoid."""
    asked = TumourAttributes(organ="colon", site="colon_sigmoid", count=1, size_mm=5.657, m_stage=m_stage)
    deliver(dataset, volumes(box(2, 4, 8), box(2, 4, 2)), asked, asked)
    (found,) = align(dataset)
    assert (found.organ, found.site, found.count) == (right, right, right)
    assert found.size_error_mm == pytest.approx([0.0], abs=1e-3)
