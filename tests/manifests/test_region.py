"""Boxes of stored arrays against the whole arrays, and damage that must show."""

import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.case import Arrays
from manifests.errors import CorruptDatasetError
from manifests.geometry import HU_MIN, Grid
from manifests.region import StoredArray
from manifests.store import LAYERS, write_arrays

SHAPE = (70, 40, 130)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A case whose CT is noise with an empty corner, with few lesions and no anatomy at all."""
    draw = np.random.default_rng(0)
    ct = draw.integers(-1024, 3072, SHAPE).astype(np.int16)
    ct[:35, :, :70] = HU_MIN
    lesions = np.zeros(SHAPE, np.uint8)
    lesions[60:64, 5:9, 100:110] = 1
    arrays = Arrays(Grid(SHAPE, (2.0, 1.0, 1.0)), ct, np.zeros(SHAPE, np.uint8), lesions)
    path = tmp_path_factory.mktemp("region") / "case"
    written = write_arrays(path, arrays, {}, durable=False)
    return path, arrays, written.stored_blake3


def opened(stored, layer):
    path, _, files = stored
    place = LAYERS[layer].path
    return StoredArray.open(path / place, stored=f"{place}/c/0/0/0" in files)


@settings(max_examples=60)
@given(layer=st.sampled_from(["ct", "anatomy", "lesions"]), data=st.data())
def test_any_box_is_that_of_the_whole_array_and_of_zarr(stored, layer, data):
    ends = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in SHAPE]
    box = tuple(tuple(pair) for pair in ends)
    region = tuple(slice(*pair) for pair in box)
    found = opened(stored, layer).read(box)
    path, arrays, _ = stored
    assert found.dtype == getattr(arrays, layer).dtype
    assert np.array_equal(found, getattr(arrays, layer)[region])
    assert np.array_equal(found, zarr.open_array(path / LAYERS[layer].path, mode="r")[region])


def test_only_the_chunks_that_a_box_touches_are_read(stored, monkeypatch):
    import os

    array, sizes, pread = opened(stored, "ct"), [], os.pread
    monkeypatch.setattr(os, "pread", lambda *a: sizes.append(a[1]) or pread(*a))
    assert array.chunks == (35, 40, 44)
    array.read(((40, 60), (0, 40), (0, 44)))
    assert len(sizes) == 1
    array.read(((0, 20), (0, 40), (0, 44)))
    assert len(sizes) == 1, "an absent chunk costs no read"
    array.read(((30, 40), (0, 40), (80, 100)))
    assert len(sizes) == 5


def test_a_reader_survives_pickling(stored):
    copy = pickle.loads(pickle.dumps(opened(stored, "lesions")))
    assert copy.read(((0, 70), (0, 40), (0, 130))).sum() == 4 * 4 * 10


@pytest.mark.parametrize("damage", ["missing", "truncated", "index", "chunk", "metadata"])
def test_damage_is_told_from_emptiness(stored, tmp_path, damage):
    source = stored[0] / "0"
    folder = tmp_path / "0"
    (folder / "c/0/0").mkdir(parents=True)
    shard = folder / "c/0/0/0"
    data = bytearray((source / "c/0/0/0").read_bytes())
    (folder / "zarr.json").write_bytes((source / "zarr.json").read_bytes()[: 40 if damage == "metadata" else None])
    if damage == "index":
        data[-20] ^= 1
    if damage == "chunk":
        data[0:16] = bytes(16)
    if damage != "missing":
        shard.write_bytes(data[: 50 if damage == "truncated" else None])
    with pytest.raises(CorruptDatasetError, match="factory check"):
        StoredArray.open(folder, stored=True).read(((0, 70), (0, 40), (0, 130)))
