"""Reading and writing NIfTI: 48 orientations against SimpleITK, and every kind of bad file."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its users call it so
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import FileFormatError, InvalidValueError, LocationError
from manifests.geometry import Grid
from manifests.nifti import read_ct, read_labels, read_nifti, write_nifti

ORIENTATIONS = [
    "".join(axis[flip] for axis, flip in zip(order, flips, strict=True))
    for order in itertools.permutations(("LR", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
]
REUSE = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def oriented_affine(code, spacing, origin):
    """RAS affine of an image whose axes run towards the letters of `code`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (letter, step) in enumerate(zip(code, spacing, strict=True)):
        row = ["RL", "AP", "SI"].index(next(pair for pair in ("RL", "AP", "SI") if letter in pair))
        affine[row, column] = step if letter in "RAS" else -step
    affine[:3, 3] = origin
    return affine


def save(path, array, affine, *, qform=True):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine if qform else None, 1 if qform else 0)
    nib.save(image, path)
    return path


def itk_lps(path):
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], image.GetOrigin()


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_every_orientation_reads_as_simpleitk_does(tmp_path, code):
    rng = np.random.default_rng(ORIENTATIONS.index(code))
    array = rng.integers(-1024, 3000, (3, 4, 5)).astype(np.int16)
    affine = oriented_affine(code, rng.uniform(0.5, 5, 3).round(3), rng.uniform(-300, 300, 3).round(3))
    path = save(tmp_path / "a.nii", array, affine)
    values, grid = read_nifti(path)
    expected, spacing, origin = itk_lps(path)
    np.testing.assert_array_equal(values, expected)
    assert values.flags.c_contiguous
    np.testing.assert_allclose(grid.spacing_mm_zyx, spacing, rtol=1e-6)
    np.testing.assert_allclose(grid.origin_mm_xyz, origin, atol=1e-3)


@REUSE
@given(
    code=st.sampled_from(ORIENTATIONS),
    kind=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    little=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_world_point_keeps_its_value(tmp_path, code, kind, shape, little, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, shape).astype(np.dtype(kind).newbyteorder("<" if little else ">"))
    affine = oriented_affine(code, rng.uniform(0.3, 6, 3), rng.uniform(-500, 500, 3))
    header = nib.Nifti1Header(endianness="<" if little else ">")
    header.set_data_dtype(array.dtype)
    image = nib.Nifti1Image(array, affine, header)
    nib.save(image, tmp_path / "a.nii")
    values, grid = read_nifti(tmp_path / "a.nii")
    index = tuple(int(rng.integers(n)) for n in shape)
    ras = (affine @ [*index, 1])[:3]
    lps = ras * [-1, -1, 1]
    z, y, x = (int(np.abs(axis - at).argmin()) for axis, at in zip(grid.axes_mm(), lps[::-1], strict=True))
    np.testing.assert_allclose(
        [axis[i] for axis, i in zip(grid.axes_mm(), (z, y, x), strict=True)], lps[::-1], atol=1e-2
    )
    assert values[z, y, x] == array[index]
    assert values.dtype == np.dtype(kind)


@REUSE
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    dtype=st.sampled_from([np.int16, np.uint8, np.uint16]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_write_then_read_is_identity_here_and_in_simpleitk(tmp_path, shape, spacing, origin, dtype, suffix):
    grid, path = Grid(shape, spacing, origin), tmp_path / f"a{len(suffix)}{suffix}"
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write_nifti(path, array, grid)
    values, back = read_nifti(path)
    np.testing.assert_array_equal(values, array)
    np.testing.assert_allclose(back.spacing_mm_zyx, spacing, rtol=1e-6)
    np.testing.assert_allclose(back.origin_mm_xyz, origin, atol=1e-3)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    np.testing.assert_allclose(image.GetSpacing()[::-1], spacing, rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), origin, atol=1e-3)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-6)


def test_header_says_what_readers_need(tmp_path):
    grid = Grid((2, 3, 4), (3.0, 1.5, 1.25), (-10.0, 20.0, 30.0))
    for name, array in (("ct", np.zeros(grid.shape_zyx, np.int16)), ("seg", np.zeros(grid.shape_zyx, np.uint8))):
        write_nifti(tmp_path / f"{name}.nii.gz", array, grid)
    ct, seg = (nib.load(tmp_path / f"{name}.nii.gz").header for name in ("ct", "seg"))
    for header, dtype in ((ct, np.int16), (seg, np.uint8)):
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
        assert header.get_xyzt_units()[0] == "mm"
        assert header.get_data_dtype() == dtype
    for name in ("ct", "seg"):
        raw = gzip.decompress((tmp_path / f"{name}.nii.gz").read_bytes())
        assert np.frombuffer(raw[112:120], "<f4").tolist() == [1.0, 0.0]  # slope, intercept: nibabel hides them
    np.testing.assert_array_equal(ct.get_sform(), seg.get_sform())
    np.testing.assert_allclose(ct.get_qform(), ct.get_sform(), atol=1e-5)


