"""Public releases as they are unpacked: small trees with their headers, axes and tables come in with the right voxels and sides."""

import json

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from typer.testing import CliRunner

from manifests.anatomy import structure
from manifests.cli import app
from manifests.dataset import Dataset
from manifests.errors import FileFormatError, InvalidValueError, LocationError, UnknownNameError
from manifests.geometry import Grid
from manifests.identity import rng
from manifests.ingest import ingest, ingest_folder
from manifests.layouts import LAYOUTS

GRID = Grid((6, 8, 12), (5.0, 1.5, 1.25), (-30.0, -20.0, 40.0))
RIGHT, LEFT = np.s_[1:5, 2:6, 1:4], np.s_[1:5, 2:6, 8:11]
"""Two boxes at the patient's right and left: x grows to the left."""


def ct(case):
    return rng(case, "ct").integers(-1000, 900, GRID.shape_zyx).astype(np.int16)


def boxes(right=0, left=0, tumour=0, cyst=0):
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[RIGHT], labels[LEFT] = right, left
    labels[2:4, 3:5, 9:11] = tumour or labels[LEFT].max()
    labels[4, 5, 1] = cyst or labels[RIGHT].max()
    return labels


def scan(path, array, codes="LAS", dtype=np.int16, grid=GRID, intercept=0.0):
    """Write an array (z, y, x) LPS with voxel axes in the directions of `codes`, by nibabel's own reorientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = (array.transpose(2, 1, 0) - intercept).astype(dtype)
    image = nib.Nifti1Image(stored, grid.affine_ras, dtype=dtype)
    image = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(codes)))
    image.header.set_slope_inter(1.0, intercept)
    nib.save(image, path)
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == codes


def kits_scan(path, array, dtype):
    """Write as KiTS does: (slice, row, column) from the top down, sform alone (code 2), no origin, no units, no slope."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (dz, dy, dx), affine = GRID.spacing_mm_zyx, np.eye(4)
    affine[:3, :3] = [[0, 0, -dx], [0, -dy, 0], [-dz, 0, 0]]
    image = nib.Nifti1Image(array[::-1].astype(dtype), affine)
    image.set_sform(affine, code=2)
    image.set_qform(None, code=0)
    nib.save(image, path)


def btcv(folder, cases=("0001", "0035")):
    for case in cases:
        scan(folder / "RawData" / "Training" / "img" / f"img{case}.nii.gz", ct(f"img{case}"), intercept=-1024.0)
        scan(folder / "RawData" / "Training" / "label" / f"label{case}.nii.gz", boxes(right=2, left=3), dtype=np.uint8)
    scan(folder / "RawData" / "Testing" / "img" / "img0061.nii.gz", ct("x"))
    return folder


def amos(folder, cases=(("Tr", "amos_0001"), ("Tr", "amos_0507"), ("Va", "amos_0008"), ("Va", "amos_0013"))):
    for part, case in cases:
        scan(folder / "amos22" / f"images{part}" / f"{case}.nii.gz", ct(case), "LPS", np.float32)
        scan(folder / "amos22" / f"labels{part}" / f"{case}.nii.gz", boxes(right=2, left=15), "LPS", np.float64)
    scan(folder / "amos22" / "imagesTs" / "amos_0003.nii.gz", ct("x"), "LPS")
    (folder / "labeled_data_meta_0000_0599.csv").write_text(
        "amos_id,Patient's Birth Date,Patient's Sex,Patient's Age,Manufacturer's Model Name,Manufacturer,Acquisition Date,Site\n"
        "1,19640101,M,056Y,Brilliance 16,Philips,20200101,A\n8,,F,043Y,,,,\n507,,F,,,,,\n"
    )
    return folder


def msd(folder, task="Task06_Lung", cases=("lung_001", "lung_053"), labels=("cancer",)):
    root = folder / task
    for case in cases:
        scan(root / "imagesTr" / f"{case}.nii.gz", ct(case), "RAS")
        scan(root / "labelsTr" / f"{case}.nii.gz", boxes(tumour=1), "RAS", np.float32)
        for part in ("imagesTr", "labelsTr"):
            (root / part / f"._{case}.nii.gz").write_bytes(b"\0\5\26\7")
    scan(root / "imagesTs" / f"{cases[0][:-3]}099.nii.gz", ct("x"), "RAS")
    table = {
        "modality": {"0": "CT"},
        "labels": {"0": "background"} | {str(n): name for n, name in enumerate(labels, 1)},
        "licence": "CC-BY-SA 4.0",
        "training": [{"image": f"./imagesTr/{case}.nii.gz"} for case in (*cases, f"{cases[0][:-3]}098")],
    }
    (root / "dataset.json").write_text(json.dumps(table))
    return root


