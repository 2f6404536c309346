"""The card says what the records say, and Croissant's own reader accepts the metadata."""

import json
import re

import mlcroissant
import pyarrow.parquet as pq
import pytest

from manifests.card import render_card, write_card
from manifests.case import Attributes, TumourAttributes
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import InvalidValueError
from manifests.testing import example_arrays, example_record

SPEC = DatasetSpec(
    kind="synthetic",
    mask_model={"name": "phantom", "version": "3"},
    image_model={"name": "texture", "version": "2"},
    grid={"preset": "tiny", "spacing_mm": 6.0},
    prompts={"origin": "default distribution"},
    run_seed=7,
)


def attributes(age, organ, size):
    return Attributes(age_years=age, sex="male", tumours=(TumourAttributes(organ=organ, count=1, size_mm=size),))


def example_records():
    done = [
        example_record(index).model_copy(
            update={"requested": attributes(60.0 + index, "liver", None), "measured": attributes(None, "liver", 8.5)}
        )
        for index in range(2)
    ]
    refused = [
        example_record(index, f"r{index}", "rejected").model_copy(
            update={"reasons": (f"liver volume {n} ml below 600 ml",)}
        )
        for index, n in enumerate((12, 13.5))
    ]
    return done, [*refused, example_record(9, "f9", "failed").model_copy(update={"reasons": ("no place | for it",)})]


@pytest.fixture
def dataset(tmp_path):
    made = Dataset.create(tmp_path / "synth liver", SPEC)
    done, refused = example_records()
    for index, record in enumerate(done):
        made.save(record, example_arrays(index))
    for record in refused:
        made.publish(record)
    return made


def rows(text, heading):
    """Cells of the table under a heading."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_counts_and_identities_are_those_of_the_dataset(dataset):
    text = write_card(dataset, licence="CC0-1.0").read_text(encoding="utf-8")
    contents = dict(rows(text, "Contents"))
    assert contents["delivered cases"] == "2"
    assert contents["refused candidates"] == "2"
    assert contents["failed cases"] == "1"
    assert contents["lesions"] == "2"
    assert contents["grid 20 x 16 x 18, 3 x 2 x 2 mm (z, y, x)"] == "2 cases"
    made = dict(rows(text, "How it was made"))
    assert made["spec"] == dataset.spec.spec_id
    assert made["mask model"] == "name phantom, version 3"
    assert made["run seed"] == "7"


def test_requested_and_measured_stand_side_by_side(dataset):
    table = {row[0]: row[1:] for row in rows(write_card(dataset).read_text(encoding="utf-8"), "Attributes")}
    assert table["age, years"] == ["60.5 ± 0.5 (60 to 61), n = 2", "-", "-"]
    assert table["tumour organ"] == ["liver 2", "-", "liver 2"]
    assert table["largest tumour of a site, mm"] == ["-", "-", "8.5 ± 0.0 (8.5 to 8.5), n = 2"]


def test_refusals_are_counted_by_reason(dataset):
    assert rows(write_card(dataset).read_text(encoding="utf-8"), "Refusals") == [
        ["rejected", "liver volume N ml below N ml", "2"],
        ["failed", "no place \\| for it", "1"],
    ]


def test_synthetic_is_marked_at_every_level_and_real_is_not(dataset):
    text = write_card(dataset).read_text(encoding="utf-8")
    assert "> **SYNTHETIC.** No voxel is of a patient." in text
    assert "synthetic" in re.search(r"^tags: \[(.*)\]$", text, re.M)[1].split(", ")
    assert "SYNTHETIC" in json.loads((dataset.root / "croissant.json").read_text())["keywords"]
    real = render_card(DatasetSpec(kind="real"), example_records()[0], "real", "CC-BY-4.0")
    assert "SYNTHETIC" not in real
    assert "**REAL SCANS.**" in real


def test_header_is_what_the_hub_reads(dataset):
    head = write_card(dataset, name="Synth Liver", licence="CC-BY-4.0").read_text(encoding="utf-8").split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert json.loads(fields["pretty_name"]) == "Synth-Liver"
    assert json.loads(fields["license"]) == "cc-by-4.0"
    assert fields["size_categories"] == '["n<1K"]'


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # within mlcroissant
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # and there
def test_croissant_is_valid_and_its_reader_yields_the_cases(dataset):
    write_card(dataset, licence="https://creativecommons.org/publicdomain/zero/1.0/")
    read = mlcroissant.Dataset(str(dataset.root / "croissant.json"))
    assert read.metadata.ctx.issues.errors == set()
    found = {row["cases/case_id"]: row for row in read.records("cases")}
    table = pq.read_table(dataset.manifest_path).to_pylist()
    assert [key.decode() if isinstance(key, bytes) else key for key in found] == [row["case_id"] for row in table]
    statuses = [row["cases/status"] for row in found.values()]
    assert [s.decode() if isinstance(s, bytes) else s for s in statuses] == [row["status"] for row in table]


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # within mlcroissant
def test_croissants_reader_notices_a_broken_description(dataset):
    write_card(dataset)
    path = dataset.root / "croissant.json"
    table = json.loads(path.read_text())
    table["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "elsewhere"
    path.write_text(json.dumps(table))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(str(path))


def test_writing_twice_gives_the_same_bytes(dataset):
    first = [write_card(dataset).read_bytes(), (dataset.root / "croissant.json").read_bytes()]
    assert [write_card(dataset).read_bytes(), (dataset.root / "croissant.json").read_bytes()] == first


def test_an_empty_dataset_has_a_card_and_a_nameless_one_has_none(tmp_path):
    empty = Dataset.create(tmp_path / "empty", SPEC)
    assert "delivered cases | 0 |" in write_card(empty).read_text(encoding="utf-8")
    with pytest.raises(InvalidValueError, match="name of the card"):
        write_card(empty, name="§§§")
