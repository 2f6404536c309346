"""End to end: a short free sentence becomes a case whose tumour lies in the organ that it names."""

import csv
import signal
from pathlib import Path

import pytest

from downstream.tumours import measure_tumours
from factory.cli import main
from manifests.anatomy import structure
from manifests.dataset import Dataset

SENTENCES = Path(__file__).parents[1] / "prompts" / "short_sentences.csv"
FEW = (0, 9, 14, 17, 45, 50)


@pytest.mark.parametrize(
    "chosen", [FEW, pytest.param(tuple(range(51)), marks=[pytest.mark.slow, pytest.mark.timeout(1800)])], ids=len
)
def test_the_tumour_of_a_sentence_is_built_where_it_says(chosen, tmp_path):
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = [row for number, row in enumerate(csv.DictReader(file)) if number in chosen]
    with (tmp_path / "sentences.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ("text",), extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    prompts, out = tmp_path / "prompts.parquet", tmp_path / "dataset"
    _run("prompts", "extract", tmp_path / "sentences.csv", "--out", prompts)
    _run("build", "--manifest", prompts, "--preset", "tiny", "--n", len(rows), "--out", out)
    dataset = Dataset.open(out)
    records = dataset.accepted()
    assert [record.index for record in records] == list(range(len(rows)))
    for record, row in zip(records, rows, strict=True):
        measured = measure_tumours(dataset.read(record.case_id))
        assert {tumour.organ for tumour in measured} == {row["organ"]}, row["text"]
        if row["site"]:
            assert {tumour.site for tumour in measured} == {row["site"]}, row["text"]
        if row["side"]:
            assert {structure(tumour.site).side for tumour in measured} == {row["side"]}, row["text"]


def _run(*arguments):
    """Run a command as a user would; it has to end well."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not ended.value.code