CLINICAL = [
    {
        "case_id": "case_00000",
        "age_at_nephrectomy": 49,
        "gender": "male",
        "body_mass_index": 29.47,
        "pathology_t_stage": "1a",
        "pathology_n_stage": "X",
        "pathology_m_stage": "0",
        "tumor_histologic_subtype": "clear_cell_rcc",
        "tumor_isup_grade": None,
    },
    {"case_id": "case_00003", "age_at_nephrectomy": ">=90", "gender": "female", "bmi": 31.0, "pathology_t_stage": "0"},
]


def kits(folder, cases=("case_00000", "case_00003"), place="data", labels="segmentation.nii.gz"):
    for case in cases:
        kits_scan(folder / place / case / "imaging.nii.gz", ct(case), np.float32)
        kits_scan(folder / place / case / labels, boxes(right=1, left=1, tumour=2, cyst=3), np.uint8)
    (folder / place / "kits.json").write_text(json.dumps(CLINICAL))
    return folder


def totalsegmentator(folder, cases=("s0000", "s0004")):
    for case in cases:
        scan(folder / case / "ct.nii.gz", ct(case), "RAS")
        for organ, mask in {
            "kidney_right": boxes(right=1),
            "kidney_left": boxes(left=1),
            "face": boxes(left=1),
        }.items():
            scan(folder / case / "segmentations" / f"{organ}.nii.gz", mask, "RAS", np.uint8)
    (folder / "meta.csv").write_text(
        "image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology;pathology_location\n"
        "s0000;63;m;A;ct abdomen;train;siemens;somatom;100.0;tumor;abdomen\ns0004;;f;B;ct thorax;test;;;;no_pathology;\n"
    )
    return folder


def nnunet(folder, cases=("lung_a", "lung_b")):
    for case in cases:
        scan(folder / "imagesTr" / f"{case}_0000.nii.gz", ct(case), "RPI")
        scan(folder / "labelsTr" / f"{case}.nii.gz", boxes(right=2, left=1), "RPI", np.uint8)
    (folder / "imagesTr" / "._lung_a_0000.nii.gz").write_bytes(b"\0")
    table = {
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
        "labels": {"background": 0, "left kidney": 1, "spleen": 2},
    }
    (folder / "dataset.json").write_text(json.dumps(table))
    return folder


RELEASES = {
    "btcv": (btcv, ["img0001", "img0035"], [(RIGHT, "kidney_right"), (LEFT, "kidney_left")]),
    "amos": (amos, ["amos_0001", "amos_0008", "amos_0013"], [(RIGHT, "kidney_right"), (LEFT, "prostate")]),
    "msd": (msd, ["lung_001", "lung_053"], [(np.s_[2:4, 3:5, 9:11], "lungs")]),
    "kits": (kits, ["case_00000", "case_00003"], [(RIGHT, "kidneys"), (LEFT, "kidneys")]),
    "totalsegmentator": (totalsegmentator, ["s0000", "s0004"], [(RIGHT, "kidney_right"), (LEFT, "kidney_left")]),
    "nnunet": (nnunet, ["lung_a", "lung_b"], [(RIGHT, "spleen"), (LEFT, "kidney_left")]),
}


@pytest.mark.parametrize("layout", RELEASES)
def test_a_release_comes_in_with_its_voxels_sides_and_ids(layout, tmp_path):
    write, cases, expected = RELEASES[layout]
    folder = write(tmp_path / "release")
    run = CliRunner().invoke(app, ["ingest", layout, str(folder), "--out", str(tmp_path / "out"), "--json"])
    assert run.exit_code == 0, run.output
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.spec.prompts["origin"] == f"ingest {layout}"
    records = dataset.accepted()
    assert [record.case_id for record in records] == cases
    assert [record.patient_id for record in records] == cases
    arrays = dataset.read(cases[0])
    np.testing.assert_array_equal(arrays.ct, ct(cases[0]))
    assert arrays.grid.spacing_mm_zyx == pytest.approx(GRID.spacing_mm_zyx)
    anatomy = np.zeros(GRID.shape_zyx, np.uint8)
    for box, name in expected:
        anatomy[box] = structure(name).id
    if layout == "kits":
        anatomy[4, 5, 1] = structure("kidneys").id  # under the cyst
    np.testing.assert_array_equal(arrays.anatomy, anatomy)


def test_every_layout_is_tested():
    assert RELEASES.keys() == LAYOUTS.keys()


