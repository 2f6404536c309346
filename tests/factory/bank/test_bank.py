"""The mask model `bank` as a whole: under the conformance suite, in builds, on real label maps."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from downstream.splits import check_leakage, groups, k_folds
from factory.cli import app
from factory.config import BuildConfig, Preset, WorkerConfig, preset
from factory.engines.bank import Bank
from factory.engines.base import ImageModel, MaskModel
from factory.engines.registry import absolute, image_model, mask_model
from factory.quality import assess
from factory.quality.measure import measure
from factory.reproduce import reproduce
from factory.run import Run, build
from factory.testing import EngineSuite, make_request
from manifests.anatomy import structure
from manifests.case import Arrays
from manifests.dataset import Dataset
from manifests.errors import CorruptDatasetError, FactoryError, InvalidValueError, LocationError, SpecMismatchError
from manifests.geometry import Grid
from manifests.ingest import ingest_images_labels
from manifests.nifti import write_nifti
from manifests.table import read_table, to_records
from manifests.testing import DatasetSuite
from prompts.render import render
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.table import PromptRow, write_prompts

PATIENTS = (Patient(sex="male", age_years=60, height_cm=178, weight_kg=80),)
ABDOMEN = Study(region="abdomen", contrast_phase="portal_venous")
LIVER = Tumour(organ="liver", count=2, size_mm=40)
PROMPTS = (
    Prompt(patient=Patient(sex="male", age_years=61, height_cm=178, weight_kg=82), study=ABDOMEN, tumours=(LIVER,)),
    Prompt(patient=Patient(sex="female"), study=ABDOMEN, enlarged_organs=("spleen",), absent_organs=("gallbladder",)),
    Prompt(study=ABDOMEN, tumours=(Tumour(organ="kidney", side="left", count=1, size_mm=35),)),
    Prompt(patient=Patient(sex="male", age_years=75), study=ABDOMEN, absent_organs=("kidney_right",)),
)


def config(out: Path, bank: Path, prompts: tuple[Prompt, ...] = PROMPTS, **more) -> BuildConfig:
    manifest = out.parent / f"{out.name}.parquet"
    if not manifest.exists():
        write_prompts(manifest, [PromptRow(prompt=p, text=render(p), source=f"t{i}") for i, p in enumerate(prompts)])
    fields = {"n": len(prompts), "manifest": manifest, "preset": preset("tiny"), **more}
    return BuildConfig(out=out, masks=f"bank:{bank}", **fields)


class TestBank(EngineSuite):
    grid = Preset("suite", 6.0).grid("abdomen")
    prompts = (PROMPTS[0], Prompt(patient=Patient(sex="female"), study=ABDOMEN, tumours=(LIVER,)))

    @pytest.fixture(autouse=True)
    def _opened(self, bank) -> None:
        self.path = bank("full")

    def make_masks(self) -> MaskModel:
        return mask_model(f"bank:{self.path}")

    def make_images(self) -> ImageModel:
        return image_model("texture")


@pytest.fixture(scope="module")
def built(bank, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six cases of four prompts from three sources."""
    out = tmp_path_factory.mktemp("built") / "cases"
    report = build(config(out, bank("full"), n=6))
    assert report.complete, report.unfilled
    return Dataset.open(out)


class TestDatasetOfABank(DatasetSuite):
    @pytest.fixture
    def dataset(self, built: Dataset) -> Dataset:
        return built


def test_cases_say_where_they_come_from_and_how_much_of_it_is_left(built: Dataset) -> None:
    for record in built.accepted():
        assert record.notes["source_case"] in {"s0", "s1", "s2"}
        assert record.patient_id == record.notes["source_case"]
        assert 0.2 < float(record.notes["source_dice"]) <= float(record.notes["nearest_dice"]) < 0.97
    shown = CliRunner().invoke(app, ["info", str(built.root), "--json"])
    sources = json.loads(shown.stdout)["sources"]
    assert sources["cases"] == 6
    assert sources["source_dice"]["highest"] <= sources["nearest_dice"]["highest"]
    card = (built.root / "README.md").read_text()
    assert "## Sources" in card
    assert "anatomies of patients" in card
    assert "No voxel is of a patient" not in (built.root / "croissant.json").read_text()
    assert to_records(read_table(built.manifest_path)) == built.records()


def test_no_source_is_on_both_sides_of_a_split(built: Dataset) -> None:
    # the prompts repeat, which links cases too; here the sources alone shall hold them together
    records = [record.model_copy(update={"prompt_id": None, "source": None}) for record in built.accepted()]
    group_of = groups(records)
    sources = {record.case_id: record.notes["source_case"] for record in records}
    assert len(set(sources.values())) > 1
    folds = k_folds(records, {case: frozenset() for case in group_of}, len(set(sources.values())))
    check_leakage(folds, records)
    for fold in folds:
        assert not {sources[case] for case in fold.train} & {sources[case] for case in fold.val}


