"""The anatomy table: its promises row by row, and its numbers against other vocabularies and real scans."""

import csv
import json
from importlib.resources import files

import numpy as np
import pytest

from manifests.anatomy import PHASES, by_id, by_word, group, sites, structure, structures, table_hash
from manifests.errors import UnknownNameError
from manifests.nifti import read_ct, read_labels


def test_ids_are_consecutive_and_names_unique():
    assert [entry.id for entry in structures()] == list(range(1, len(structures()) + 1))
    assert len({entry.name for entry in structures()}) == len(structures()) <= 255


def test_the_first_117_are_totalsegmentators():
    assert [entry.totalsegmentator_id for entry in structures()] == [*range(1, 118)] + [None] * (
        len(structures()) - 117
    )


def test_mirror_is_an_involution_between_sides_and_keeps_tissue():
    for entry in structures():
        if entry.mirror is not None:
            partner = structure(entry.mirror)
            assert partner.mirror == entry.name
            assert {entry.side, partner.side} == {"left", "right"}
            assert (entry.tissue, entry.group, entry.organ) == (partner.tissue, partner.group, partner.organ)
            assert (entry.hu, entry.hu_sd) == (partner.hu, partner.hu_sd)


def test_every_sided_structure_has_its_partner_but_for_the_known_two():
    assert [entry.name for entry in structures() if entry.side and not entry.mirror] == [
        "lung_middle_lobe_right",
        "atrial_appendage_left",
    ]


def test_external_numbers_are_unique_but_for_the_airway():
    maisi = [entry.maisi_id for entry in structures() if entry.maisi_id is not None]
    assert {number for number in maisi if maisi.count(number) > 1} == {132}
    assert not set(maisi) & {2, 16, 18, 20, 21, 23, 24, 25, 26, 27, 128, 129, 130, 131}  # dummies and lesions


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("kidney_right", 5),
        ("kidney_left", 14),
        ("adrenal_gland_right", 8),
        ("vertebrae_L5", 33),
        ("vertebrae_T1", 49),
        ("vertebrae_C1", 56),
        ("rib_left_1", 63),
        ("rib_right_12", 86),
        ("iliopsoas_right", 107),
        ("subclavian_artery_left", 123),
        ("body", 200),
    ],
)
def test_maisi_numbers_as_its_dictionary_has_them(name, number):
    assert structure(name).maisi_id == number


def test_hu_lie_in_the_physical_order_of_tissues():
    by_tissue = {tissue: [] for tissue in {entry.tissue for entry in structures()}}
    for entry in structures():
        by_tissue[entry.tissue].append(entry.hu["native"])
    assert max(by_tissue["airway"]) < min(by_tissue["lung"]) <= max(by_tissue["lung"]) < min(by_tissue["fat"])
    assert max(by_tissue["fat"]) < -80 < 0 < min(by_tissue["muscle"])
    assert max(by_tissue["fluid"]) < min(by_tissue["muscle"]) < max(by_tissue["muscle"]) < min(by_tissue["bone"])


def test_contrast_moves_as_blood_carries_it():
    aorta, portal, kidney = (structure(name).hu for name in ("aorta", "portal_vein_and_splenic_vein", "kidney_left"))
    assert aorta["native"] < aorta["delayed"] < aorta["portal_venous"] < aorta["arterial"]
    assert portal["arterial"] < portal["portal_venous"]
    assert kidney["arterial"] < kidney["portal_venous"]
    for entry in structures():
        if entry.tissue in ("parenchyma", "artery", "vein", "heart"):
            assert entry.hu["native"] < min(entry.hu[phase] for phase in PHASES[1:]), entry.name
        assert entry.hu_sd > 0