def test_amos_takes_sex_from_its_table_and_says_what_it_leaves_out(tmp_path):
    source = LAYOUTS["amos"](amos(tmp_path / "in") / "amos22", None)
    assert source.left_out == {"MRI": ("amos_0507",), "no public labels": ("amos_0003",)}
    male, female, unknown = ingest(source, tmp_path / "out")
    assert (male.split, male.measured.age_years, male.measured.sex) == ("train", 56, "male")
    assert male.notes == {"manufacturer": "Philips", "scanner_model": "Brilliance 16", "site": "A"}
    assert (female.split, female.measured.sex, unknown.measured.sex) == ("val", "female", None)
    assert [{one.name for one in record.structures} - {"kidney_right"} for record in (male, female, unknown)] == [
        {"prostate"},
        {"uterus"},
        set(),
    ]
    assert unknown.notes == {"label 15": "dropped: prostate or uterus, the sex is unknown"}
    told = ingest_folder("amos", tmp_path / "in", tmp_path / "told", {"15": "prostate"}).accepted()
    assert all("prostate" in {one.name for one in record.structures} for record in told)


def test_msd_tumours_are_lesions_of_the_task(tmp_path):
    source = LAYOUTS["msd"](msd(tmp_path), None)
    assert source.left_out == {"no public labels": ("lung_099",), "listed, not there": ("lung_098",)}
    first, _ = ingest(source, tmp_path / "out")
    assert (first.licence, first.split) == ("CC-BY-SA 4.0", "train")
    assert [(lesion.organ, lesion.site) for lesion in first.lesions] == [("lung", "lungs")]
    colon = msd(tmp_path, "Task10_Colon", ("colon_001",), ("colon cancer primaries",))
    (record,) = ingest_folder("msd", colon, tmp_path / "colon").accepted()
    assert [lesion.organ for lesion in record.lesions] == ["colon"]
    with pytest.raises(LocationError, match=r"Task06_Lung, Task10_Colon; need the folder of one task"):
        LAYOUTS["msd"](tmp_path, None)


def test_kits_has_lesions_and_the_clinical_table(tmp_path):
    young, old = ingest_folder("kits", kits(tmp_path / "in"), tmp_path / "out").accepted()
    assert sorted((lesion.organ, lesion.kind) for lesion in young.lesions) == [("kidney", "cyst"), ("kidney", "solid")]
    tumour = next(lesion for lesion in young.lesions if lesion.kind == "solid")
    dz, _, dx = GRID.spacing_mm_zyx
    assert tumour.volume_ml == pytest.approx(8 * dz * 1.5 * dx / 1000)
    assert tumour.center_mm_xyz[0] == pytest.approx(9.5 * dx)  # column 9.5, to the patient's left
    (stage,) = young.measured.tumours
    assert (stage.t_stage, stage.n_stage, stage.m_stage, stage.count) == ("T1a", None, "M0", 1)
    assert (young.measured.age_years, young.measured.sex, old.measured.age_years) == (49, "male", 90)
    assert young.notes == {"body_mass_index": "29.47", "histology": "clear_cell_rcc"}
    assert (old.measured.tumours[0].t_stage, old.notes["body_mass_index"]) == (None, "31.0")
    assert young.licence == "CC-BY-NC-SA-4.0"


def test_kits_repositories_of_all_years_are_found(tmp_path):
    for place, labels in {"kits21/data": "aggregated_MAJ_seg.nii.gz", "dataset": "segmentation.nii.gz"}.items():
        folder = kits(tmp_path / place[:5], ("case_00000",), place, labels)
        (folder / place / "case_00001").mkdir()
        kits_scan(folder / place / "case_00211" / "imaging.nii.gz", ct("x"), np.float32)
        source = LAYOUTS["kits"](folder, None)
        assert [(case.case_id, case.labels[0][0].name) for case in source.cases] == [("case_00000", labels)]
        assert source.left_out == {"no imaging.nii.gz": ("case_00001",), "no public labels": ("case_00211",)}


def test_totalsegmentator_reads_version_1_and_its_table(tmp_path):
    first, second = ingest_folder("totalsegmentator", totalsegmentator(tmp_path / "in"), tmp_path / "out").accepted()
    assert first.notes == {
        "institute": "A",
        "study_type": "ct abdomen",
        "manufacturer": "siemens",
        "scanner_model": "somatom",
        "kvp": "100.0",
        "pathology": "tumor",
        "pathology_location": "abdomen",
    }
    assert (first.split, second.split, second.measured.age_years) == ("train", "test", None)


def lose(path):
    path.unlink()


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def crop(path):
    scan(path, boxes(right=2)[:-1], grid=Grid((5, 8, 12), GRID.spacing_mm_zyx, GRID.origin_mm_xyz), dtype=np.uint8)


def shift(path):
    scan(path, boxes(right=2), grid=Grid(GRID.shape_zyx, GRID.spacing_mm_zyx, (-30.0, -20.0, 45.0)), dtype=np.uint8)


