"""Every layout opens in a reader of its own ecosystem with the same voxels and geometry; one mechanism for all."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK

from downstream.export_huggingface import export_huggingface
from downstream.export_inputs import require_package
from downstream.export_msd import MsdOptions, export_msd
from downstream.export_nifti import export_nifti
from downstream.export_totalsegmentator import export_totalsegmentator, file_names
from downstream.ledger import LEDGER
from factory.cli import main
from manifests.case import CaseRecord
from manifests.errors import InputError, InvalidValueError, LocationError, MissingDependencyError, UnknownNameError
from manifests.schemes import paint, scheme, scheme_names

BOXES = MsdOptions("09", "Boxes", "kits", workers=2)

LAYOUTS = {
    "msd": lambda dataset, out, on_case=None, scheme="kits": export_msd(
        dataset, out, MsdOptions("09", "Boxes", scheme, workers=2), on_case
    ),
    "nifti": lambda dataset, out, on_case=None, scheme="kits": export_nifti(dataset, out, scheme, 2, on_case),
    "totalsegmentator": lambda dataset, out, on_case=None, scheme="kits": export_totalsegmentator(
        dataset, out, scheme, 2, on_case
    ),
    "huggingface": lambda dataset, out, on_case=None, scheme="kits": export_huggingface(
        dataset, out, scheme, 2, on_case
    ),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(dataset, record, name="kits"):
    """CT, painted label, instances and affine that a reader must find, x first as NIfTI stores them."""
    arrays = dataset.read(record.case_id)
    label = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme(name))
    volumes = (arrays.ct, label, arrays.lesions, arrays.anatomy)
    ct, label, lesions, anatomy = (volume.transpose(2, 1, 0) for volume in volumes)
    return SimpleNamespace(ct=ct, label=label, lesions=lesions, anatomy=anatomy, affine=arrays.grid.affine_ras)


def assert_nifti(image, values, affine):
    assert np.array_equal(np.asanyarray(image.dataobj), values)
    assert image.get_data_dtype() == values.dtype
    assert np.allclose(image.affine, affine, atol=1e-4)


@pytest.mark.filterwarnings("ignore:NvImgCodec")  # MONAI registers readers for decoders that need a GPU
def test_monai_reads_the_decathlon_task_and_its_datalist(box_dataset, tmp_path):
    monai_data = pytest.importorskip("monai.data")
    load = pytest.importorskip("monai.transforms").LoadImage("NibabelReader", image_only=True, dtype=None)
    dataset = box_dataset(4)
    summary = export_msd(dataset, tmp_path, BOXES)
    assert summary.folder.name == "Task09_Boxes"
    tasks = [
        monai_data.load_decathlon_datalist(str(summary.folder / name), True, "training")
        for name in ("dataset.json", "datalist.json")
    ]
    assert [(item["image"], item["label"]) for item in tasks[0]] == [(i["image"], i["label"]) for i in tasks[1]]
    assert sorted(item["fold"] for item in tasks[1]) == [0, 1, 2, 3]
    for record, item in zip(dataset.accepted(), tasks[0], strict=True):
        truth = expected(dataset, record)
        for key, values in (("image", truth.ct), ("label", truth.label)):
            image = load(item[key])
            assert np.array_equal(image.numpy(), values)
            assert np.allclose(image.affine.numpy(), truth.affine, atol=1e-4)
    properties = monai_data.load_decathlon_properties(
        str(summary.folder / "dataset.json"), ["name", "modality", "labels", "numTraining", "tensorImageSize"]
    )
    assert properties["labels"] == {"0": "background", "1": "kidney", "2": "tumour", "3": "cyst"}
    assert (properties["modality"], properties["numTraining"]) == ({"0": "CT"}, 4)


@pytest.mark.slow
def test_nnunet_converts_the_decathlon_task(box_dataset, tmp_path):
    """In a process of its own: nnU-Net reads its folders when it is imported, and starts a pool."""
    summary = export_msd(box_dataset(3), tmp_path / "msd", BOXES)
    homes = {name: str(tmp_path / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for home in homes.values():
        Path(home).mkdir()
    code = (
        "import sys; from nnunetv2.dataset_conversion.convert_MSD_dataset import convert_msd_dataset;"
        "convert_msd_dataset(sys.argv[1], num_processes=1)"
    )
    command = [sys.executable, "-c", code, str(summary.folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | homes, check=False)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "nnUNet_raw" / "Dataset009_Boxes"
    assert json.loads((made / "dataset.json").read_text())["labels"]["tumour"] == 2
    assert len(list((made / "imagesTr").glob("*_0000.nii.gz"))) == 3


def test_plain_nifti_loses_nothing(box_dataset, tmp_path):
    dataset = box_dataset(3)
    summary = export_nifti(dataset, tmp_path / "out", "kits")
    names = {int(value): name for value, name in json.loads((tmp_path / "out/anatomy.json").read_text()).items()}
    assert names[3] == "kidney_left"
    rows = list(csv.DictReader((tmp_path / "out/cases.csv").read_text().splitlines()))
    for record, row in zip(dataset.accepted(), rows, strict=True):
        truth, folder = expected(dataset, record), summary.folder / record.case_id
        files = {"ct": truth.ct, "anatomy": truth.anatomy, "lesions": truth.lesions, "label": truth.label}
        for name, values in files.items():
            assert_nifti(nibabel.load(folder / f"{name}.nii.gz"), values, truth.affine)
        assert CaseRecord.model_validate_json((folder / "record.json").read_text()) == record
        assert (row["case_id"], row["lesions"], row["sex"]) == (record.case_id, str(len(record.lesions)), "male")
    assert not list(export_nifti(dataset, tmp_path / "layers").folder.rglob("label.nii.gz"))


def test_totalsegmentator_has_a_mask_for_each_class(box_dataset, tmp_path):
    dataset = box_dataset(2)
    summary = export_totalsegmentator(dataset, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/meta.csv").read_text().splitlines(), delimiter=";"))
    labels = scheme("totalsegmentator").labels
    for record, row in zip(dataset.accepted(), rows, strict=True):
        truth, folder = expected(dataset, record, "totalsegmentator"), summary.folder / row["image_id"]
        assert row["image_id"] == f"s{record.case_id}"
        image = SimpleITK.ReadImage(str(folder / "ct.nii.gz"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(image), truth.ct.transpose(2, 1, 0))
        assert len(list((folder / "segmentations").iterdir())) == 117
        for name in ("kidney_left", "kidney_right", "liver"):
            mask = nibabel.load(folder / "segmentations" / f"{name}.nii.gz")
            assert_nifti(mask, (truth.label == labels[name]).astype(np.uint8), truth.affine)
    assert {row["split"] for row in rows} == {"train"}
    assert summary.cases_with["kidney_left"] == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hugging_face_datasets_reads_the_folder_offline(box_dataset, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    dataset = box_dataset(3)
    summary = export_huggingface(dataset, tmp_path / "out" / "boxes", "kits")
    rows = datasets.load_dataset(str(summary.folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows.features["image"], datasets.Nifti)
    by_id = {row["case_id"]: row for row in rows}
    for record in dataset.accepted():
        truth, row = expected(dataset, record), by_id[record.case_id]
        for name, values in (("image", truth.ct), ("label", truth.label), ("instances", truth.lesions)):
            assert_nifti(row[name], values, truth.affine)
        assert [entry["organ"] for entry in row["lesion_records"]] == [entry.organ for entry in record.lesions]
        assert (row["prompt_text"], row["age_years"]) == (record.prompt_text, 61)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # within mlcroissant
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # and there
def test_the_hugging_face_card_and_croissant(box_dataset, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = export_huggingface(box_dataset(3), tmp_path / "out" / "boxes", "kits").folder
    card = (folder / "README.md").read_text()
    assert "path: data/*.parquet" in card.split("---")[1]
    assert "SYNTHETIC" in card
    assert "OME-Zarr" not in card
    described = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert described.metadata.ctx.issues.errors == set()
    ages = [record["cases/age_years"] for record in described.records("cases")]
    assert ages == [61.0] * 3


@every_layout
@pytest.mark.parametrize("stop_after", [0, 2])
def test_an_interrupted_export_ends_like_one_that_was_not(box_dataset, tmp_path, layout, stop_after):
    dataset, seen = box_dataset(3), []

    def stop(case):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(case)

    whole = LAYOUTS[layout](dataset, tmp_path / "whole" / "boxes").folder
    with pytest.raises(KeyboardInterrupt):
        LAYOUTS[layout](dataset, tmp_path / "cut" / "boxes", stop)
    resumed = LAYOUTS[layout](dataset, tmp_path / "cut" / "boxes")
    assert resumed.kept >= stop_after
    assert tree(resumed.folder) == tree(whole)
    again = LAYOUTS[layout](dataset, tmp_path / "cut" / "boxes")
    assert (again.written, again.kept) == (0, 3)


@every_layout
def test_bad_input_is_refused_before_anything_is_written(box_dataset, tmp_path, layout):
    with pytest.raises(InvalidValueError, match="no accepted case"):
        LAYOUTS[layout](box_dataset(0, "none"), tmp_path / "out")
    with pytest.raises(UnknownNameError, match="label scheme"):
        LAYOUTS[layout](box_dataset(1), tmp_path / "out", scheme="nonsense")
    assert not (tmp_path / "out").exists()


@every_layout
def test_foreign_folders_files_and_other_exports_are_left_alone(box_dataset, tmp_path, layout):
    dataset = box_dataset(2)
    folder = LAYOUTS[layout](dataset, tmp_path / "out").folder
    before = tree(folder)
    with pytest.raises(LocationError, match="another labels and scheme"):
        LAYOUTS[layout](dataset, tmp_path / "out", scheme="guidegen20")
    name = next(path for path in sorted(before) if path.endswith((".nii.gz", ".parquet")))
    stray = folder / name.replace(dataset.accepted()[0].case_id, "x").replace(dataset.accepted()[1].case_id, "x")
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"mine")
    with pytest.raises(LocationError, match="no case of this dataset"):
        LAYOUTS[layout](dataset, tmp_path / "out")
    stray.unlink()
    assert tree(folder) == before
    (folder / LEDGER).unlink()
    with pytest.raises(LocationError, match="no export of ours"):
        LAYOUTS[layout](dataset, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [(("9", "Boxes"), "two digits"), (("00", "Boxes"), "two digits"), (("09", "a_b"), "letters and digits")],
)
def test_a_wrong_task_is_refused(box_dataset, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        export_msd(box_dataset(1), tmp_path / "out", MsdOptions(*changes, "kits"))
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_one_error_with_the_command():
    with pytest.raises(MissingDependencyError, match=r"pip install 'ct-factory\[dicom\]'"):
        require_package("no_such_package", "dicom", "to write DICOM")


@pytest.mark.parametrize("layout", [*LAYOUTS, "dicom"])
def test_the_command_exports_or_ends_with_one_error(box_dataset, tmp_path, capsys, layout):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["export", layout, str(box_dataset(2).root), "--out", str(tmp_path / "out"), *task, *arguments])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    task = ("--task", "09", "--name", "Boxes") if layout == "msd" else ()
    status, out, err = run("--scheme", "nonsense")
    assert (status, out, err.count("error:")) == (2, "", 1)
    assert not (tmp_path / "out").exists()
    status, out, _ = run("--scheme", "kits", "--json")
    summary = json.loads(out)
    assert (status, summary["layout"], summary["written"]) == (0, layout, 2)
    assert summary["cases_with"]["kidney"] == 2
    status, out, _ = run("--scheme", "kits")
    assert status == 0
    assert "2 cases (0 written, 2 kept)" in out
    assert "read back with SimpleITK" in out


@pytest.mark.parametrize("name", scheme_names())
def test_every_label_of_every_scheme_has_a_file_of_its_own(name):
    files = file_names(scheme(name))
    assert len(set(files.values())) == len(scheme(name).labels) - 1
    assert not any("/" in file or " " in file for file in files.values())
