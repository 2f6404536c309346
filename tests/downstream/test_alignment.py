"""Mask-prompt alignment on masks whose answers can be told by hand."""

import math

import numpy as np
import pytest

from downstream.alignment import NONE, align, tidy
from downstream.alignment_summary import summarise
from downstream.organs import absent_agrees, sex_agrees, shown_structures
from downstream.tumours import WRONG_SIDE, measure_tumours
from manifests.anatomy import structure, table_hash
from manifests.case import FACTORY_VERSION, Arrays, Attributes, CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.spec import DatasetSpec

LIVER, COLON = structure("liver").id, structure("colon_sigmoid").id
LEFT, RIGHT = structure("kidney_left").id, structure("kidney_right").id
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


def deliver(
    dataset: Dataset, arrays: Arrays, requested: TumourAttributes, drawn: TumourAttributes, sex: str | None = None
) -> None:
    index = len(dataset.accepted())
    record = CaseRecord(
        case_id=f"c{index}",
        status="accepted",
        index=index,
        prompt_id="p",
        requested=Attributes(tumours=(requested,)),
        drawn=Attributes(tumours=(drawn,), sex=sex),
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
    assert summary.size_error_mm.mean == pytest.approx((math.hypot(4, 4) + math.hypot(6, 6)) / 2 - 5)
    assert (summary.position.value, summary.position.n) == (pytest.approx(2 / 3), 3)


def test_any_tumour_and_a_count_within_one(dataset: Dataset) -> None:
    three = TumourAttributes(organ="liver", site="liver", count=3)
    for boxes in ((), (box(1, 1, 1),), (box(1, 1, 1), box(3, 5, 1))):
        deliver(dataset, volumes(*boxes), three, three)
    found = list(align(dataset))
    assert [(case.present, case.near, case.count) for case in found] == [
        (False, False, False),
        (True, False, False),
        (True, True, False),
    ]
    summary = summarise(found)
    assert (summary.present.value, summary.near.value, summary.passed.value) == pytest.approx((2 / 3, 1 / 3, 1))
    assert (summary.sex.n, summary.absent.n) == (0, 0)
    near = [row.value for row in tidy(found, "a") if row.metric == "count_near"]
    assert near == [0.0, 0.0, 1.0]


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


def test_what_is_not_there_or_was_not_asked_for_stays_in_the_matrix(dataset: Dataset) -> None:
    """Found, in the other organ, missing; then one found and one too many."""
    asked = TumourAttributes(organ="liver", site="liver", count=1, size_mm=5.0)
    for boxes in ([box(1, 1, 1)], [box(1, 1, 8)], [], [box(1, 1, 1), box(4, 1, 8)]):
        deliver(dataset, volumes(*boxes), asked, asked, sex="male")
    cases = list(align(dataset))
    summary = summarise(cases)
    assert (summary.matrix.rows, summary.matrix.columns) == (("liver", NONE), ("liver", "colon_sigmoid", NONE))
    assert summary.matrix.counts == ((2, 1, 1), (0, 1, 0))
    assert sum(map(sum, summary.matrix.counts[:-1])) == summary.tumours == 4
    assert summary.breakdown.keys() == {"organ=liver", "site=liver", "size=0-10 mm", "sex=male"}
    assert summary.breakdown["organ=liver"].missing.value == 0.25
    rows = {(row.case_id, row.metric): row.value for row in tidy(cases, "a") if row.structure == "tumour"}
    assert [rows[f"c{number}", "position"] for number in range(4)] == [1, 0, 0, 1]
    assert math.isnan(rows["c2", "size_error_mm"])
    assert [row.structure for row in tidy(cases, "a")][-2:] == ["tumour", "liver"]


def test_the_largest_at_a_site_stands_for_the_size_asked_for(dataset: Dataset) -> None:
    asked = TumourAttributes(organ="liver", site="liver", count=2, size_mm=8.0)
    deliver(dataset, volumes(box(1, 1, 1), box(4, 1, 1, 3)), asked, asked)
    (case,) = align(dataset)
    assert [pair.found for pair in case.pairings] == ["liver", "liver"]
    assert case.size_error_mm == pytest.approx([math.hypot(6, 6) - 8])


@pytest.mark.parametrize("mirrored", [False, True])
def test_sides_are_those_of_geometry_and_not_of_names(mirrored: bool) -> None:
    """x grows to the left: on a mirrored grid, the structure called kidney_left lies on the right."""
    arrays = volumes(box(1, 1, 9))
    arrays.anatomy[:, :, :6], arrays.anatomy[:, :, 6:] = RIGHT, LEFT
    if mirrored:
        arrays = Arrays(GRID, arrays.ct, arrays.anatomy[:, :, ::-1].copy(), arrays.lesions[:, :, ::-1].copy())
    (found,) = measure_tumours(arrays)
    assert found.site == ("kidney_right" if mirrored else "kidney_left")
    (liver,) = measure_tumours(volumes(box(1, 1, 1)))
    assert liver.site == "liver"
    swapped = volumes(box(1, 1, 9))
    swapped.anatomy[:] = swapped.anatomy[:, :, ::-1]
    (liver,) = measure_tumours(swapped)
    assert liver.site == WRONG_SIDE


@pytest.mark.parametrize(
    ("sex", "organs", "absent", "expected"),
    [
        ("male", ("prostate",), (), (True, None)),
        ("male", ("prostate", "uterus"), (), (False, None)),
        ("female", (), ("spleen",), (False, True)),
        ("female", ("uterus", "kidney_left"), ("kidney",), (True, False)),
        ("male", (), ("prostate",), (None, True)),
        (None, ("uterus",), (), (None, None)),
    ],
)
def test_organs_of_the_sex_and_those_asked_absent(sex, organs, absent, expected) -> None:
    arrays = volumes()
    for place, name in enumerate(organs):
        arrays.anatomy[place] = structure(name).id
    record = CaseRecord(
        case_id="c",
        status="accepted",
        index=0,
        requested=Attributes(sex=sex, absent_organs=absent, region="torso"),
        factory_version=FACTORY_VERSION,
        anatomy_table=table_hash(),
    )
    shown = shown_structures(arrays)
    assert (sex_agrees(record, shown), absent_agrees(record, shown)) == expected
    chest = record.model_copy(update={"drawn": Attributes(region="chest")})
    assert sex_agrees(chest, shown) is None