def test_the_same_case_comes_again_from_the_same_bank_only(built: Dataset, bank, bodies, tmp_path: Path) -> None:
    case = built.accepted()[0].case_id
    assert reproduce(built.root, case, masks=f"bank:{bank('full')}").identical
    with pytest.raises(InvalidValueError, match="bank:DATASET"):
        reproduce(built.root, case)
    with pytest.raises(SpecMismatchError, match="bank"):
        reproduce(built.root, case, masks=f"bank:{bank('scanned')}")
    grown = tmp_path / "bank"
    shutil.copytree(bank("full"), grown)
    assert Bank(str(grown)).identity == Bank(str(bank("full"))).identity  # content, not place
    one = Dataset.open(grown).accepted()[0]
    (grown / "commits" / f"{one.case_id}.json").unlink()
    with pytest.raises(SpecMismatchError, match=r"mask_model\.bank"):
        Run(config(built.root, grown, n=6))


def test_organs_follow_the_prompt(built: Dataset) -> None:
    for record in built.accepted():
        arrays = built.read(record.case_id)
        volume = np.bincount(arrays.anatomy.ravel(), minlength=256) * arrays.grid.voxel_volume_ml
        for name in record.requested.absent_organs:
            assert not volume[structure(name).id]
        for name in record.requested.enlarged_organs:
            assert volume[structure(name).id] > structure(name).volume_ml[str(record.drawn.sex)]
        other = "uterus" if record.drawn.sex == "male" else "prostate"
        assert not volume[structure(other).id]


@pytest.mark.parametrize("kind", ["scanned", pytest.param("masks", marks=pytest.mark.slow), "few"])
def test_label_maps_of_less_give_whole_bodies(kind: str, bank, tmp_path: Path) -> None:
    report = build(config(tmp_path / "cases", bank(kind), PROMPTS[:1]))
    assert report.complete, report.unfilled
    found = Dataset.open(tmp_path / "cases")
    for record in found.accepted():
        arrays = found.read(record.case_id)
        filled = arrays.anatomy.any(axis=(1, 2))
        assert filled.mean() > 0.9
        for plane in arrays.anatomy[filled]:
            parts, count = ndimage.label(plane > 0)
            assert np.bincount(parts.ravel())[1:].max() > 0.8 * (plane > 0).sum()
            assert count < 6
        assert record.structures
        names = {row.name for row in record.structures}
        assert {"liver", "kidney_left", "kidney_right"} <= names
        assert "kidneys" not in names
    assert CliRunner().invoke(app, ["check", str(found.root)]).exit_code == 0


def test_a_bank_that_no_prompt_fits_gives_rows_with_the_reason(bank, tmp_path: Path) -> None:
    tumour = Tumour(organ="pancreas", count=1, size_mm=30)
    report = build(config(tmp_path / "cases", bank("few"), (Prompt(study=ABDOMEN, tumours=(tumour,)),), candidates=2))
    assert not report.complete
    reasons = [reason for gap in report.unfilled for reason in gap.reasons]
    assert reasons
    assert all("3 without pancreas" in reason for reason in reasons)


def test_a_source_that_cannot_be_placed_is_passed_over(bodies, tmp_path: Path) -> None:
    liver = structure("liver").id
    (tmp_path / "labels").mkdir()
    for name, part in (("good", slice(None)), ("cut", slice(58, 63))):
        grid = Grid(bodies[0].anatomy[part].shape, bodies[0].grid.spacing_mm_zyx, bodies[0].grid.origin_mm_xyz)
        labels = np.where(bodies[0].anatomy[part] == liver, liver, 0).astype(np.uint8)
        assert name == "good" or (labels[0].any() and labels[-1].any())  # both ends of the slab cut it
        write_nifti(tmp_path / "labels" / f"{name}.nii.gz", labels, grid)
    ingest_images_labels(tmp_path, tmp_path / "bank", {str(liver): "liver"}, images="")
    engine = Bank(str(tmp_path / "bank"))
    for number in range(2):
        request = make_request(PROMPTS[0], Preset("suite", 6.0).grid("abdomen"), f"p{number}")
        masks = engine.draw(request)
        assert masks.notes["source_case"] == masks.notes["nearest_case"] == "good"
    (tmp_path / "bank" / "commits" / "good.json").unlink()
    with pytest.raises(InvalidValueError, match="cannot be placed"):
        Bank(str(tmp_path / "bank")).draw(request)


def test_bad_banks_are_refused_before_anything_is_written(bank, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="bank:DATASET"):
        mask_model("bank")
    with pytest.raises(InvalidValueError, match="takes no argument"):
        mask_model("phantom:here")
    with pytest.raises(LocationError):
        mask_model(f"bank:{tmp_path / 'nowhere'}")
    for argument, status in (("bank", 2), (f"bank:{tmp_path}", 2), ("phantom:x", 2)):
        with pytest.raises(FactoryError) as caught:
            Run(BuildConfig(out=tmp_path / "out", n=1, masks=argument))
        assert caught.value.exit_code == status
    assert not (tmp_path / "out").exists()
    assert absolute("phantom") == "phantom"
    assert absolute(f"bank:{bank('full')}") == f"bank:{bank('full').resolve()}"