def test_equal_input_gives_equal_bytes_and_levels_change_size_only(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.normal(0, 20, (20, 30, 40)).astype(np.int16)
    grid = Grid(array.shape, (1.0, 1.0, 1.0))
    for name, level in (("a", 1), ("b", 1), ("c", 9)):
        write_nifti(tmp_path / f"{name}.nii.gz", array, grid, level=level)
    a, b, c = ((tmp_path / f"{name}.nii.gz").read_bytes() for name in "abc")
    assert a == b
    assert len(c) < len(a)
    np.testing.assert_array_equal(read_nifti(tmp_path / "c.nii.gz")[0], array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]


def tilted(angle_rad):
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, 1.0, 2.0])
    return affine


def test_tilt_is_refused_above_the_tolerance_only(tmp_path):
    array = np.zeros((4, 4, 4), np.int16)
    read_nifti(save(tmp_path / "small.nii", array, tilted(0.9e-3)))
    with pytest.raises(FileFormatError, match=r"tilted by 0\.07 degrees"):
        read_nifti(save(tmp_path / "large.nii", array, tilted(1.2e-3)))
    with pytest.raises(FileFormatError, match="tilted"):
        read_nifti(save(tmp_path / "diagonal.nii", array, tilted(np.pi / 4)))


@pytest.mark.parametrize("labels", [False, True])
def test_oblique_resampling_agrees_with_simpleitk(tmp_path, labels):
    i, j, k = np.meshgrid(np.arange(20), np.arange(24), np.arange(10), indexing="ij")
    array = ((i > 8) + 2 * (j > 11)).astype(np.uint8) if labels else (10 * i + 5 * j + k).astype(np.int16)
    path = save(tmp_path / "a.nii", array, tilted(0.2))
    values, grid = read_nifti(path, labels=labels, resample_oblique=True)
    reference = sitk.Image([int(n) for n in grid.shape_zyx[::-1]], sitk.sitkFloat32)
    reference.SetSpacing(grid.spacing_mm_zyx[::-1])
    reference.SetOrigin(grid.origin_mm_xyz)
    method = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    expected = sitk.GetArrayFromImage(
        sitk.Resample(sitk.ReadImage(str(path), sitk.sitkFloat32), reference, sitk.Transform(), method, -5000)
    )
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    lps = np.stack([-x, -y, z, np.ones_like(x)])
    at = np.einsum("ij,jzyx->izyx", np.linalg.inv(tilted(0.2)), lps)[:3]
    inside = ((at > 1e-3) & (at < np.array(array.shape)[:, None, None, None] - 1.001)).all(axis=0)
    assert inside.sum() > 0.7 * array.size
    assert (abs(expected[inside]) < 4000).all()
    if labels:
        assert (values[inside] == expected[inside]).mean() > 0.995  # ties at half a voxel may fall either way
        assert set(np.unique(values)) <= {0, 1, 2, 3}
    else:
        np.testing.assert_allclose(values[inside], expected[inside], atol=0.05)


