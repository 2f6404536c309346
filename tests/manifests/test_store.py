import json

import nibabel
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from ngff_zarr import from_ngff_zarr
from zarr.codecs import BloscCodec

from manifests.case import Arrays
from manifests.errors import CorruptDatasetError
from manifests.geometry import Grid
from manifests.identity import array_blake3
from manifests.shard import Codec, array_metadata, chunk_shape, encode
from manifests.store import LAYERS, file_hashes, open_layer, read_arrays, read_grid, write_arrays
from manifests.testing import arrays, example_arrays


@given(arrays())
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, volumes):
    path = tmp_path_factory.mktemp("store") / "case"
    stored = write_arrays(path, volumes, {}, durable=False)
    read = read_arrays(path)
    assert read.grid == volumes.grid
    for layer in LAYERS:
        assert np.array_equal(getattr(read, layer), getattr(volumes, layer))
        assert getattr(stored, f"{layer}_blake3") == array_blake3(getattr(volumes, layer))


@pytest.mark.parametrize("shape", [(1,), (64,), (65,), (130, 7), (3, 129, 66)])
@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_shard_is_what_zarr_python_would_read_and_describe(tmp_path, shape, dtype):
    array = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
    array[: shape[0] // 2] = 0
    codec = Codec(2, "bitshuffle")
    counts = [-(-size // 64) for size in shape]
    theirs = zarr.create_array(
        tmp_path / "theirs",
        shape=shape,
        dtype=dtype,
        chunks=chunk_shape(shape),
        shards=tuple(n * c for n, c in zip(counts, chunk_shape(shape), strict=True)),
        compressors=BloscCodec(cname="zstd", clevel=2, shuffle="bitshuffle", typesize=array.itemsize),
        fill_value=0,
        dimension_names=list("zyx"[-array.ndim :]),
    )
    ours = array_metadata(array, codec, 0)
    expected = json.loads((tmp_path / "theirs/zarr.json").read_text())
    assert {**expected, "storage_transformers": []} == {**ours, "storage_transformers": []}
    shard = tmp_path / "theirs/c" / "/".join("0" * array.ndim)
    shard.parent.mkdir(parents=True)
    shard.write_bytes(encode(array, codec, 0))
    assert np.array_equal(theirs[...], array)


def test_chunks_are_even_and_small():
    assert chunk_shape((432, 208, 288)) == (62, 52, 58)
    for size in range(1, 700):
        (edge,) = chunk_shape((size,))
        count = -(-size // 64)
        assert edge <= 64
        assert 0 <= count * edge - size < count


def test_background_is_not_stored(tmp_path):
    grid = Grid((70, 5, 5), (1.0, 1.0, 1.0))
    ct = np.full(grid.shape_zyx, -1024, np.int16)
    empty = np.zeros(grid.shape_zyx, np.uint8)
    stored = write_arrays(tmp_path / "a", Arrays(grid, ct, empty, empty), {})
    assert [name for name in stored.stored_blake3 if not name.endswith("zarr.json")] == []
    assert (read_arrays(tmp_path / "a").ct == -1024).all()


@pytest.mark.parametrize("durable", [True, False])
def test_equal_arrays_give_equal_bytes(tmp_path, durable):
    volumes = example_arrays(shape_zyx=(70, 40, 50))
    first = write_arrays(tmp_path / "a", volumes, {"case_id": "c"})
    swapped = Arrays(volumes.grid, volumes.ct.astype(">i2").astype("i2", order="F"), volumes.anatomy, volumes.lesions)
    assert write_arrays(tmp_path / "b", swapped, {"case_id": "c"}, durable=durable) == first
    assert file_hashes(tmp_path / "a") == first.stored_blake3
    assert first.stored_bytes == sum(entry.stat().st_size for entry in tmp_path.glob("a/**/*") if entry.is_file())


def test_opens_as_ome_zarr_with_an_independent_reader(tmp_path):
    volumes = example_arrays()
    lesions = [{"id": 1, "organ": "liver", "site": "liver"}]
    write_arrays(tmp_path / "case.ome.zarr", volumes, {"case_id": "c", "lesions": lesions})
    for where, layer in (("", "ct"), ("labels/anatomy", "anatomy"), ("labels/lesions", "lesions")):
        (image,) = from_ngff_zarr(tmp_path / "case.ome.zarr" / where, validate=True, version="0.5").images
        assert np.array_equal(np.asarray(image.data), getattr(volumes, layer))
        assert image.data.dtype == LAYERS[layer].dtype
        assert tuple(image.dims) == ("z", "y", "x")
        assert tuple(image.scale.values()) == volumes.grid.spacing_mm_zyx
        assert tuple(image.translation.values()) == volumes.grid.origin_mm_xyz[::-1]
        assert set(image.axes_units.values()) == {"millimeter"}


def test_labels_are_named_and_coloured(tmp_path):
    write_arrays(tmp_path / "a", example_arrays(), {"lesions": [{"id": 1, "organ": "liver", "site": "liver"}]})
    labels = zarr.open_group(tmp_path / "a/labels", mode="r")
    assert labels.attrs["ome"]["labels"] == ["anatomy", "lesions"]
    anatomy = labels["anatomy"].attrs["ome"]["image-label"]
    assert {"label-value": 5, "name": "liver"} in anatomy["properties"]
    colours = [tuple(entry["rgba"]) for entry in anatomy["colors"][1:]]
    assert len(set(colours)) > 0.9 * len(colours)
    assert labels["lesions"].attrs["ome"]["image-label"]["properties"][1]["name"] == "liver: liver lesion"


def test_affine_is_that_of_nifti(tmp_path):
    volumes = example_arrays()
    write_arrays(tmp_path / "a", volumes, {})
    affine = np.array(zarr.open_group(tmp_path / "a", mode="r").attrs["factory"]["affine_ras"])
    assert nibabel.aff2axcodes(affine) == ("L", "P", "S")
    index_xyz = np.array([3, 2, 1, 1])
    z, y, x = (axis[at] for axis, at in zip(volumes.grid.axes_mm(), (1, 2, 3), strict=True))
    assert np.allclose(affine @ index_xyz, [-x, -y, z, 1])


def test_a_patch_is_read_without_the_rest(tmp_path):
    volumes = example_arrays(shape_zyx=(130, 20, 20))
    write_arrays(tmp_path / "a", volumes, {})
    layer = open_layer(tmp_path / "a", "ct")
    assert np.array_equal(layer[60:70, 3:9, 5], volumes.ct[60:70, 3:9, 5])


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("labels/anatomy/0/zarr.json", "[20,16,18]", "[20,16,17]", "shape"),
        ("0/zarr.json", '"int16"', '"uint16"', "dtype|unreadable"),
        ("0/zarr.json", "{", "", "unreadable"),
        ("zarr.json", '"grid"', '"girth"', "grid"),
        ("zarr.json", '"shape_zyx":[20,', '"shape_zyx":[-20,', "grid"),
    ],
)
def test_spoilt_metadata_is_refused(tmp_path, file, old, new, message):
    write_arrays(tmp_path / "a", example_arrays(), {})
    rewrite(tmp_path / "a" / file, old, new)
    with pytest.raises(CorruptDatasetError, match=message):
        read_arrays(tmp_path / "a")


def test_spoilt_bytes_are_refused(tmp_path):
    write_arrays(tmp_path / "a", example_arrays(), {})
    shard = tmp_path / "a/0/c/0/0/0"
    shard.write_bytes(b"\0" * 8 + shard.read_bytes()[8:])
    with pytest.raises(CorruptDatasetError, match="undecodable"):
        read_arrays(tmp_path / "a")
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(CorruptDatasetError, match="undecodable"):
        read_arrays(tmp_path / "a")


def test_missing_case(tmp_path):
    with pytest.raises(CorruptDatasetError, match="grid"):
        read_grid(tmp_path / "nothing")
    with pytest.raises(CorruptDatasetError):
        open_layer(tmp_path / "nothing", "ct")


def test_writing_over_a_case_is_an_error(tmp_path):
    write_arrays(tmp_path / "a", example_arrays(), {})
    with pytest.raises(FileExistsError):
        write_arrays(tmp_path / "a", example_arrays(), {})