def tilt(path):
    image, turn, angle = nib.load(path), np.eye(4), np.radians(6)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int16), turn @ image.affine), path)


def fraction(path):
    scan(path, boxes(right=2) * 0.3, dtype=np.float32)


@pytest.mark.parametrize(
    ("break_it", "name", "reason"),
    [
        (lose, "label/label0001.nii.gz", "one image and 0 label files"),
        (lose, "img/img0001.nii.gz", "no single image and 1 label files"),
        (halve, "img/img0001.nii.gz", "need a complete NIfTI image"),
        (crop, "label/label0001.nii.gz", "Resample it to the image"),
        (shift, "label/label0001.nii.gz", "Resample it to the image"),
        (tilt, "img/img0001.nii.gz", "axes tilted by 6.00 degrees"),
        (fraction, "label/label0001.nii.gz", "some fractional"),
    ],
)
def test_one_broken_case_is_named_and_the_rest_comes_in(break_it, name, reason, tmp_path):
    folder = btcv(tmp_path / "in")
    break_it(folder / "RawData" / "Training" / name)
    failed, good = ingest(LAYOUTS["btcv"](folder, None), tmp_path / "out")
    assert (failed.case_id, failed.status, good.status) == ("img0001", "failed", "accepted")
    assert reason in failed.reasons[0]
    assert str(tmp_path) not in failed.reasons[0]


def test_a_tilted_pair_is_resampled_when_asked(tmp_path):
    folder = btcv(tmp_path / "in", ("0001",))
    for name in ("img/img0001", "label/label0001"):
        tilt(folder / "RawData" / "Training" / f"{name}.nii.gz")
    asked = ["ingest", "btcv", str(folder), "--out", str(tmp_path / "out"), "--resample-oblique"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    anatomy = Dataset.open(tmp_path / "out").read("img0001").anatomy
    left, right = (np.nonzero(anatomy == structure(f"kidney_{side}").id)[2].mean() for side in ("left", "right"))
    assert left > right


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_and_a_foreign_release_are_refused_before_anything_is_written(layout, tmp_path):
    foreign = kits(tmp_path / "foreign") if layout != "kits" else btcv(tmp_path / "foreign")
    (tmp_path / "empty").mkdir()
    for folder in (foreign, tmp_path / "empty", tmp_path / "missing"):
        run = CliRunner().invoke(app, ["ingest", layout, str(folder), "--out", str(tmp_path / "out")])
        assert isinstance(run.exception, LocationError), run.output
        assert str(folder) in str(run.exception)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"modality": {"0": "MRI"}}, "CT alone"),
        ({"labels": {"background": 0, "cancer": 1}}, "names by value"),
        ({"labels": None}, "names by value"),
    ],
)
def test_a_table_of_another_kind_is_refused(change, match, tmp_path):
    root = msd(tmp_path)
    table = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(table | change))
    with pytest.raises(FileFormatError, match=match):
        LAYOUTS["msd"](root, None)


def test_broken_tables_of_patients_are_refused(tmp_path):
    (kits(tmp_path / "k") / "data" / "kits.json").write_text('{"case_00000": 1}')
    with pytest.raises(FileFormatError, match=r"kits\.json"):
        LAYOUTS["kits"](tmp_path / "k", None)
    amos(tmp_path / "a")
    (tmp_path / "a" / "labeled_data_meta_0000_0599.csv").write_text("id;sex\n1;M\n")
    with pytest.raises(FileFormatError, match="amos_id"):
        LAYOUTS["amos"](tmp_path / "a", None)


@pytest.mark.parametrize(
    ("asked", "kind", "match"),
    [
        (["."], InvalidValueError, r"\. alone; need a layout and a folder"),
        (["btcv", ".", "x"], InvalidValueError, r"btcv \. x; need a layout"),
        (["btcv", ".", "--layout", "kits"], InvalidValueError, "kits btcv"),
        (["lits", "."], UnknownNameError, "'lits'; need one of btcv, amos"),
        (["btcv", ".", "--labels", "kits"], InvalidValueError, "layout btcv, which knows"),
        ([".", "--layout", "images-labels"], InvalidValueError, "need a scheme"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_refused(asked, kind, match, tmp_path):
    run = CliRunner().invoke(app, ["ingest", *asked, "--out", str(tmp_path / "out")])
    assert isinstance(run.exception, kind)
    with pytest.raises(kind, match=match):
        raise run.exception


def test_the_command_tells_what_it_left_out(tmp_path):
    run = CliRunner().invoke(app, ["ingest", "btcv", str(btcv(tmp_path / "in")), "--out", str(tmp_path / "out")])
    assert "left out 1: no public labels (img0061 …)" in run.output
    assert "2 of 2 cases" in run.output