def test_volumes_are_plausible_and_parts_sum_to_wholes():
    for entry in structures():
        assert (entry.volume_cv is None) == (not entry.volume_ml)
        assert all(ml > 0 for ml in entry.volume_ml.values())
    assert set(structure("prostate").volume_ml) == {"male"}
    assert set(structure("uterus").volume_ml) == {"female"}
    for sex in ("male", "female"):
        parts = sum(structure(name).volume_ml[sex] for name in sites("colon"))
        assert parts == pytest.approx(structure("colon").volume_ml[sex], rel=0.02)
        lumbar = [structure(f"vertebrae_{level}").volume_ml[sex] for level in ("T1", "T6", "T12", "L3")]
        assert lumbar == sorted(lumbar)
        assert structure("lung_lower_lobe_right").volume_ml[sex] > structure("lung_middle_lobe_right").volume_ml[sex]


def test_synonyms_are_lower_case_and_shared_within_a_group_only():
    owners = {}
    for entry in structures():
        assert len(set(entry.synonyms)) == len(entry.synonyms)
        for word in entry.synonyms:
            assert word == word.lower().strip() != ""
            owners.setdefault(word, set()).add(entry.group)
    assert {word: groups for word, groups in owners.items() if len(groups) > 1} == {}


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("Left kidney", {"kidney_left"}),
        ("renal", {"kidney_left", "kidney_right"}),
        ("RUL", {"lung_upper_lobe_right"}),
        ("left lung", {"lung_upper_lobe_left", "lung_lower_lobe_left"}),
        ("cecum", {"colon_ascending"}),
        ("sigmoid", {"colon_sigmoid"}),
        ("ivc", {"inferior_vena_cava"}),
        ("L1", {"vertebrae_L1"}),
        ("flux capacitor", set()),
    ],
)
def test_words_of_reports_find_their_structures(word, names):
    assert {entry.name for entry in by_word(word)} == names


def test_sites_of_an_organ_leave_out_the_undivided():
    assert sites("colon") == ("colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum")
    assert set(sites("lung")) == {entry.name for entry in group("lung")}
    assert sites("kidney") == ("kidney_right", "kidney_left")
    assert sites("couch") == ()


def test_unknown_names_and_ids_are_named():
    with pytest.raises(UnknownNameError, match="'liverr'"):
        structure("liverr")
    with pytest.raises(UnknownNameError, match="999"):
        by_id(999)
    with pytest.raises(UnknownNameError):
        group("limbs")


def test_every_citation_is_listed_in_the_docs(repo_docs):
    text = (repo_docs / "anatomy.md").read_text(encoding="utf-8")
    rows = csv.DictReader(files("manifests").joinpath("anatomy.csv").read_text(encoding="utf-8").splitlines())
    cited = set()
    for row in rows:
        assert row["source"], row["name"]
        for part in row["source"].split(" · "):
            cited |= {citation.strip() for citation in part.split(": ", 1)[1].split(";")}
    assert {citation for citation in cited if f"**{citation}**" not in text} == set()


@pytest.fixture
def repo_docs(request):
    return request.config.rootpath / "docs"


def test_the_hash_covers_ids_and_names():
    assert table_hash() == table_hash()
    assert len(table_hash()) == 20


def test_real_native_scan_lies_within_the_table(real_data):
    """Solid structures of a real scan lie within four spreads and 12 HU of the table's native mean."""
    folder = real_data / "ct_totalseg_example"
    ct, _ = read_ct(folder / "ct.nii.gz")
    labels, _ = read_labels(folder / "seg_totalseg.nii.gz")
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["segmentations"]["seg_totalseg.nii.gz"]
    solid = {"parenchyma", "bone", "muscle", "vein", "artery", "cartilage", "fluid"}
    checked = 0
    for name, label in names["labels"].items():
        entry, inside = structure(name), labels == label["value"]
        if entry.tissue in solid and inside.sum() > 200 and name != "femur_left":  # holds a metal implant
            checked += 1
            mean = float(np.mean(ct[inside]))
            assert abs(mean - entry.hu["native"]) < 4 * entry.hu_sd + 12, (name, mean, entry.hu["native"])
    assert checked > 35
