"""What must hold of every body: completeness, connection, sides, order, volumes."""

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.phantom import SCATTERED
from factory.engines.phantom.space import Space
from manifests.anatomy import by_id, structures

COLON = ("colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum")
NOT_DRAWN = {"colon", "kidney_cyst_left", "kidney_cyst_right", "brain", "skull", "uterus", "prostate", "thyroid_gland",
             "pleural_effusion_left", "pleural_effusion_right", "ascites", "liver_cyst"}  # fmt: skip
GRID = preset("tiny").grid()
NEVER_IN_A_TORSO = {f"vertebrae_C{n}" for n in range(1, 8)}
SPINE = [f"vertebrae_T{n}" for n in range(1, 13)] + [f"vertebrae_L{n}" for n in range(1, 6)] + ["sacrum"]


def expected(sex: str) -> list[str]:
    optional = NOT_DRAWN | NEVER_IN_A_TORSO
    names = [entry.name for entry in structures() if entry.group != "undivided" and entry.name not in optional]
    return [*names, "uterus" if sex == "female" else "prostate"]


def parts(mask: np.ndarray) -> int:
    return ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_every_structure_is_there(person):
    missing = [name for name in expected(person.build.sex) if person.volume_ml(name) == 0]
    assert missing == []


def test_the_other_sex_is_not_drawn(person):
    assert person.volume_ml("prostate" if person.build.female else "uterus") == 0


def test_every_structure_is_one_piece(person):
    whole = [entry.name for entry in structures() if entry.name not in SCATTERED and person.volume_ml(entry.name)]
    broken = [name for name in whole if parts(person.mask(name)) != 1]
    assert broken == []


@pytest.mark.parametrize(
    "tubes",
    [
        COLON,
        ("trachea", "bronchus_left", "bronchus_right"),
        ("aorta", "iliac_artery_left", "iliac_artery_right"),
        ("inferior_vena_cava", "iliac_vena_left", "iliac_vena_right"),
        ("esophagus", "stomach", "duodenum"),
        ("aorta", "celiac_trunk"),
        ("aorta", "superior_mesenteric_artery"),
        ("aorta", "renal_artery_left"),
        ("portal_vein_and_splenic_vein", "superior_mesenteric_vein"),
        ("inferior_vena_cava", "renal_vein_right"),
    ],
    ids=lambda tubes: tubes[-1],
)
def test_tubes_are_joined(person, tubes):
    assert parts(person.mask(*tubes)) == 1


def test_left_is_left(person):
    for entry in structures():
        if entry.side == "left" and entry.mirror and person.volume_ml(entry.name) and person.volume_ml(entry.mirror):
            assert person.centre_mm(entry.name)[0] > person.centre_mm(entry.mirror)[0], entry.name


def test_unpaired_organs_lie_on_their_side(person):
    names = ("liver", "gallbladder", "spleen", "stomach", "heart", "aorta")
    side = {name: person.centre_mm(name)[0] - person.centre_mm("vertebrae_T12")[0] for name in names}
    assert side["liver"] < -20
    assert side["gallbladder"] < 0
    assert min(side["spleen"], side["stomach"]) > 20
    assert side["heart"] > -8
    assert side["aorta"] > -6
    assert person.centre_mm("inferior_vena_cava")[0] < person.centre_mm("aorta")[0]


def test_the_spine_is_in_order(person):
    heights = [person.centre_mm(name)[2] for name in SPINE]
    assert heights == sorted(heights, reverse=True)
    for side in ("left", "right"):
        ribs = [person.centre_mm(f"rib_{side}_{n}")[2] for n in range(1, 13)]
        assert ribs == sorted(ribs, reverse=True)


def test_organs_are_in_order_from_head_to_foot(person):
    chain = ["trachea", "heart", "liver", "pancreas", "small_bowel", "urinary_bladder"]
    heights = [person.centre_mm(name)[2] for name in chain]
    assert heights == sorted(heights, reverse=True)
    assert person.centre_mm("kidney_right")[2] < person.centre_mm("spleen")[2]


def test_front_and_back(person):
    y = {name: person.centre_mm(name)[1] for name in ("sternum", "heart", "aorta", "vertebrae_T8", "autochthon_left")}
    assert y["sternum"] < y["heart"] < y["aorta"] < y["vertebrae_T8"] < y["autochthon_left"]
    assert person.centre_mm("rectum")[1] > person.centre_mm("urinary_bladder")[1]
    assert person.centre_mm("kidney_left")[1] > person.centre_mm("pancreas")[1]


def test_lungs_lie_above_the_liver_in_each_column(person):
    lung = person.mask("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right")
    liver = person.mask("liver")
    both = lung.any(axis=0) & liver.any(axis=0)
    lowest_lung = lung.argmax(axis=0)[both]
    lowest_liver = liver.argmax(axis=0)[both]
    assert both.sum() > 50
    assert (lowest_lung > lowest_liver).mean() > 0.97


def test_no_organ_or_vessel_touches_the_air(person):
    near = ndimage.binary_dilation(person.labels == 0) & (person.labels > 0)
    touching = [by_id(int(id)) for id in np.unique(person.labels[near])]
    assert {
        entry.name for entry in touching if entry.tissue not in ("soft", "fat", "muscle", "bone", "cartilage")
    } == set()


def test_drawn_volumes_are_painted(person):
    for name in ("liver", "spleen", "kidney_left", "kidney_right", "heart", "stomach", "pancreas"):
        assert person.volume_ml(name) == pytest.approx(person.build.volumes_ml[name], rel=0.3), name


def test_the_mesentery_of_the_heavy_holds_no_coils(body):
    shares = []
    for weight in (60, 118):
        person = body(3, weight=weight)
        coils = np.argwhere(person.mask("small_bowel"))[:, ::-1] * GRID.spacing_mm_zyx[0] + GRID.origin_mm_xyz
        root = Space(person.build).place(np.array([(2.0, -50, -110)]))[0]
        shares.append((np.linalg.norm((coils - root) / (1.25, 0.9, 1.45), axis=1) < 26).mean())
    assert shares[1] < 0.5 * shares[0]


def test_upper_organs_lie_where_label_maps_of_patients_have_them(body):
    patients = {
        "gallbladder": (-142, -89, 14),
        "stomach": (-28, -77, 53),
        "duodenum": (-90, -61, -7),
        "pancreas": (-54, -60, 21),
    }
    people = [body(seed=seed, sex=sex) for seed in range(4) for sex in ("male", "female")]
    for name, expected in patients.items():  # from the middle of the left kidney: `benchmarks/organ_positions.py`
        from_kidney = [
            person.centre_mm(name) - person.centre_mm("kidney_left") for person in people if person.mask(name).any()
        ]
        assert np.abs(np.mean(from_kidney, axis=0) - expected).max() < 22, name
