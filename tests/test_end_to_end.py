"""The main job as a user runs it: table and sentence in, checked dataset and nnU-Net folder out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from downstream.metrics import score_case
from downstream.segmenter import open_segmenter
from downstream.tumours import measure_tumours
from manifests.dataset import Dataset
from manifests.geometry import Grid
from manifests.identity import array_blake3
from manifests.schemes import paint, scheme
from prompts.table import read_prompts

TABLE = """patient,age,sex,height_cm,weight_kg,phase,organ,site,count,size_mm
a,63,female,162,70,portal_venous,liver,liver,1,60
b,58,male,180,92,arterial,kidney,kidney_left,1,55
c,71,female,158,61,native,lung,lung_lower_lobe_right,1,45
d,66,male,175,80,portal_venous,colon,colon_ascending,1,48
"""
SENTENCES = {"e": "A person diagnosed with colon cancer.", "f": "62 year old man. CT without contrast. Normal."}


def factory(*arguments: str | Path, cwd: Path, status: int = 0) -> str:
    """Run the command line as a user does, and return its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == status, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr if status == 2 else done.stdout


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a built dataset: four prompts of a table, two of sentences."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "patients.csv").write_text(TABLE)
    (folder / "reports").mkdir()
    for name, text in SENTENCES.items():
        (folder / "reports" / f"{name}.txt").write_text(text)
    factory("prompts", "from-table", "patients.csv", "--mapping", "generic", "--out", "table.parquet", cwd=folder)
    factory("prompts", "extract", "reports", "--out", "text.parquet", cwd=folder)
    frames = [pd.read_parquet(folder / name) for name in ("table.parquet", "text.parquet")]
    assert [len(frame) for frame in frames] == [4, 2]
    for name, n in (("table", 4), ("text", 2)):
        factory(
            "build", "--manifest", f"{name}.parquet", "--n", n, "--preset", "tiny", "--out", f"data-{name}", cwd=folder
        )
    return folder


@pytest.mark.parametrize("name", ["table", "text"])
def test_dataset_keeps_every_promise_of_its_format(workshop: Path, name: str) -> None:
    assert json.loads(factory("check", f"data-{name}", "--json", cwd=workshop))["findings"] == []


def test_delivered_tumours_are_those_of_the_prompt(workshop: Path) -> None:
    dataset = Dataset.open(workshop / "data-table")
    rows = read_prompts(workshop / "table.parquet")
    assert [record.prompt_id for record in dataset.accepted()] == [row.prompt.prompt_id for row in rows]
    for row, record in zip(rows, dataset.accepted(), strict=True):
        (asked,) = row.prompt.tumours
        arrays = dataset.read(record.case_id)
        (found,) = measure_tumours(arrays)
        assert (found.organ, found.site) == (asked.organ, asked.site)
        assert abs(found.size_mm - asked.size_mm) <= max(0.15 * asked.size_mm, 1.5 * arrays.grid.spacing_mm_zyx[2])
    report = json.loads(factory("bench", "alignment", "data-table", "--json", cwd=workshop))["mask_prompt"]
    assert (report["tumours"], report["count"]["value"], report["disagreeing"]) == (4, 1.0, [])


def test_the_segmenter_that_ships_finds_the_organs_of_a_phantom(workshop: Path) -> None:
    """It was trained on other cases at finer voxels; 144 mm with the dome of the liver and the base of the lungs are enough and take seconds."""
    pytest.importorskip("nnunetv2")
    dataset, labels = Dataset.open(workshop / "data-table"), scheme("torso25")
    record = dataset.accepted()[0]
    arrays = dataset.read(record.case_id)
    painted = paint(arrays.anatomy, arrays.lesions, record.lesions, labels)
    dome = int(np.flatnonzero((painted == labels.labels["liver"]).any((1, 2))).max())
    ct, expected = (np.ascontiguousarray(one[dome - 15 : dome + 9]) for one in (arrays.ct, painted))
    segmenter = open_segmenter("builtin")
    found = segmenter.segment(ct, Grid(ct.shape, arrays.grid.spacing_mm_zyx))
    assert dict(segmenter.card.labels) == {name: value for name, value in labels.labels.items() if value}
    rows = {row.label: row.dice for row in score_case(record.case_id, found, expected, segmenter.card.labels)}
    floors = {"lung_right": 0.85, "liver": 0.75, "aorta": 0.6, "vertebrae": 0.55}
    assert not {name: rows[name] for name, floor in floors.items() if rows[name] < floor}
    assert segmenter.card.held_out_dice.keys() == segmenter.card.labels.keys()


def test_unstated_site_is_drawn_and_normal_means_no_tumour(workshop: Path) -> None:
    dataset = Dataset.open(workshop / "data-text")
    by_source = {record.source: record for record in dataset.accepted()}
    cancer, normal = (by_source[key] for key in sorted(by_source))
    assert cancer.requested.tumours[0].site is None
    assert {lesion.organ for lesion in cancer.lesions} == {"colon"}
    assert cancer.drawn.tumours[0].site == cancer.lesions[0].site
    assert not normal.lesions
    assert normal.measured.sex == "male"