def test_sform_and_qform_must_agree(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.set_sform(np.diag([1, 1, 1, 1]), 1)
    image.set_qform(np.diag([-1, 1, 1, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(FileFormatError, match="apart"):
        read_nifti(tmp_path / "a.nii")


def test_an_image_without_orientation_is_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(FileFormatError, match="neither sform nor qform"):
        read_nifti(tmp_path / "a.nii")


def test_units_of_the_header_are_honoured(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([0.002, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii")[1].spacing_mm_zyx, (3, 2, 2), rtol=1e-6)


def test_slope_and_intercept_are_applied_and_ct_is_clipped(tmp_path):
    array = np.array([0, 24, 4095, 30000], np.int16).reshape(1, 2, 2)
    image = nib.Nifti1Image(array, np.eye(4))
    nib.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([1.0, -1024.0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    ct, _ = read_ct(tmp_path / "a.nii")
    assert ct.dtype == np.int16
    assert sorted(ct.ravel().tolist()) == [-1024, -1000, 3071, 3071]


def bad_files(folder):
    good = np.zeros((4, 4, 4), np.int16)
    yield "4-D", save(folder / "four.nii", np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), "three dimensions"
    yield "2-D", save(folder / "two.nii", np.zeros((4, 4), np.int16), np.eye(4)), "three dimensions"
    nan = good.astype(np.float32)
    nan[1, 1, 1] = np.nan
    yield "NaN", save(folder / "nan.nii", nan, np.eye(4)), "finite values"
    yield "complex", save(folder / "complex.nii", good.astype(np.complex64), np.eye(4)), "integers or floats"
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    yield "colour", save(folder / "rgb.nii", rgb, np.eye(4)), "integers or floats"
    whole = save(folder / "whole.nii.gz", np.arange(8000, dtype=np.int16).reshape(20, 20, 20), np.eye(4)).read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    yield "cut", folder / "cut.nii.gz", "complete NIfTI"
    (folder / "text.nii.gz").write_text("not an image")
    yield "text", folder / "text.nii.gz", "complete NIfTI"
    (folder / "empty.nii").write_bytes(b"")
    yield "empty", folder / "empty.nii", "complete NIfTI"
    plain = save(folder / "plain.nii", good, np.eye(4)).read_bytes()
    (folder / "short.nii").write_bytes(plain[:-20])
    yield "short", folder / "short.nii", "complete NIfTI"


def test_bad_files_are_named_with_their_fault(tmp_path):
    for kind, path, need in bad_files(tmp_path):
        with pytest.raises(FileFormatError, match=need) as caught:
            read_nifti(path)
        assert path.name in str(caught.value), kind
    with pytest.raises(LocationError, match="missing"):
        read_nifti(tmp_path / "missing.nii.gz")
    with pytest.raises(LocationError):
        read_nifti(tmp_path)


def test_a_probability_map_is_no_label_map_and_a_mask_is_no_ct(tmp_path):
    half = save(tmp_path / "half.nii", np.full((3, 3, 3), 0.5, np.float32), np.eye(4))
    with pytest.raises(FileFormatError, match="fractional"):
        read_labels(half)
    with pytest.raises(FileFormatError, match="whole numbers"):
        read_labels(save(tmp_path / "negative.nii", np.full((3, 3, 3), -1, np.int16), np.eye(4)))
    with pytest.raises(FileFormatError, match="Hounsfield"):
        read_ct(save(tmp_path / "flat.nii", np.zeros((3, 3, 3), np.int16), np.eye(4)))
    values, _ = read_labels(save(tmp_path / "float.nii", np.full((3, 3, 3), 7.0, np.float64), np.eye(4)))
    assert values.dtype == np.uint8
    assert (values == 7).all()


@pytest.mark.parametrize(
    ("dtype", "shape", "name", "level", "what"),
    [
        (np.int64, (2, 2, 2), "a.nii.gz", 3, "dtype"),
        (np.bool_, (2, 2, 2), "a.nii.gz", 3, "dtype"),
        (np.int16, (2, 2, 3), "a.nii.gz", 3, "shape"),
        (np.int16, (2, 2, 2), "a.img", 3, "name"),
        (np.int16, (2, 2, 2), "a.nii.gz", 10, "gzip level"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path, dtype, shape, name, level, what):
    with pytest.raises(InvalidValueError, match=what):
        write_nifti(tmp_path / name, np.zeros(shape, dtype), Grid((2, 2, 2), (1.0, 1.0, 1.0)), level=level)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_location_error(tmp_path):
    with pytest.raises(LocationError, match="writable folder"):
        write_nifti(tmp_path / "none" / "a.nii.gz", np.zeros((2, 2, 2), np.int16), Grid((2, 2, 2), (1.0, 1.0, 1.0)))


def test_the_other_ending_beside_it_is_refused(tmp_path):
    array, grid = np.zeros((2, 2, 2), np.int16), Grid((2, 2, 2), (1.0, 1.0, 1.0))
    write_nifti(tmp_path / "a.nii", array, grid)
    with pytest.raises(LocationError, match=r"a\.nii beside it"):
        write_nifti(tmp_path / "a.nii.gz", array, grid)
    write_nifti(tmp_path / "a.nii", array + np.int16(1), grid)  # replacing itself is fine
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii"]


def test_real_scans_read_as_simpleitk_does(real_data):
    path = real_data / "ct_totalseg_example" / "ct.nii.gz"
    ct, grid = read_ct(path)
    expected, spacing, origin = itk_lps(path)
    np.testing.assert_array_equal(ct, expected.clip(-1024, 3071))
    np.testing.assert_allclose(grid.spacing_mm_zyx, spacing, rtol=1e-5)
    np.testing.assert_allclose(grid.origin_mm_xyz, origin, atol=1e-2)
    labels, same = read_labels(path.with_name("seg_totalseg.nii.gz"))
    assert same == grid
    x = np.nonzero(labels == 5)[2].mean()
    assert x < np.nonzero(labels == 1)[2].mean()  # x grows to the left: the liver lies right of the spleen
