"""The export against SimpleITK, nibabel and nnU-Net's own check; resumption; refusals that write nothing."""

import json
import os

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream import pairs
from downstream.export_nnunet import ExportOptions, export
from downstream.ledger import LEDGER, read_ledger
from downstream.nnunet_layout import verify_integrity
from manifests.errors import (
    DefectError,
    InputError,
    InvalidValueError,
    LocationError,
    StorageError,
    UnknownNameError,
)
from manifests.geometry import Grid
from manifests.nifti import write_nifti
from manifests.schemes import paint, scheme

KITS = ExportOptions(id="501", name="Boxes", scheme="kits", workers=2, verify=False)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_holds_the_case_exactly(box_dataset, tmp_path):
    dataset = box_dataset(4)
    summary = export(dataset, tmp_path / "raw", KITS)
    assert summary.folder == tmp_path / "raw" / "Dataset501_Boxes"
    for record in dataset.accepted():
        arrays = dataset.read(record.case_id)
        painted = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme("kits"))
        files = (
            summary.folder / "imagesTr" / f"{record.case_id}_0000.nii.gz",
            summary.folder / "labelsTr" / f"{record.case_id}.nii.gz",
        )
        for file, expected in zip(files, (arrays.ct, painted), strict=True):
            image = SimpleITK.ReadImage(str(file))
            assert np.array_equal(SimpleITK.GetArrayFromImage(image), expected)
            assert image.GetSpacing() == pytest.approx(arrays.grid.spacing_mm_zyx[::-1])
            assert image.GetOrigin() == pytest.approx(arrays.grid.origin_mm_xyz)
            assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
            header = nibabel.load(file)
            assert header.get_data_dtype() == expected.dtype
            assert np.array_equal(header.affine, arrays.grid.affine_ras)
            assert (header.get_sform(coded=True)[1], header.get_qform(coded=True)[1]) == (1, 1)
            assert header.header.get_xyzt_units()[0] == "mm"