def test_manifest_opens_in_pandas_and_duckdb(workshop: Path) -> None:
    path = workshop / "data-table" / "manifest.parquet"
    frame = pd.read_parquet(path)
    assert list(frame["status"]).count("accepted") == 4
    with duckdb.connect() as database:
        query = f"select count(*) from '{path}' where measured.tumours[1].organ = 'liver'"
        assert database.execute(query).fetchall() == [(1,)]


def test_a_case_is_reproduced_to_the_bit(workshop: Path) -> None:
    dataset = Dataset.open(workshop / "data-table")
    record = dataset.accepted()[0]
    assert array_blake3(dataset.read(record.case_id).ct) == record.ct_blake3
    assert json.loads(factory("reproduce", "data-table", record.case_id, "--json", cwd=workshop))["identical"]


def test_same_command_changes_nothing_and_a_larger_n_extends(workshop: Path) -> None:
    build = ("build", "--manifest", "text.parquet", "--preset", "tiny", "--out", "data-text")
    before = {record.case_id: record.ct_blake3 for record in Dataset.open(workshop / "data-text").accepted()}
    again = json.loads(factory(*build, "--n", 2, "--json", cwd=workshop))
    assert (again["made"], again["complete"]) == (0, True)
    shutil.copytree(workshop / "data-text", workshop / "data-more")
    factory(*build[:-1], "data-more", "--n", 3, cwd=workshop)
    after = {record.case_id: record.ct_blake3 for record in Dataset.open(workshop / "data-more").accepted()}
    assert len(after) == 3
    assert before.items() <= after.items()


def test_export_passes_nnunet(workshop: Path) -> None:
    factory(
        *("export", "nnunet", "data-table", "--id", "501", "--name", "Test", "--scheme", "guidegen20", "--out", "raw"),
        cwd=workshop,
    )
    folder = workshop / "raw" / "Dataset501_Test"
    assert len(list((folder / "imagesTr").glob("*.nii.gz"))) == 4
    assert (folder / "splits_final.json").is_file()


def test_view_writes_a_picture_and_a_page(workshop: Path) -> None:
    factory("view", "data-table", "--out", "view", cwd=workshop)
    assert (workshop / "view" / "contact_sheet.png").read_bytes()[:4] == b"\x89PNG"
    page = (workshop / "view" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert all(record.case_id in page for record in Dataset.open(workshop / "data-table").accepted())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("build", "--engine", "nosuch", "--out", "new"), "nosuch"),
        (("build", "--preset", "nosuch", "--out", "new"), "nosuch"),
        (("build", "--manifest", "corrupt.parquet", "--out", "new"), "corrupt.parquet"),
        (("build", "--manifest", "missing.parquet", "--out", "new"), "missing.parquet"),
        (("build", "--n", "0", "--out", "new"), "--n"),
        (("build", "--n", "2", "--seed", "7", "--preset", "tiny", "--out", "data-table"), "seed"),
        (("build", "--out", "patients.csv/new"), "patients.csv"),
        (("prompts", "from-table", "empty.csv", "--mapping", "generic", "--out", "new"), "empty.csv"),
        (("prompts", "from-table", "patients.csv", "--mapping", "kits19", "--out", "new"), "column"),
        (("prompts", "from-table", "negative.csv", "--mapping", "generic", "--out", "new"), "size"),
        (("prompts", "from-table", "nowhere.csv", "--mapping", "generic", "--out", "new"), "site"),
        (("reproduce", "data-table", "../data-table"), ".."),
        (("check", "nosuch"), "nosuch"),
        (("export", "nnunet", "data-table", "--id", "1", "--name", "T", "--scheme", "no", "--out", "new"), "no"),
    ],
)
def test_bad_input_gets_one_error_and_writes_nothing(workshop: Path, arguments: tuple[str, ...], word: str) -> None:
    header, row, *_ = TABLE.splitlines()
    (workshop / "corrupt.parquet").write_bytes(b"PAR1 no parquet PAR1")
    (workshop / "empty.csv").write_text(header + "\n")
    (workshop / "negative.csv").write_text(f"{header}\n{row.removesuffix('60')}-60\n")
    (workshop / "nowhere.csv").write_text(f"{header}\n{row.replace('liver,liver', 'liver,kidney_left')}\n")
    before = sorted(path.relative_to(workshop) for path in workshop.rglob("*"))
    message = factory(*arguments, cwd=workshop, status=2)
    assert message.startswith("error: ")
    assert word in message
    assert all(part in message for part in ("got ", "need "))
    assert sorted(path.relative_to(workshop) for path in workshop.rglob("*")) == before
