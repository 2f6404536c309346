"""Fifty-one short free sentences, lay and clinical, name one tumour each; `tests/factory` builds them."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from prompts.rules import extract
from prompts.schema import tumour_organs

with Path(__file__).with_name("short_sentences.csv").open(encoding="utf-8", newline="") as file:
    SENTENCES = list(csv.DictReader(file))


def test_every_tumour_organ_is_named_at_least_twice():
    assert len(SENTENCES) == 51
    counts = Counter(row["organ"] for row in SENTENCES)
    assert set(counts) == set(tumour_organs())
    assert min(counts.values()) >= 2


@pytest.mark.parametrize("row", SENTENCES, ids=[row["text"] for row in SENTENCES])
def test_a_short_sentence_gives_one_tumour_of_its_organ(row):
    (tumour,) = extract(row["text"]).prompt.tumours
    assert tumour.organ == row["organ"]
    assert (tumour.side or "") == row["side"]
    if row["site"]:
        assert tumour.site == row["site"]