def test_dataset_json_splits_and_summary(box_dataset, tmp_path):
    dataset = box_dataset(7)
    summary = export(dataset, tmp_path, KITS)
    described = json.loads((summary.folder / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "CT"}
    assert described["labels"] == {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
    assert described["numTraining"] == 7
    assert described["file_ending"] == ".nii.gz"
    assert described["overwrite_image_reader_writer"] == "SimpleITKIO"
    assert "SYNTHETIC" in described["description"]
    assert described["licence"] == "CC0-1.0"
    assert described["spec_id"] == dataset.spec.spec_id
    folds = json.loads((summary.folder / "splits_final.json").read_text())
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(r.case_id for r in dataset.accepted())
    assert summary.val_sizes == tuple(len(fold["val"]) for fold in folds)
    assert summary.cases_with == {"kidney": 7, "tumour": 5, "cyst": 0}
    assert any("no case holds cyst" in warning for warning in summary.warnings)
    assert {path.name for path in summary.folder.iterdir()} == {
        "imagesTr", "labelsTr", "dataset.json", "splits_final.json", LEDGER,
    }  # fmt: skip


def test_nnunet_accepts_the_export(box_dataset, tmp_path):
    summary = export(box_dataset(5), tmp_path, ExportOptions(id="007", name="Boxes", scheme="kits"))
    assert summary.readers[-1] == "nnU-Net's integrity check"


def test_nnunet_refusal_is_reported(box_dataset, tmp_path):
    summary = export(box_dataset(3), tmp_path, KITS)
    described = json.loads((summary.folder / "dataset.json").read_text())
    (summary.folder / "dataset.json").write_text(json.dumps(described | {"numTraining": 4}))
    with pytest.raises(DefectError, match="expected number of training cases"):
        verify_integrity(summary.folder)


def test_a_repeated_export_keeps_everything_and_a_damaged_file_is_made_again(box_dataset, tmp_path):
    dataset = box_dataset(4)
    first = export(dataset, tmp_path, KITS)
    before = tree(first.folder)
    again = export(dataset, tmp_path, KITS)
    assert (again.written, again.kept) == (0, 4)
    assert tree(first.folder) == before
    image = sorted((first.folder / "imagesTr").iterdir())[1]
    image.write_bytes(image.read_bytes()[:-1])
    sorted((first.folder / "labelsTr").iterdir())[3].unlink()
    repaired = export(dataset, tmp_path, KITS)
    assert (repaired.written, repaired.kept) == (2, 2)
    assert tree(first.folder) == before


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_an_interrupted_export_ends_like_one_that_was_not(box_dataset, tmp_path, stop_after):
    dataset = box_dataset(5)
    whole = tree(export(dataset, tmp_path / "whole", KITS).folder)
    seen = []

    def stop(case):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(case)

    with pytest.raises(KeyboardInterrupt):
        export(dataset, tmp_path / "cut", KITS, on_case=stop)
    folder = tmp_path / "cut" / "Dataset501_Boxes"
    assert not (folder / "dataset.json").exists()
    with (folder / LEDGER).open("a") as ledger:
        ledger.write('{"case_id": "torn')
    resumed = export(dataset, tmp_path / "cut", KITS)
    assert resumed.kept >= stop_after
    assert tree(folder) == whole


def test_a_dataset_that_has_grown_is_exported_on(box_dataset, tmp_path):
    summary = export(box_dataset(3, prompts=9), tmp_path, KITS)
    grown = export(box_dataset(9), tmp_path, KITS)
    assert (grown.kept, grown.written) == (3, 6)
    assert json.loads((summary.folder / "dataset.json").read_text())["numTraining"] == 9


def test_a_full_disk_leaves_a_resumable_export(box_dataset, tmp_path, monkeypatch):
    dataset = box_dataset(3)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pairs, "write_nifti", full)
        with pytest.raises(StorageError, match="No space left"):
            export(dataset, tmp_path, KITS)
    assert not list((tmp_path / "Dataset501_Boxes" / "imagesTr").iterdir())
    assert export(dataset, tmp_path, KITS).cases == 3


def test_a_file_that_reads_back_differently_never_gets_its_name(box_dataset, tmp_path, monkeypatch):
    def flipped(path, array, grid):
        write_nifti(path, array[:, :, ::-1], grid)

    monkeypatch.setattr(pairs, "write_nifti", flipped)
    with pytest.raises(DefectError, match="other voxels than written"):
        export(box_dataset(2), tmp_path, KITS)
    assert not list((tmp_path / "Dataset501_Boxes" / "imagesTr").iterdir())


def test_a_wrong_geometry_is_found(box_dataset, tmp_path, monkeypatch):
    def shifted(path, array, grid):
        x, y, z = grid.origin_mm_xyz
        write_nifti(path, array, Grid(grid.shape_zyx, grid.spacing_mm_zyx, (x, y + 0.01, z)))

    monkeypatch.setattr(pairs, "write_nifti", shifted)
    with pytest.raises(DefectError, match="geometry"):
        export(box_dataset(2), tmp_path, KITS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"id": "51"}, InvalidValueError, "three digits"),
        ({"id": "5011"}, InvalidValueError, "three digits"),
        ({"id": "000"}, InvalidValueError, "three digits"),
        ({"id": "\u0665\u0660\u0661"}, InvalidValueError, "three digits"),
        ({"name": "../up"}, InvalidValueError, "letters, digits"),
        ({"name": ""}, InvalidValueError, "letters, digits"),
        ({"scheme": "kidneys"}, UnknownNameError, "label scheme"),
        ({"scheme": "maisi132"}, InvalidValueError, "without gaps"),
        ({"folds": 9}, InvalidValueError, "--folds"),
        ({"folds": 1}, InvalidValueError, "--folds"),
        ({"workers": 0}, InvalidValueError, "--workers"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(box_dataset, tmp_path, changes, error, message):
    fields = {name: getattr(KITS, name) for name in KITS.__slots__}
    with pytest.raises(error, match=message) as caught:
        export(box_dataset(3), tmp_path / "raw", ExportOptions(**(fields | changes)))
    assert isinstance(caught.value, InputError)
    assert not (tmp_path / "raw").exists()


def test_an_empty_dataset_is_refused(box_dataset, tmp_path):
    with pytest.raises(InvalidValueError, match="no accepted case"):
        export(box_dataset(0), tmp_path / "raw", KITS)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("home", ["raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_an_id_in_use_is_refused(box_dataset, tmp_path, monkeypatch, home):
    (tmp_path / home / "Dataset501_Liver").mkdir(parents=True)
    if home != "raw":
        monkeypatch.setenv(home, str(tmp_path / home))
    with pytest.raises(LocationError, match=r"in use by .*Dataset501_Liver"):
        export(box_dataset(2), tmp_path / "raw", KITS)
    assert not (tmp_path / "raw" / "Dataset501_Boxes").exists()


def test_a_foreign_folder_is_left_alone(box_dataset, tmp_path):
    folder = tmp_path / "Dataset501_Boxes"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(LocationError, match="no export of ours"):
        export(box_dataset(2), tmp_path, KITS)
    assert tree(folder) == {"notes.txt": b"mine"}


def test_another_scheme_or_stray_case_is_refused(box_dataset, tmp_path):
    dataset = box_dataset(3)
    folder = export(dataset, tmp_path, KITS).folder
    before = tree(folder)
    with pytest.raises(LocationError, match="another labels and scheme"):
        export(dataset, tmp_path, ExportOptions(id="501", name="Boxes", scheme="guidegen20", verify=False))
    assert tree(folder) == before
    (folder / "imagesTr" / "stray_0000.nii.gz").write_bytes(b"")
    with pytest.raises(LocationError, match="no case of this dataset"):
        export(dataset, tmp_path, KITS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_refused(box_dataset, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(LocationError):
        export(box_dataset(2), locked, KITS)


def test_a_file_in_the_way_is_refused(box_dataset, tmp_path):
    (tmp_path / "raw").write_text("")
    with pytest.raises(LocationError):
        export(box_dataset(2), tmp_path / "raw", KITS)


def test_one_prompt_for_all_gives_no_splits_and_says_so(box_dataset, tmp_path):
    summary = export(box_dataset(4, prompts=1), tmp_path, KITS)
    assert not (summary.folder / "splits_final.json").exists()
    assert any("no splits_final.json" in warning for warning in summary.warnings)


@settings(max_examples=25, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    origin=st.tuples(*[st.floats(-700.0, 700.0)] * 3),
    seed=st.integers(0, 1000),
)
def test_any_grid_survives_the_check(tmp_path_factory, spacing, origin, seed):
    grid = Grid((3, 4, 5), spacing, origin)
    array = np.random.default_rng(seed).integers(-1024, 3072, grid.shape_zyx).astype(np.int16)
    label = (array > 0).astype(np.uint8)
    folder = tmp_path_factory.mktemp("grid")
    paths = (folder / "a_0000.nii.gz", folder / "a.nii.gz")
    write_nifti(paths[0], array, grid)
    write_nifti(paths[1], label, grid)
    pairs.check_volumes("a", {paths[0]: array, paths[1]: label}, grid)


def test_a_ledger_that_is_none_is_refused(box_dataset, tmp_path):
    dataset = box_dataset(2)
    folder = export(dataset, tmp_path, KITS).folder
    assert set(read_ledger(folder)[1]) == {record.case_id for record in dataset.accepted()}
    (folder / LEDGER).write_text("{}\nnonsense\n")
    with pytest.raises(InputError, match="ledger of an export"):
        export(dataset, tmp_path, KITS)
