"""Label schemes: every target reached, nothing undefined, sides kept, lesions above organs."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manifests.anatomy import structure, structures
from manifests.case import Lesion
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.schemes import paint, scheme, scheme_names

NAMES = scheme_names()
LAST = len(structures())


def lesion(id, organ, kind="solid"):
    site = next(entry.name for entry in structures() if entry.organ == organ)
    return Lesion(id=id, organ=organ, site=site, kind=kind, size_mm=5.0, volume_ml=1.0, center_mm_xyz=(0.0, 0.0, 0.0))


EVERY_LESION = tuple(
    lesion(id, organ, kind)
    for id, (organ, kind) in enumerate(
        [(o, k) for o in sorted({e.organ for e in structures() if e.organ}) for k in ("solid", "cyst")], 1
    )
)


def everything():
    """One voxel of each structure, and one of each lesion in its own organ."""
    ids = [*range(LAST + 1), *(structure(record.site).id for record in EVERY_LESION)]
    marks = [0] * (LAST + 1) + [record.id for record in EVERY_LESION]
    return np.array(ids, np.uint8).reshape(1, 1, -1), np.array(marks, np.uint8).reshape(1, 1, -1)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_is_reached_and_nothing_else(name):
    anatomy, lesions = everything()
    painted = paint(anatomy, lesions, EVERY_LESION, scheme(name))
    assert painted.dtype == np.uint8
    assert set(np.unique(painted)) == set(scheme(name).labels.values())


@pytest.mark.parametrize("name", NAMES)
def test_painting_follows_the_definitions_voxel_by_voxel(name):
    """The look-up table against the slow reading of the definitions, in order, later over earlier."""
    anatomy, lesions = everything()
    records = {record.id: record for record in EVERY_LESION}
    expected = np.zeros_like(anatomy)
    for label in scheme(name).definitions:
        for source in label.sources:
            expected[(anatomy == structure(source).id)] = label.value
    for label in scheme(name).definitions:
        for pattern in label.lesions:
            organ, _, kind = pattern.partition(":")
            for id, record in records.items():
                if organ in ("*", record.organ) and kind in ("", record.kind):
                    expected[lesions == id] = label.value
    np.testing.assert_array_equal(paint(anatomy, lesions, EVERY_LESION, scheme(name)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_mirroring_a_case_mirrors_its_labels(name):
    values, labels = scheme(name).structure_values(), scheme(name).labels
    text = {value: label for label, value in labels.items()}

    def swapped(label):
        return label.replace("left", "@").replace("right", "left").replace("@", "right")

    for entry in structures():
        own = text[int(values[entry.id])]
        if entry.mirror is not None:
            assert text[int(values[structure(entry.mirror).id])] == swapped(own), entry.name
        if "left" in own or "right" in own:
            assert entry.side is not None
            assert entry.side in own


@pytest.mark.parametrize(
    ("name", "count", "consecutive"),
    [
        ("full", LAST + 2, True),
        ("guidegen20", 20, True),
        ("guidegen20-tumour", 21, True),
        ("btcv13", 14, True),
        ("torso24", 25, True),
        ("torso25", 26, True),
        ("amos15", 16, True),
        ("kits", 4, True),
        ("msd-lung", 2, True),
        ("msd-colon", 2, True),
        ("totalsegmentator", 118, True),
        ("maisi132", 124, False),
    ],
)
def test_counts_and_gaps(name, count, consecutive):
    assert len(scheme(name).labels) == count
    assert scheme(name).consecutive is consecutive
    assert next(iter(scheme(name).labels.items())) == ("background", 0)


def test_all_schemes_of_the_house_are_there():
    house = {"full", "guidegen20", "btcv13", "amos15", "kits", "msd-lung", "msd-colon", "totalsegmentator", "maisi132"}
    assert house <= set(NAMES)


BTCV = (
    "spleen, right kidney, left kidney, gallbladder, esophagus, liver, stomach, aorta, inferior vena cava, "
    "portal vein and splenic vein, pancreas, right adrenal gland, left adrenal gland"
)
AMOS = (
    "spleen, right kidney, left kidney, gall bladder, esophagus, liver, stomach, aorta, postcava, pancreas, "
    "right adrenal gland, left adrenal gland, duodenum, bladder, prostate/uterus"
)


def test_published_numbers():
    for name, order in (("btcv13", BTCV), ("amos15", AMOS)):
        assert list(scheme(name).labels) == ["background", *order.split(", ")]
    assert dict(scheme("kits").labels) == {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
    assert scheme("guidegen20").labels["gallbladder"] == 19
    assert scheme("maisi132").labels["hepatic tumor"] == 26
    assert {v: k for k, v in scheme("totalsegmentator").labels.items()}[79] == "spinal_cord"


def test_totalsegmentators_names_match_a_published_label_table(real_data):
    published = json.loads((real_data / "masks_totalseg_s0327_s0328" / "labels.json").read_text(encoding="utf-8"))
    labels = scheme("totalsegmentator").labels
    assert {name: int(value) for value, name in published["label_map"].items()}.items() <= dict(labels).items()


def test_colon_segments_are_colon_and_only_full_tells_them_apart():
    anatomy = np.array([[[structure(name).id for name in ("colon", "colon_sigmoid", "rectum")]]], np.uint8)
    none = np.zeros_like(anatomy)
    assert set(paint(anatomy, none, (), scheme("totalsegmentator")).ravel()) == {20}
    assert set(paint(anatomy, none, (), scheme("maisi132")).ravel()) == {62}
    np.testing.assert_array_equal(paint(anatomy, none, (), scheme("full")), anatomy)


@given(
    arrays(np.uint8, (3, 4, 5), elements=st.integers(0, LAST)),
    arrays(np.uint8, (3, 4, 5), elements=st.integers(0, len(EVERY_LESION))),
    st.sampled_from(NAMES),
)
def test_painting_is_pointwise(anatomy, lesions, name):
    """Painting a volume equals painting each voxel alone, and without lesions it ignores their records."""
    painted = paint(anatomy, lesions, EVERY_LESION, scheme(name))
    flipped = paint(anatomy[:, ::-1], lesions[:, ::-1], EVERY_LESION, scheme(name))
    np.testing.assert_array_equal(painted[:, ::-1], flipped)
    organs_only = paint(anatomy, np.zeros_like(lesions), (), scheme(name))
    np.testing.assert_array_equal(painted[lesions == 0], organs_only[lesions == 0])


def test_unknown_scheme_id_and_instance_are_refused():
    with pytest.raises(UnknownNameError, match="guidegen20"):
        scheme("guidegen")
    one = np.ones((1, 1, 1), np.uint8)
    with pytest.raises(InvalidValueError, match="id 255"):
        paint(one * np.uint8(255), one * np.uint8(0), (), scheme("full"))
    with pytest.raises(InvalidValueError, match="instances \\[7\\]"):
        paint(one, one * np.uint8(7), (lesion(1, "liver"),), scheme("full"))


def test_empty_volumes_paint_empty():
    empty = np.zeros((0, 2, 2), np.uint8)
    assert paint(empty, empty, (), scheme("kits")).shape == (0, 2, 2)
