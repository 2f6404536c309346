"""The pictures: orientation, proportions, escaping, no outside resource, and refusals."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from PIL import Image

from downstream.preview import preview
from downstream.preview_picture import TUMOUR, _contours, colour_of, draw, windowed
from manifests.anatomy import structure
from manifests.case import Arrays, CaseRecord
from manifests.errors import InvalidValueError
from manifests.geometry import Grid

GRID = Grid((40, 30, 50), (4.0, 2.0, 1.5))


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


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 6), st.integers(1, 6))
def test_outlines_enclose_the_mask_where_it_lies(row, column, height, width):
    mask = np.zeros((20, 20), bool)
    mask[row : row + height + 2, column : column + width + 2] = True
    (line,) = _contours(mask, (2.0, 3.0))
    inside = Curve(line).contains_points([((column + 1.5) * 3.0, (row + 1.5) * 2.0)])
    assert inside.all()
    x, y = line.min(axis=0), line.max(axis=0)
    assert x == pytest.approx([column * 3.0, row * 2.0], abs=1.5)
    assert y == pytest.approx([(column + width + 2) * 3.0, (row + height + 2) * 2.0], abs=1.5)


def test_a_single_voxel_is_still_outlined():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    assert list(_contours(mask, (1.0, 1.0)))


def test_window_ends_and_middle():
    grey = windowed(np.array([[-1024, -160, 40, 240, 3071]], np.int16))
    assert grey.tolist() == [[0, 0, 128, 255, 255]]


def test_colours_are_valid_and_fixed():
    assert colour_of("liver") == "#d98c4a"
    assert re.fullmatch("#[0-9a-f]{6}", colour_of("thyroid_gland"))
    assert colour_of("thyroid_gland") == colour_of("thyroid_gland")


class _Collector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.references = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in {"href", "src", "srcset", "data"}]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_escapes_its_texts(box_dataset, tmp_path):
    made = preview(box_dataset(5, name="<i>boxes&"), tmp_path / "view", 3)
    assert made.cases == 3
    page = made.page.read_text(encoding="utf-8")
    parsed = _Collector()
    parsed.feed(page)
    assert parsed.references
    assert all(reference.startswith("data:image/png;base64,") for reference in parsed.references)
    assert "url(" not in page
    assert "@import" not in page
    assert not {"b", "i", "link", "iframe"} & set(parsed.tags) - {"i"}
    text = "".join(parsed.text)
    assert "<i>boxes&" in text
    assert "A male patient with a tumour of the left kidney, p0 <b>&" in text
    assert "SYNTHETIC" in text
    assert parsed.tags.count("article") == 3
    picture = Image.open(io.BytesIO(base64.b64decode(parsed.references[0].split(",")[1])))
    assert picture.mode == "L"


def test_requested_and_measured_stand_side_by_side(box_dataset, tmp_path):
    page = preview(box_dataset(3), tmp_path / "view").page.read_text(encoding="utf-8")
    assert "<td>1 \u00d7 left kidney</td><td>1 \u00d7 left kidney</td>" in page
    assert "<td>1 \u00d7 left kidney</td><td><em>&ndash;</em></td>" in page


def test_the_sheet_is_a_picture_with_grey_and_coloured_parts(box_dataset, tmp_path):
    sheet = np.asarray(Image.open(preview(box_dataset(3), tmp_path / "view").sheet).convert("RGB")).astype(int)
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 110) & (sheet[..., 2] < 140)
    assert red.sum() > 100
    assert sheet.shape[1] > sheet.shape[0]


@pytest.mark.parametrize(("cases", "n"), [(2, 0), (0, 4)])
def test_nothing_to_draw_is_refused_and_nothing_is_written(box_dataset, tmp_path, cases, n):
    with pytest.raises(InvalidValueError):
        preview(box_dataset(cases), tmp_path / "view", n)
    assert not (tmp_path / "view").exists()
