"""The pictures: orientation, proportions, outlines, windows, and the stacks that a slider moves through."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from PIL import Image

from downstream.report import stack as stack_module
from downstream.report.colours import TUMOUR, colour_of
from downstream.report.grey import SOFT, WINDOWS, encoded, lookup, windowed
from downstream.report.picture import PLANES, Cutter, Outline, _contours, draw
from downstream.report.report import view
from downstream.report.stack import PATH_UNITS_PER_MM, _path, stacked
from manifests.anatomy import structure
from manifests.case import Arrays, CaseRecord
from manifests.geometry import Grid

GRID = Grid((40, 30, 50), (4.0, 2.0, 1.5), (10.0, -20.0, -100.0))


def corner_case():
    """A bright block at high z (superior), low y (anterior), high x (left); the body's middle is the volume's."""
    anatomy = np.full(GRID.shape_zyx, structure("body").id, np.uint8)
    ct = np.full(GRID.shape_zyx, -1000, np.int16)
    block = np.s_[18:40, 0:17, 23:50]
    ct[block] = 300
    anatomy[block] = structure("liver").id
    record = CaseRecord(case_id="c0", status="accepted", index=0, factory_version="0", anatomy_table="t")
    return record, Arrays(GRID, ct, anatomy, np.zeros_like(anatomy))


def test_slices_hang_as_radiologists_hang_them():
    axial, coronal, sagittal = draw(*corner_case()).planes
    for plane, bright in ((axial, (0, -1)), (coronal, (0, -1)), (sagittal, (0, 0))):
        corners = {(row, column): plane.grey[row, column] for row in (0, -1) for column in (0, -1)}
        assert corners[bright] == 255, plane.name
        assert sum(value == 255 for value in corners.values()) == 1, plane.name


def test_planes_keep_their_proportions_in_mm():
    axial, coronal, sagittal = draw(*corner_case()).planes
    assert (axial.width_mm, axial.height_mm) == (75, 60)
    assert (coronal.width_mm, coronal.height_mm) == (75, 160)
    assert (sagittal.width_mm, sagittal.height_mm) == (60, 160)


def test_the_slices_go_through_the_largest_tumour(box_dataset):
    dataset = box_dataset(1)
    record = dataset.accepted()[0]
    picture = draw(record, dataset.read(record.case_id))
    assert all(TUMOUR in {outline.name for outline in plane.outlines} for plane in picture.planes)
    assert picture.families == (TUMOUR, "kidney")


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 6), st.integers(1, 6))
def test_outlines_enclose_the_mask_where_it_lies(row, column, height, width):
    mask = np.ones((height + 2, width + 2), bool)
    (line,) = _contours(mask, (2.0, 3.0), (row, column))
    inside = Curve(line).contains_points([((column + 1.5) * 3.0, (row + 1.5) * 2.0)])
    assert inside.all()
    x, y = line.min(axis=0), line.max(axis=0)
    assert x == pytest.approx([column * 3.0, row * 2.0], abs=1.5)
    assert y == pytest.approx([(column + width + 2) * 3.0, (row + height + 2) * 2.0], abs=1.5)


def test_a_single_voxel_is_still_outlined():
    assert list(_contours(np.ones((1, 1), bool), (1.0, 1.0)))


@given(st.floats(8, 40), st.floats(8, 40), st.floats(50, 90))
def test_path_data_follows_the_outline_within_a_millimetre(rows, columns, centre):
    angles = np.linspace(0, 2 * np.pi, 60)
    line = centre + np.stack([columns * np.cos(angles), rows * np.sin(angles)], axis=1)
    numbers = re.findall(r"-?\d+", _path(Outline("liver", (line,))))
    steps = np.array(numbers, int).reshape(-1, 2)
    drawn = np.cumsum(steps, axis=0) / PATH_UNITS_PER_MM
    edges = Curve(np.vstack([drawn, drawn[:1]])).interpolated(20).vertices
    assert max(np.hypot(*(edges - point).T).min() for point in line) < 1.0


def test_window_ends_and_middle():
    assert windowed(np.array([[-1024, -160, 40, 240, 3071]], np.int16)).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
@given(st.integers(-1000, 1200))
def test_the_code_shows_every_window_as_it_is(window, hu):
    shown = 255 * lookup(window)[int(encoded(np.array([hu]))[0])]
    assert abs(shown - float(windowed(np.array([hu]), window)[0])) <= 2.5  # half a code, rounded twice
    assert window != SOFT or lookup(window)[0] == 0


def test_colours_are_valid_and_fixed():
    assert colour_of("liver") == "#d98c4a"
    assert re.fullmatch("#[0-9a-f]{6}", colour_of("thyroid_gland"))
    assert colour_of("thyroid_gland") == colour_of("thyroid_gland")


def test_a_stack_holds_the_slices_of_the_case_in_order():
    record, arrays = corner_case()
    viewer = stacked(record, arrays, slices=True)
    cutter = Cutter(record, arrays)
    for stack, step_mm in zip(viewer.stacks, (8.0, 6.0, 6.0), strict=True):
        offsets = [frame.offset / PATH_UNITS_PER_MM for frame in stack.frames]
        assert np.diff(offsets) == pytest.approx(step_mm)
        centre = cutter.centre[PLANES.index(stack.plane)]
        assert stack.shown.offset == cutter.offset_mm(stack.plane, centre) * PATH_UNITS_PER_MM
        for index in range(centre, cutter.count(stack.plane), 7):
            cut = cutter.cut(stack.plane, index)
            nearest = min(stack.frames, key=lambda frame: abs(frame.offset - cutter.offset_mm(cut.name, index) * 2))
            if nearest.offset != cutter.offset_mm(cut.name, index) * PATH_UNITS_PER_MM:
                continue
            stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(nearest.picture))).convert("L"), int)
            assert np.abs(stored - encoded(cut.ct_hu)).mean() < 6
            assert nearest.paths.keys() == {outline.name for outline in cut.outlines}


def test_places_are_those_of_patient_space():
    viewer = stacked(*corner_case(), slices=True)
    axial, coronal, sagittal = viewer.stacks
    assert {axial.frames[0].place[-1], axial.frames[-1].place} == {"S", "100 mm I"}  # offsets grow downwards
    assert coronal.frames[0].place.endswith("A")
    assert sagittal.frames[-1].place.endswith("L")


def test_a_case_never_exceeds_its_share(monkeypatch):
    record, arrays = corner_case()
    noise = np.random.default_rng(0).normal(0, 200, arrays.ct.shape).astype(np.int16)
    noisy = Arrays(arrays.grid, arrays.ct + noise, arrays.anatomy, arrays.lesions)
    every = stacked(record, noisy, slices=True)
    monkeypatch.setattr(stack_module, "MAX_CASE_BYTES", sum(stack.size for stack in every.stacks) // 3)
    fewer = stacked(record, noisy, slices=True)
    assert sum(stack.size for stack in fewer.stacks) <= stack_module.MAX_CASE_BYTES
    assert [stack.shown for stack in fewer.stacks] == [stack.shown for stack in every.stacks]
    assert 1 < len(fewer.stacks[0].frames) < len(every.stacks[0].frames)


def test_the_sheet_is_a_picture_with_grey_and_coloured_parts(box_dataset, tmp_path):
    sheet = np.asarray(Image.open(view(box_dataset(3), tmp_path / "view").sheet).convert("RGB")).astype(int)
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 110) & (sheet[..., 2] < 140)
    assert red.sum() > 100
    assert sheet.shape[1] > sheet.shape[0]