def test_a_source_whose_voxels_changed_is_not_drawn_from(bank, tmp_path: Path) -> None:
    broken = tmp_path / "bank"
    shutil.copytree(bank("full"), broken)
    dataset = Dataset.open(broken)
    for record in dataset.accepted():
        shard = dataset.case_path(record) / "labels" / "anatomy" / "0" / "c" / "0" / "0" / "0"
        assert shard.exists()
        other = next(one for one in Dataset.open(bank("full")).accepted() if one.case_id != record.case_id)
        shutil.copy(Dataset.open(bank("full")).case_path(other) / shard.relative_to(dataset.case_path(record)), shard)
    request = make_request(PROMPTS[0], Preset("suite", 6.0).grid("abdomen"))
    with pytest.raises(CorruptDatasetError, match="differs from its hash"):
        Bank(str(broken)).draw(request)


def test_the_gate_takes_the_last_slice_with_anatomy_for_the_end_of_the_scan(bodies) -> None:
    body, liver = bodies[0], structure("liver").id
    assert not measure(body).cut[liver]
    slices = np.flatnonzero((body.anatomy == liver).any(axis=(1, 2)))
    anatomy = body.anatomy.copy()
    anatomy[slices[-3] :] = 0
    cut = measure(Arrays(body.grid, body.ct, anatomy, body.lesions)).cut
    assert cut[liver]
    assert not cut[structure("urinary_bladder").id]


def test_the_gate_asks_not_for_what_no_source_labels(bodies) -> None:
    body, gone = bodies[0], ("gallbladder", "prostate")
    anatomy = body.anatomy.copy()
    anatomy[np.isin(anatomy, [structure(name).id for name in gone])] = structure("visceral_fat").id
    arrays = Arrays(body.grid, body.ct, anatomy, body.lesions)
    request = make_request(Prompt(patient=PATIENTS[0], study=Study(region="torso")), body.grid)
    missed = set(assess(request, arrays).reasons) - set(assess(request, body).reasons)
    assert {reason.split(":")[0] for reason in missed} == {"organ-missing", "sex"}
    assert not missed & set(assess(request, arrays, frozenset(gone)).reasons)
    assert set(assess(request, arrays, frozenset({"prostate"})).reasons) & missed == {
        "organ-missing: gallbladder: no voxel"
    }


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_workers_draw_the_same_cases(built: Dataset, bank, tmp_path: Path) -> None:
    report = build(config(tmp_path / "cases", bank("full"), workers=WorkerConfig(count=2), n=3))
    assert report.complete, report.unfilled
    hashes = {record.case_id: record.anatomy_blake3 for record in built.accepted()}
    for record in Dataset.open(tmp_path / "cases").accepted():
        assert hashes[record.case_id] == record.anatomy_blake3


@pytest.mark.real
def test_real_label_maps_become_cases(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "ct_totalseg_example"
    labels = json.loads((folder / "labels.json").read_text())["segmentations"]["seg_totalseg.nii.gz"]["labels"]
    names = {str(label["value"]): name for name, label in labels.items()}
    (tmp_path / "labels.json").write_text(json.dumps(names))
    scan = tmp_path / "scans" / "one"
    scan.mkdir(parents=True)
    for name in ("ct", "seg_totalseg"):
        shutil.copy(folder / f"{name}.nii.gz", scan)
    ingest_images_labels(
        scan.parent, tmp_path / "bank", tmp_path / "labels.json", images="*/ct.nii.gz", masks="*/seg_totalseg.nii.gz"
    )
    pelvis = Study(region="abdomen_pelvis", contrast_phase="portal_venous")
    prompts = (Prompt(study=pelvis, tumours=(LIVER,)), Prompt(study=pelvis, absent_organs=("spleen",)))
    report = build(config(tmp_path / "cases", tmp_path / "bank", prompts))
    assert report.complete, report.unfilled
    records = Dataset.open(tmp_path / "cases").accepted()
    assert Counter(record.patient_id for record in records) == {"one": 2}
    assert all(len(record.structures) > 40 for record in records)


@pytest.mark.real
@pytest.mark.slow
def test_real_maps_of_eight_organs_are_set_into_a_body(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "masks_evalseg_multiorgan"
    names = json.loads((folder / "labels.json").read_text())
    (tmp_path / "maps").mkdir()
    for case in ("55", "85", "88"):
        shutil.copy(folder / f"case_{case}_seg.nii.gz", tmp_path / "maps")
    ingest_images_labels(tmp_path / "maps", tmp_path / "bank", names, images="", masks="case_*_seg.nii.gz")
    report = build(config(tmp_path / "cases", tmp_path / "bank", (PROMPTS[0], Prompt(study=ABDOMEN))))
    assert report.complete, report.unfilled
    for record in Dataset.open(tmp_path / "cases").accepted():
        assert record.notes["source_case"] in {"55", "85", "88"}
        assert len(record.structures) > 50  # the body around them
        assert 0.3 < float(record.notes["source_dice"]) < 0.95
