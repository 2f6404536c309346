"""Hypothesis strategies for grids, arrays and records, and a suite that every dataset passes.

`DatasetSuite` is for whoever makes datasets another way (an importer, an engine, a copy to other
storage): inherit it, supply the fixture `dataset`, and the promises of `docs/format.md` are tests.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from manifests.anatomy import structures, table_hash
from manifests.case import FACTORY_VERSION, Arrays, Attributes, CaseRecord, Lesion, Status, TumourAttributes
from manifests.dataset import Dataset
from manifests.geometry import HU_MAX, HU_MIN, Grid
from manifests.identity import array_blake3
from manifests.table import read_table, to_records
from manifests.validate import check

__all__ = ["DatasetSuite", "arrays", "example_arrays", "example_record", "grids", "records"]

_LENGTHS = st.floats(0.1, 10.0)
_POSITIONS = st.floats(-2000.0, 2000.0)
_TEXT = st.text(max_size=30)
_NUMBERS = st.floats(0, 1000)
_NAMES = st.sampled_from([entry.name for entry in structures()])


def grids(max_edge: int = 70) -> st.SearchStrategy[Grid]:
    """Grids up to `max_edge` voxels an axis; the default crosses a chunk border."""
    edges = st.tuples(*[st.integers(1, max_edge)] * 3)
    return st.builds(Grid, edges, st.tuples(*[_LENGTHS] * 3), st.tuples(*[_POSITIONS] * 3))


def arrays(max_edge: int = 70) -> st.SearchStrategy[Arrays]:
    """Arrays on a drawn grid: constant, sparse or noisy, all values within their domains."""
    return grids(max_edge).flatmap(
        lambda grid: st.builds(
            Arrays,
            st.just(grid),
            _volumes("int16", grid, HU_MIN, HU_MAX),
            _volumes("uint8", grid, 0, len(structures())),
            _volumes("uint8", grid, 0, 3),
        )
    )


def _volumes(dtype: str, grid: Grid, low: int, high: int) -> st.SearchStrategy[Any]:
    values = st.integers(low, high)
    return hnp.arrays(dtype, grid.shape_zyx, elements=values, fill=values)


def records(status: st.SearchStrategy[Status] | None = None) -> st.SearchStrategy[CaseRecord]:
    """Records without arrays, their texts in any script."""
    tumours = st.builds(
        TumourAttributes, organ=_NAMES, size_mm=st.none() | _NUMBERS, count=st.none() | st.integers(0, 9)
    )
    attributes = st.builds(
        Attributes, age_years=st.none() | _NUMBERS, race=st.none() | _TEXT, tumours=st.lists(tumours).map(tuple)
    )
    return st.builds(
        CaseRecord,
        case_id=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
        status=status or st.sampled_from(["rejected", "failed"]),
        reasons=st.lists(_TEXT.filter(bool), min_size=1, max_size=3).map(tuple),
        index=st.integers(0, 10_000),
        candidate=st.integers(0, 9),
        prompt_text=st.none() | _TEXT,
        requested=attributes,
        measured=attributes,
        seconds=st.dictionaries(_TEXT, _NUMBERS, max_size=3),
        factory_version=st.just(FACTORY_VERSION),
        anatomy_table=st.just(table_hash()),
    )


def example_arrays(seed: int = 0, shape_zyx: tuple[int, int, int] = (20, 16, 18)) -> Arrays:
    """A small body with a few structures, noise, and one lesion (id 1) in the liver (id 5)."""
    draw = np.random.default_rng(seed)
    anatomy = np.zeros(shape_zyx, np.uint8)
    anatomy[2:-2, 2:-2, 2:-2] = 5
    lesions = np.zeros(shape_zyx, np.uint8)
    lesions[6:9, 6:9, 6:9] = 1
    ct = np.where(anatomy > 0, draw.normal(60, 12, shape_zyx), -1000).astype(np.int16)
    return Arrays(Grid(shape_zyx, (3.0, 2.0, 2.0), (-18.0, -16.0, -30.0)), ct, anatomy, lesions)


def example_record(index: int = 0, case_id: str | None = None, status: Status = "accepted") -> CaseRecord:
    """A record that fits `example_arrays`."""
    center = (-4.0, -2.0, -9.0)
    lesion = Lesion(id=1, organ="liver", site="liver", size_mm=8.5, volume_ml=0.324, center_mm_xyz=center)
    return CaseRecord(
        case_id=case_id or f"c{index:020d}",
        status=status,
        reasons=() if status == "accepted" else ("liver volume 12 ml below 600 ml",),
        index=index,
        lesions=(lesion,) if status == "accepted" else (),
        seconds={"masks": 0.25, "ct": 0.5},
        factory_version=FACTORY_VERSION,
        anatomy_table=table_hash(),
    )


class DatasetSuite:
    """Promises of a dataset; a subclass supplies the fixture `dataset`, with at least one delivered case."""

    def test_check_finds_nothing(self, dataset: Dataset) -> None:
        """The dataset keeps every promise of its format."""
        assert check(dataset) == []

    def test_arrays_are_those_of_the_record(self, dataset: Dataset) -> None:
        """Reading a case gives the hashed voxels on the recorded grid."""
        assert dataset.accepted()
        for record in dataset.accepted():
            volumes = dataset.read(record.case_id)
            assert volumes.grid == record.grid()
            assert array_blake3(volumes.ct) == record.ct_blake3
            assert array_blake3(volumes.anatomy) == record.anatomy_blake3
            assert array_blake3(volumes.lesions) == record.lesions_blake3

    def test_manifest_is_the_records(self, dataset: Dataset) -> None:
        """The Parquet manifest holds each record once, in order, and nothing else."""
        assert to_records(read_table(dataset.manifest_path)) == dataset.records()

    def test_reopening_changes_nothing(self, dataset: Dataset) -> None:
        """A second opening sees the same spec and records, and a resume is accepted."""
        again = Dataset.create(dataset.root, Dataset.open(dataset.root).spec)
        assert again.records() == dataset.records()

    def test_no_index_is_delivered_twice(self, dataset: Dataset) -> None:
        """Each position of a run has at most one delivered case."""
        indexes = [record.index for record in dataset.accepted()]
        assert len(indexes) == len(set(indexes))
