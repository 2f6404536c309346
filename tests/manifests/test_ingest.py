"""Real data through the front door: three layouts, lesions, bad cases, resumption."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests.anatomy import structure, structures
from manifests.cli import app
from manifests.dataset import Dataset
from manifests.errors import (
    FileFormatError,
    InvalidValueError,
    LocationError,
    SpecMismatchError,
    UnknownNameError,
)
from manifests.foreign import longest_axial_mm, translate
from manifests.geometry import Grid
from manifests.ingest import ingest, ingest_folder, ingest_images_labels
from manifests.labelmap import Meaning, label_map, read_label_names, scheme_label_map
from manifests.layouts import images_labels_source
from manifests.layouts.nnunet import nnunet_source
from manifests.layouts.totalsegmentator import totalsegmentator_source
from manifests.nifti import write_nifti
from manifests.schemes import paint, scheme, scheme_names
from manifests.testing import DatasetSuite

GRID = Grid((12, 16, 20), (3.0, 2.0, 2.0), (-20.0, -10.0, 5.0))


def ct(seed=0):
    return np.random.default_rng(seed).integers(-1000, 500, GRID.shape_zyx).astype(np.int16)


def kidney_labels():
    """Left kidney (1) with a tumour (2) inside and a cyst (3) apart."""
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[2:10, 4:12, 4:16] = 1
    labels[4:7, 6:9, 6:11] = 2
    labels[8, 10, 14] = 3
    return labels


def write_nnunet(folder, cases, labels=None, **extra):
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for index, case in enumerate(cases):
        write_nifti(folder / "imagesTr" / f"{case}_0000.nii.gz", ct(index), GRID)
        write_nifti(folder / "labelsTr" / f"{case}.nii.gz", kidney_labels(), GRID)
    table = {
        "channel_names": {"0": "CT"},
        "labels": labels or {"background": 0, "left kidney": 1, "kidney tumor": 2, "kidney cyst left": 3},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(table | extra))
    return folder


def test_nnunet_becomes_anatomy_lesions_and_records(tmp_path):
    source = write_nnunet(tmp_path / "raw", ["case_01", "case_02"], licence="CC-BY-4.0")
    dataset = ingest_folder("nnunet", source, tmp_path / "out")
    assert dataset.spec.kind == "real"
    records = dataset.accepted()
    assert [(r.case_id, r.patient_id, r.split, r.licence, r.index) for r in records] == [
        ("case_01", "case_01", "train", "CC-BY-4.0", 0),
        ("case_02", "case_02", "train", "CC-BY-4.0", 1),
    ]
    arrays, labels = dataset.read("case_01"), kidney_labels()
    np.testing.assert_array_equal(arrays.ct, ct(0))
    np.testing.assert_array_equal(arrays.lesions > 0, labels == 2)
    np.testing.assert_array_equal(arrays.anatomy == structure("kidney_left").id, (labels == 1) | (labels == 2))
    np.testing.assert_array_equal(arrays.anatomy == structure("kidney_cyst_left").id, labels == 3)
    (lesion,) = records[0].lesions
    assert (lesion.organ, lesion.site, lesion.side, lesion.kind) == ("kidney", "kidney_left", "left", "solid")
    assert lesion.size_mm == pytest.approx(np.hypot(3 * 2, 5 * 2))
    assert lesion.volume_ml == pytest.approx(3 * 3 * 5 * 12 / 1000)
    assert lesion.center_mm_xyz == pytest.approx((-20 + 2 * 8, -10 + 2 * 7, 5 + 3 * 5))
    (tumour,) = records[0].measured.tumours
    assert (tumour.organ, tumour.count, tumour.size_mm) == ("kidney", 1, lesion.size_mm)
    kidney = {measure.name: measure for measure in records[0].structures}["kidney_left"]
    inside = (labels == 1) | (labels == 2)
    assert kidney.volume_ml == pytest.approx(inside.sum() * 0.012)
    assert kidney.hu_mean == pytest.approx(ct(0)[inside].mean())
    assert kidney.components == 1


class TestIngestedDataset(DatasetSuite):
    """What is ingested keeps every promise of the format, as generated cases do."""

    @pytest.fixture
    def dataset(self, tmp_path):
        return ingest_folder("nnunet", write_nnunet(tmp_path / "raw", ["a", "b"]), tmp_path / "out")


def test_unknown_labels_stop_everything_before_anything_is_written(tmp_path):
    labels = {"background": 0, "kidney": 1, "tumor": 2, "blob": 3}
    source = write_nnunet(tmp_path / "raw", ["a"], labels)
    with pytest.raises(UnknownNameError, match=r"'tumor' \(2\), 'blob' \(3\)"):
        ingest_folder("nnunet", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    dataset = ingest_folder("nnunet", source, tmp_path / "out", {"tumor": "tumour:kidney", "3": "ignore"})
    (record,) = dataset.accepted()
    assert (record.lesions[0].organ, record.lesions[0].site) == ("kidney", "kidneys")
    assert not (dataset.read("a").anatomy[kidney_labels() == 3]).any()


def test_one_bad_case_is_a_failed_record_and_is_tried_again(tmp_path):
    source = write_nnunet(tmp_path / "raw", ["a", "b", "c"])
    good = (source / "imagesTr" / "b_0000.nii.gz").read_bytes()
    (source / "imagesTr" / "b_0000.nii.gz").write_bytes(good[: len(good) // 2])
    (source / "labelsTr" / "c.nii.gz").unlink()
    statuses = {r.case_id: r for r in ingest(nnunet_source(source), tmp_path / "out")}
    assert {key: record.status for key, record in statuses.items()} == {"a": "accepted", "b": "failed", "c": "failed"}
    assert statuses["b"].reasons[0].startswith("imagesTr/b_0000.nii.gz: got ")
    assert "0 label files" in statuses["c"].reasons[0]
    (source / "imagesTr" / "b_0000.nii.gz").write_bytes(good)
    again = [(r.case_id, r.status) for r in ingest(nnunet_source(source), tmp_path / "out")]
    assert again == [("b", "accepted"), ("c", "failed")]
    assert [r.case_id for r in Dataset.open(tmp_path / "out").accepted()] == ["a", "b"]


def test_other_labels_mean_another_dataset(tmp_path):
    source = write_nnunet(tmp_path / "raw", ["a"])
    ingest_folder("nnunet", source, tmp_path / "out")
    with pytest.raises(SpecMismatchError, match=r"prompts\.labels"):
        ingest_folder("nnunet", source, tmp_path / "out", {"3": "ignore"})


def test_misaligned_labels_and_stray_values_fail_their_case_alone(tmp_path):
    source = write_nnunet(tmp_path / "raw", ["a", "b", "c"])
    shifted = Grid(GRID.shape_zyx, GRID.spacing_mm_zyx, (-20.0, -10.0, 6.0))
    write_nifti(source / "labelsTr" / "a.nii.gz", kidney_labels(), shifted)
    stray = kidney_labels()
    stray[0, 0, 0] = 77
    write_nifti(source / "labelsTr" / "b.nii.gz", stray, GRID)
    a, b, c = ingest(nnunet_source(source), tmp_path / "out")
    assert "Resample it to the image" in a.reasons[0]
    assert "label values: got 77" in b.reasons[0]
    assert c.status == "accepted"


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"channel_names": {"0": "T2"}}, FileFormatError, "one channel CT"),
        ({"channel_names": {"0": "CT", "1": "PET"}}, FileFormatError, "one channel CT"),
        ({"file_ending": ".nrrd"}, FileFormatError, "one channel CT"),
        ({"labels": {"background": 0, "whole": [1, 2], "tumor": 2}}, FileFormatError, "regions"),
        ({"dataset": {"a": {"images": ["a.nii.gz"], "label": "b.nii.gz"}}}, FileFormatError, "key dataset"),
    ],
)
def test_what_is_no_ct_dataset_is_refused(tmp_path, change, kind, match):
    with pytest.raises(kind, match=match):
        nnunet_source(write_nnunet(tmp_path / "raw", ["a"], **change))


def test_missing_and_broken_sources_are_named(tmp_path):
    with pytest.raises(LocationError, match=r"dataset\.json"):
        nnunet_source(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"dataset\.json"):
        nnunet_source(tmp_path)
    with pytest.raises(LocationError, match="no file like"):
        images_labels_source(tmp_path, "btcv13")
    with pytest.raises(LocationError, match="subjects"):
        totalsegmentator_source(tmp_path)
    bad = write_nnunet(tmp_path / "raw", ["case 1"])
    with pytest.raises(InvalidValueError, match="'case 1'"):
        nnunet_source(bad)


def write_totalsegmentator(folder):
    for name in ("s0001", "s0002"):
        (folder / name / "segmentations").mkdir(parents=True)
        write_nifti(folder / name / "ct.nii.gz", ct(), GRID)
        for organ, box in {"liver": slice(0, 8), "spleen": slice(10, 14), "aorta": slice(7, 9)}.items():
            mask = np.zeros(GRID.shape_zyx, np.uint8)
            mask[:, :, box] = 1
            write_nifti(folder / name / "segmentations" / f"{organ}.nii.gz", mask, GRID)
    (folder / "meta.csv").write_text("image_id;age;gender;split\ns0001;63;m;train\ns0002;;f;test\n")
    return folder


def test_totalsegmentator_merges_masks_in_class_order(tmp_path):
    dataset = ingest_folder("totalsegmentator", write_totalsegmentator(tmp_path / "ts"), tmp_path / "out")
    first, second = dataset.accepted()
    assert (first.measured.age_years, first.measured.sex, first.split) == (63, "male", "train")
    assert (second.measured.age_years, second.measured.sex, second.split) == (None, "female", "test")
    anatomy = dataset.read("s0001").anatomy
    names = [structure(name).id for name in ("liver", "aorta", "spleen")]
    assert set(np.unique(anatomy)) == {0, *names}
    assert (anatomy[:, :, 7] == structure("aorta").id).all()  # the higher class covers the liver


def test_further_classes_must_be_mapped(tmp_path):
    folder = write_totalsegmentator(tmp_path / "ts")
    write_nifti(folder / "s0002" / "segmentations" / "liver_vessels.nii.gz", np.ones(GRID.shape_zyx, np.uint8), GRID)
    with pytest.raises(UnknownNameError, match="liver_vessels"):
        totalsegmentator_source(folder)
    dataset = ingest_folder("totalsegmentator", folder, tmp_path / "out", {"liver_vessels": "ignore"})
    assert len(dataset.accepted()) == 2
    assert (dataset.read("s0002").anatomy == structure("liver").id).any()


def test_folder_patterns_pair_images_and_labels(tmp_path):
    for case in ("p1", "p2"):
        (tmp_path / "in" / case).mkdir(parents=True)
        write_nifti(tmp_path / "in" / case / "ct.nii.gz", ct(), GRID)
    write_nifti(tmp_path / "in" / "p1" / "seg_x.nii.gz", kidney_labels(), GRID)
    dataset = ingest_images_labels(
        tmp_path / "in", tmp_path / "out", "kits", images="*/ct.nii.gz", masks="*/seg_*.nii.gz"
    )
    assert {r.case_id: r.status for r in dataset.records()} == {"p1": "accepted", "p2": "failed"}
    assert sorted(lesion.kind for lesion in dataset.record("p1").lesions) == ["cyst", "solid"]
    assert [t.count for t in dataset.record("p1").measured.tumours] == [1]  # a cyst is no tumour


@pytest.mark.parametrize("name", [n for n in scheme_names() if n not in ("full", "guidegen20-tumour")])
def test_what_a_scheme_paints_reads_back_to_the_same_painting(name):
    """Every scheme is a door in as well: paint, ingest, paint again gives the same map."""
    open_labels = {"prostate/uterus": "prostate", "airway": "bronchus_left"}
    labels = scheme(name).labels
    meanings = scheme_label_map(name, {key: text for key, text in open_labels.items() if key in labels})
    values = np.zeros((3, 2 * len(labels), 9), np.uint8)
    for position, value in enumerate(labels.values()):
        values[1, 2 * position, 1:8] = value
    grid = Grid(values.shape, (30.0, 30.0, 1.0))
    anatomy, lesions, records = translate(values, meanings, grid)
    np.testing.assert_array_equal(paint(anatomy, lesions, records, scheme(name)), values)


def test_a_tumour_is_filled_with_the_nearest_part_of_its_organ():
    values = np.zeros((3, 10, 30), np.uint8)
    values[:, :, :10], values[:, :, 20:] = 1, 2
    values[1, 4:6, 10:14] = 3  # beside lobe 1
    meanings = {
        1: Meaning(structure="lung_upper_lobe_left"),
        2: Meaning(structure="lung_lower_lobe_left"),
        3: Meaning(organ="lung"),
    }
    anatomy, lesions, (lesion,) = translate(values, meanings, Grid(values.shape, (1.0, 1.0, 1.0)))
    assert lesion.site == "lung_upper_lobe_left"
    assert (anatomy[lesions == 1] == structure("lung_upper_lobe_left").id).all()
    alone, _, (far,) = translate(np.where(values == 3, values, 0), meanings, Grid(values.shape, (1.0, 1.0, 1.0)))
    assert far.site == "lungs"
    assert (alone > 0).sum() == 8


def test_touching_corners_are_one_lesion_and_256_are_too_many():
    values = np.zeros((2, 40, 40), np.uint8)
    values[0, 0, 0] = values[1, 1, 1] = values[0, 5, 5] = 1
    meanings = {1: Meaning(organ="liver")}
    _, lesions, records = translate(values, meanings, Grid(values.shape, (1.0, 1.0, 1.0)))
    assert lesions[0, 0, 0] == lesions[1, 1, 1] != lesions[0, 5, 5]
    assert len(records) == 2
    dots = np.zeros((1, 40, 40), np.uint8)
    dots[0, ::2, ::2] = 1
    with pytest.raises(InvalidValueError, match="400 separate lesions"):
        translate(dots, meanings, Grid(dots.shape, (1.0, 1.0, 1.0)))


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 5), st.floats(0.3, 5))
def test_longest_diameter_equals_the_brute_force(seed, sy, sx):
    mask = np.random.default_rng(seed).random((2, 5, 6)) < 0.3
    best = 0.0
    for plane in mask:
        corners = np.array([(y + a, x + b) for y, x in np.argwhere(plane) for a in (0, 1) for b in (0, 1)])
        if len(corners):
            scaled = corners * [sy, sx]
            best = max(best, float(np.linalg.norm(scaled[:, None] - scaled[None], axis=-1).max()))
    assert longest_axial_mm(mask, (sy, sx)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("left kidney", Meaning(structure="kidney_left")),
        ("kidney", Meaning(structure="kidneys")),
        ("lung_left", Meaning(structure="lung_left")),
        ("Left Lung", Meaning(structure="lung_left")),
        ("vertebrae_L1", Meaning(structure="vertebrae_L1")),
        ("pancreatic tumor", Meaning(organ="pancreas")),
        ("colon cancer primaries", Meaning(organ="colon")),
        ("tumour:kidney:cyst", Meaning(organ="kidney", kind="cyst")),
        ("ignore", Meaning()),
    ],
)
def test_names_of_other_datasets_are_understood(text, meaning):
    assert label_map({1: text}) == {1: meaning}


@pytest.mark.parametrize("text", ["cancer", "prostate/uterus", "hip", "upper lobe", "couch", "tumour:couch"])
def test_ambiguous_names_are_never_guessed(text):
    with pytest.raises(UnknownNameError):
        label_map({1: text})


def test_every_structure_name_means_itself():
    names = {entry.id: entry.name for entry in structures()}
    assert {value: meaning.structure for value, meaning in label_map(names).items()} == names


def test_real_scans_come_in_with_the_volumes_their_tables_state(real_data, tmp_path):
    table = json.loads((real_data / "ct_totalseg_example" / "labels.json").read_text(encoding="utf-8"))
    stated = table["segmentations"]["seg_totalseg.nii.gz"]["labels"]
    names = {str(label["value"]): name for name, label in stated.items()}
    source = images_labels_source(
        real_data, names, images="ct_totalseg_e*/ct.nii.gz", masks="ct_totalseg_e*/seg*.nii.gz"
    )
    (record,) = ingest(source, tmp_path / "out")
    assert (record.case_id, record.status) == ("xample", "accepted")
    measured = {measure.name: measure.volume_ml for measure in record.structures}
    assert measured.keys() == stated.keys()
    for name, label in stated.items():
        assert measured[name] == pytest.approx(label["volume_ml"], abs=0.06)
    anatomy = Dataset.open(tmp_path / "out").read("xample").anatomy
    left, right = (np.nonzero(anatomy == structure(f"kidney_{side}").id)[2].mean() for side in ("left", "right"))
    assert left > right


def test_the_command_says_what_failed_and_exits_accordingly(tmp_path):
    raw = write_nnunet(tmp_path / "raw", ["a", "b"], {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3})
    asked = ["ingest", str(raw), "--out", str(tmp_path / "out"), "--layout", "nnunet", "--licence", "CC0-1.0", "--json"]
    meant = ["--map", "tumor=tumour:kidney", "--map", "cyst=tumour:kidney:cyst"]
    (raw / "labelsTr" / "b.nii.gz").unlink()
    failed = CliRunner().invoke(app, asked + meant)
    assert failed.exit_code == 1
    facts = json.loads(failed.stdout)
    assert (facts["cases"], list(facts["failed"])) == (2, ["b"])
    write_nifti(raw / "labelsTr" / "b.nii.gz", kidney_labels(), GRID)
    assert CliRunner().invoke(app, asked + meant).exit_code == 0
    assert [record.licence for record in Dataset.open(tmp_path / "out").accepted()] == ["CC0-1.0"] * 2
    assert isinstance(CliRunner().invoke(app, asked).exception, UnknownNameError)
    assert isinstance(CliRunner().invoke(app, [*asked, "--map", "tumor"]).exception, InvalidValueError)


def test_a_label_file_is_read_either_way_round(tmp_path):
    for table in ({"1": "liver", "2": "spleen"}, {"liver": 1, "spleen": 2}):
        (tmp_path / "labels.json").write_text(json.dumps(table))
        assert read_label_names(tmp_path / "labels.json") == {1: "liver", 2: "spleen"}
    for text in ("{", "[]", '{"liver": 1, "spleen": 1}', '{"liver": 1.5}', '{"liver": true}'):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(FileFormatError, match=r"labels\.json"):
            read_label_names(tmp_path / "labels.json")
    with pytest.raises(LocationError):
        read_label_names(tmp_path / "none.json")
