"""The gold set: well-formed rows without a text, found in the real texts, and the rule of its drawing."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import FileFormatError, InvalidValueError, LocationError
from manifests.identity import canonical_json
from prompts.gold import (
    GOLD_PATH,
    draw_sample,
    names_a_growth,
    names_a_tumour,
    read_gold,
    sizes_a_growth,
    split_of,
    states_a_number,
)
from prompts.sources import read_reports, report_hash

TEXTS = {"ct-rate": "ct_rate_reports_500.csv", "roco": "roco_ct_captions_ccby.csv", "mtsamples": "mtsamples_ct.jsonl"}
GOOD = {"report_hash": report_hash("a"), "prompt": {"patient": {"sex": "female"}}}


def _words(value):
    """All texts in a JSON value but the names of keys."""
    if isinstance(value, dict):
        return [word for item in value.values() for word in _words(item)]
    if isinstance(value, list):
        return [word for item in value for word in _words(item)]
    return [value] if isinstance(value, str) else []


def test_the_shipped_labels_are_canonical_and_hold_no_text():
    for line in GOLD_PATH.read_text().splitlines():
        row = json.loads(line)
        assert sorted(row) == ["dataset", "id", "prompt", "report_hash", "split"]
        assert re.fullmatch("[0-9a-f]{64}", row["report_hash"])
        assert row["split"] == "dev" or int(row["report_hash"][:2], 16) % 2, "held back, and of the dev half"
        assert line == canonical_json(row)
        assert all(re.fullmatch(r"\w{1,24}", word) for word in _words(row["prompt"]))
        assert re.fullmatch(r"train_\d+|ROCO_\d+|\d+", row["id"])


def test_both_halves_hold_enough_of_each_headline_field():
    for half in ("dev", "test"):
        prompts = [row.prompt for row in read_gold() if row.split == half]
        assert len(prompts) >= 30
        tumours = [tumour for prompt in prompts for tumour in prompt.tumours]
        assert len({tumour.organ for tumour in tumours}) >= 8
        assert sum(tumour.size_mm is not None for tumour in tumours) >= (15 if half == "dev" else 5)
        for values in ([p.patient.sex for p in prompts], [p.study.contrast_phase for p in prompts]):
            assert sum(value is not None for value in values) >= 8


def test_labels_are_the_same_after_a_round_trip():
    for row, line in zip(read_gold(), GOLD_PATH.read_text().splitlines(), strict=True):
        stated = row.prompt.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        assert json.loads(line)["prompt"] == stated


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", FileFormatError, "no rows"),
        ("{", FileFormatError, "no JSON in line 1"),
        ("[1]", InvalidValueError, "line 1, prompt"),
        (json.dumps({**GOOD, "report_hash": "ab"}), InvalidValueError, "report_hash"),
        (json.dumps({**GOOD, "report_hash": 7}), InvalidValueError, "report_hash"),
        (json.dumps({**GOOD, "split": "dev"}), None, ""),
        (json.dumps({**GOOD, "report_hash": "01" + GOOD["report_hash"][2:], "split": "dev"}), None, ""),
        (json.dumps({**GOOD, "split": "test"}), InvalidValueError, "by its hash"),
        (json.dumps({**GOOD, "prompt": {"sex": "female"}}), InvalidValueError, "line 1"),
        (json.dumps({**GOOD, "prompt": {"tumours": [{"organ": "toe"}]}}), InvalidValueError, "line 1"),
        ("\n" + json.dumps(GOOD) + "\n" + json.dumps(GOOD), InvalidValueError, "line 3, report_hash"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, content, error, words):
    path = tmp_path / "gold.jsonl"
    path.write_text(content)
    assert split_of(GOOD["report_hash"]) == "dev"
    if error is None:
        assert read_gold(path)[0].prompt.patient.sex == "female"
        return
    with pytest.raises(error, match=words):
        read_gold(path)


def test_a_file_that_is_no_text_or_missing_is_an_error(tmp_path):
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileFormatError, match="UTF-8"):
        read_gold(tmp_path / "bytes.jsonl")
    with pytest.raises(LocationError, match="no such file"):
        read_gold(tmp_path / "none.jsonl")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.integers(0, 10), st.integers(0, 10))
def test_a_draw_depends_on_the_texts_alone(texts, few, more):
    def short(text):
        return len(text) < 4

    drawn = draw_sample(texts, "s", [(few, lambda _: True), (more, short)])
    assert drawn == draw_sample(texts[::-1], "s", [(few, lambda _: True), (more, short)])
    assert len(set(drawn)) == len(drawn)
    assert len(drawn[:few]) == min(few, len(texts))
    left = [text for text in texts if text not in drawn[:few] and short(text)]
    assert len(drawn[few:]) == min(more, len(left))
    assert all(short(text) for text in drawn[few:])
    assert draw_sample(texts, "s", [(few + 1, lambda _: True)])[:few] == drawn[:few]


@pytest.mark.parametrize(
    ("text", "tumour", "number"),
    [
        ("A 3.5 cm mass. No effusion.", True, True),
        ("No mass; not a tumour", False, False),
        ("Hepatocellular carcinoma in a 61-year-old", True, True),
        ("Massive effusion of 20 ml", False, False),
        ("tumoral wall thickening", False, False),
    ],
)
def test_what_counts_for_the_drawing(text, tumour, number):
    assert (names_a_tumour(text), states_a_number(text)) == (tumour, number)


@pytest.mark.parametrize(
    ("text", "growth", "sized"),
    [
        ("No lesion. Effusion of 3 cm", True, False),
        ("A 12-mm nodule", True, True),
        ("haematoma, 4.5 centimetres", True, True),
        ("nodular opacity of 9 mm", False, False),
    ],
)
def test_what_counts_for_the_drawing_of_sizes(text, growth, sized):
    assert (names_a_growth(text), sizes_a_growth(text)) == (growth, sized)


def _any(_):
    return True


def _both(text):
    return names_a_tumour(text) and states_a_number(text)


FIRST = {
    "ct-rate": [(20, _any), (35, names_a_tumour)],
    "roco": [(75, _any), (75, names_a_tumour), (60, _both)],
    "mtsamples": [(11, _any)],
}
MORE_DEV = {
    "ct-rate": [(5, _any), (20, names_a_tumour)],
    "roco": [(30, _any), (80, _both), (50, names_a_tumour), (25, states_a_number)],
    "mtsamples": [],
}
HELD_BACK = {
    "ct-rate": [(20, _any), (20, names_a_tumour), (14, _any)],
    "roco": [(45, _any), (45, names_a_tumour), (1, _both), (30, states_a_number)],
    "mtsamples": [],
}
HELD_BACK_MORE = {
    "ct-rate": [(30, sizes_a_growth)],
    "roco": [(20, sizes_a_growth), (60, names_a_tumour), (20, states_a_number), (110, names_a_growth)],
    "mtsamples": [],
}


@pytest.mark.real
@pytest.mark.parametrize("dataset", TEXTS)
def test_the_labelled_reports_are_those_that_the_rule_draws(real_data, dataset):
    reports, _ = read_reports(real_data / "texts" / TEXTS[dataset])
    sources = {report_hash(report.text): report.source for report in reports}
    texts = [report.text for report in reports]
    first = draw_sample(texts, "gold-1", FIRST[dataset])
    left = [text for text in texts if text not in set(first) and split_of(report_hash(text)) == "dev"]
    odd = [text for text in texts if text not in set(first) and split_of(report_hash(text)) == "test"]
    held_back = draw_sample(odd, "gold-2", HELD_BACK[dataset])
    held_back += draw_sample(set(odd) - set(held_back), "gold-3", HELD_BACK_MORE[dataset])
    drawn = {report_hash(text) for text in [*first, *draw_sample(left, "gold-1", MORE_DEV[dataset]), *held_back]}
    assert {row.report_hash for row in read_gold() if row.split == "test"}.isdisjoint(map(report_hash, first))
    labelled = {row.report_hash: row.id for row in read_gold() if row.dataset == dataset}
    assert labelled.keys() <= drawn
    assert len(drawn) - len(labelled) == (5 if dataset == "roco" else 0)
    assert all(name in sources[key].split("#")[1].split(":") for key, name in labelled.items())
