"""Planted faults: each copy differs from its source in what its name says and in nothing else."""

import numpy as np
import pytest
from typer.testing import CliRunner

from downstream.alignment import align
from downstream.alignment_summary import summarise
from downstream.cli import bench_app
from downstream.fault_table import CLEAN, EXPECTED, Cell, FaultTable
from downstream.faults import FAULTS, plant
from downstream.fidelity import portrait
from manifests.anatomy import structure
from manifests.case import Arrays, Attributes, CaseRecord, Lesion, TumourAttributes
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import UnknownNameError
from manifests.geometry import Grid

GRID = Grid((12, 14, 18), (5.0, 4.0, 3.5), (0.0, 0.0, 0.0))
CASES, WITHOUT = 6, (2, 5)
LEFT, RIGHT = structure("kidney_left").id, structure("kidney_right").id


def case(index: int, seed: int, prefix: str) -> tuple[CaseRecord, Arrays]:
    """Two kidneys in a body and, in four of six cases, a tumour of the left one that was asked for."""
    rng = np.random.default_rng(seed)
    anatomy = np.zeros(GRID.shape_zyx, np.uint8)
    anatomy[1:-1, 1:-1, 1:-1] = structure("body").id
    anatomy[3:9, 4:9, 2 : 6 + seed % 2], anatomy[3:9, 4:9, 12:16] = RIGHT, LEFT
    lesions = np.zeros_like(anatomy)
    if index not in WITHOUT:
        lesions[4:7, 5:8, 13:15] = 1
    ct = np.where(anatomy > 0, 30, -1000) + 130 * np.isin(anatomy, (LEFT, RIGHT)) + rng.integers(-9, 10, anatomy.shape)
    lesion = Lesion(id=1, organ="kidney", site="kidney_left", size_mm=9, volume_ml=1, center_mm_xyz=(0.0, 0.0, 0.0))
    tumour = TumourAttributes(organ="kidney", site="kidney_left", count=1)
    asked = Attributes(sex="male", tumours=() if index in WITHOUT else (tumour,))
    record = CaseRecord(
        case_id=f"{prefix}{index}",
        status="accepted",
        index=index,
        prompt_id=f"p{index}",
        requested=asked,
        drawn=asked,
        lesions=() if index in WITHOUT else (lesion,),
        factory_version="0",
        anatomy_table="t",
    )
    return record, Arrays(GRID, ct.astype(np.int16), anatomy, lesions)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """A good dataset, one to compare with, and a copy of the first for each fault."""
    folder = tmp_path_factory.mktemp("worlds")
    good, real = (Dataset.create(folder / name, DatasetSpec(kind="synthetic")) for name in ("good", "real"))
    for index in range(CASES):
        good.save(*case(index, index, "g"))
        real.save(*case(index, 100 + index, "r"))
    return good, real, {fault: plant(good, fault, real, folder / fault) for fault in FAULTS}


CHANGED = {
    "prompts shuffled": {"prompt"},
    "lesions lost": set(),
    "masks shifted": {"anatomy"},
    "masks mirrored": {"anatomy"},
    "cases mirrored": {"anatomy", "ct"},
    "HU offset": {"ct"},
    "CT blurred": {"ct"},
    "slices jumbled": {"ct"},
    "bodies smaller": {"grid"},
}


@pytest.mark.parametrize("fault", CHANGED)
def test_each_fault_changes_what_its_name_says_and_nothing_else(worlds, fault):
    good, _, copies = worlds
    a, b = good.read("g0"), copies[fault].read("g0")
    assert [record.index for record in copies[fault].accepted()] == list(range(CASES))
    same = {
        "ct": np.array_equal(a.ct, b.ct),
        "anatomy": np.array_equal(a.anatomy, b.anatomy),
        "grid": a.grid == b.grid,
        "prompt": copies[fault].record("g0").prompt_id == "p0",
    }
    assert {name for name, equal in same.items() if not equal} == CHANGED[fault]


def test_the_size_of_a_fault_is_the_one_stated(worlds):
    good, _, copies = worlds
    a = good.read("g0")
    shifted, offset = copies["masks shifted"].read("g0"), copies["HU offset"].read("g0")
    np.testing.assert_array_equal(shifted.anatomy[:, :, 1:], a.anatomy[:, :, :-1])  # 5 mm in voxels of 3.5 mm
    np.testing.assert_array_equal(shifted.lesions[:, :, 1:], a.lesions[:, :, :-1])
    assert np.unique(offset.ct.astype(int) - a.ct).tolist() == [30]
    assert copies["bodies smaller"].read("g0").grid.spacing_mm_zyx == pytest.approx((4.5, 3.6, 3.15))


def test_copies_repeat_cases_of_their_source(worlds):
    good, real, copies = worlds
    hashes = {
        name: [r.ct_blake3 for r in data.accepted()] for name, data in (("good", good), ("real", real), *copies.items())
    }
    assert hashes["cases repeated"] == hashes["good"][:3] * 2
    assert hashes["few cases"] == hashes["good"][:1] * 6
    assert hashes["real copied"][1::2] == hashes["good"][1::2]
    assert hashes["real copied"][::2] == hashes["real"][:3]
    again = plant(good, "real copied", real, copies["real copied"].root)
    assert [record.ct_blake3 for record in again.accepted()] == hashes["real copied"]


def test_positions_and_counts_tell_of_the_faults_that_are_theirs(worlds):
    good, _, copies = worlds
    clean = summarise(list(align(good)))
    assert (clean.position.value, clean.count.value, clean.tumours) == (1, 1, 4)
    found = {fault: summarise(list(align(copies[fault]))) for fault in CHANGED}
    for fault in ("prompts shuffled", "lesions lost", "masks mirrored", "cases mirrored"):
        assert found[fault].position.value < 1, fault
        assert found[fault].count.value < 1, fault
    mirrored = found["cases mirrored"].matrix
    assert mirrored.counts[0][mirrored.columns.index("kidney_right")] == 4
    for fault in ("masks shifted", "HU offset", "CT blurred"):
        assert (found[fault].position.value, found[fault].count.value) == (1, 1)


def test_a_measure_that_does_not_move_is_named():
    clean = {"position": Cell(0.9, 0.8, 1.0), "count": Cell(0.9, 0.8, 1.0), "missing": Cell(0.1, 0.1, float("nan"))}
    shuffled = {"position": Cell(0.3, 0.2, 0.4), "count": Cell(0.85, 0.0, 1.0)}
    table = FaultTable({CLEAN: clean, "prompts shuffled": shuffled})
    assert table.moved("prompts shuffled", "position") == -1
    assert table.hidden() == ["prompts shuffled: count 0.85, as it is 0.9"]
    assert table.failures() == []
    still = FaultTable({CLEAN: clean, "prompts shuffled": clean})
    assert len(still.failures()) == 2
    assert table.to_json()["cells"][CLEAN]["missing"]["high"] is None
    assert set(EXPECTED) == set(FAULTS)


def test_the_command_prints_a_table_and_fails_where_nothing_moved(worlds, tmp_path, monkeypatch):
    monkeypatch.setattr(portrait, "THUMBNAIL_ZYX", (12, 12, 12))
    good, real, _ = worlds
    asked = ["faults", str(good.root), "--real", str(real.root), "--out", str(tmp_path), "--resamples", "3", "--shrink"]
    done = CliRunner().invoke(bench_app, [*asked, "--structures", "kidneys", "--faults", "HU offset,CT blurred"])
    assert "| measure | as it is (95 %) | HU offset | CT blurred |" in done.stdout, done.output
    line = next(line for line in done.stdout.splitlines() if line.startswith("| hu_wasserstein"))
    assert "↑**" in line
    assert done.exit_code == (1 if "did not move" in done.stdout else 0)
    error = CliRunner().invoke(bench_app, [*asked, "--faults", "nonsense"]).exception
    assert isinstance(error, UnknownNameError)
