"""Scores of an extraction: counted by hand, against scikit-learn, and what must hold for any prompts."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests.errors import InvalidValueError
from prompts.cli.evaluate import app
from prompts.evaluation import (
    FIELDS,
    HEADLINE,
    Pair,
    Slot,
    cohen_kappa,
    compare,
    evaluate,
    join_reports,
    match_tumours,
    read_reference,
)
from prompts.evaluation.comparison import numbers_agree
from prompts.gold import GoldRow
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.sources import report_hash
from prompts.table import PromptRow, write_prompts
from prompts.testing import prompts, tumours


def _tumour(organ="kidney", **stated):
    return Tumour(organ=organ, **stated)


def _slots(reference, found, field):
    return [(slot.reference, slot.found, slot.agrees) for slot in compare(reference, found) if slot.field == field]


def test_three_reports_counted_by_hand():
    woman = Prompt(patient=Patient(sex="female", age_years=60), tumours=(_tumour(side="left", size_mm=40),))
    man = Prompt(patient=Patient(sex="male"), study=Study(contrast_phase="native"))
    scores = evaluate(
        [
            Pair("a", woman, Prompt(patient=Patient(sex="male"), tumours=(_tumour(side="left", size_mm=43),))),
            Pair("b", man, Prompt(patient=Patient(sex="male"), tumours=(_tumour("liver", size_mm=9),))),
            Pair("c", Prompt(), Prompt(patient=Patient(age_years=50), study=Study(contrast_phase="delayed"))),
        ]
    )
    sex, age, contrast = scores.fields["sex"], scores.fields["age"], scores.fields["contrast"]
    assert (sex.right, sex.wrong, sex.missed, sex.false_fills, sex.unstated) == (1, 1, 0, 0, 1)
    assert (sex.precision, sex.recall, sex.f1, sex.support) == (0.5, 0.5, 0.5, 2)
    assert (age.precision, age.recall, age.false_fill_rate) == (0.0, 0.0, 0.5)
    assert (contrast.right, contrast.missed, contrast.false_fills, contrast.unstated) == (0, 1, 1, 2)
    organ, site, size = (scores.fields[name] for name in ("organ", "site", "size"))
    # Slots: the kidney of a, the invented liver of b, the empty slot of c.
    assert (organ.right, organ.false_fills, organ.unstated) == (1, 1, 2)
    assert (site.right, site.false_fills, site.unstated) == (1, 0, 2)
    assert (size.right, size.false_fills, size.unstated) == (1, 1, 2)
    total = scores.headline
    assert (total.right, total.wrong, total.missed, total.false_fills, total.unstated) == (4, 1, 2, 4, 11)
    assert total.f1 == pytest.approx(8 / (8 + 2 + 2 + 4))
    assert total.false_fill_rate == pytest.approx(4 / 11)
    assert ("c", Slot("contrast", None, "delayed")) in scores.errors
    assert len(scores.errors) == 7


def test_a_missed_tumour_misses_its_attributes_and_an_invented_one_fills_its_own():
    stated = Prompt(tumours=(_tumour("lung", side="left", size_mm=30, t_stage="T2"),))
    slots = {slot.field: slot for slot in compare(stated, Prompt()) if slot.reference}
    assert {name: slot.reference for name, slot in slots.items()} == {
        "organ": "lung",
        "site": "lung_lower_lobe_left+lung_upper_lobe_left",
        "size": 30.0,
        "t_stage": "T2",
    }
    invented = {slot.field: slot.found for slot in compare(Prompt(), stated) if slot.found}
    assert invented == {name: slot.reference for name, slot in slots.items()}


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        (_tumour(side="left"), _tumour(site="kidney_left"), True),
        (_tumour(side="left"), _tumour(side="right"), False),
        (_tumour(), _tumour(side="right"), False),
        (_tumour("lung", side="left"), _tumour("lung", site="lung_upper_lobe_left"), False),
        (_tumour("colon", site="rectum"), _tumour("colon", site="rectum"), True),
    ],
)
def test_a_place_is_the_set_of_possible_sites(first, second, agree):
    assert [entry[2] for entry in _slots(Prompt(tumours=(first,)), Prompt(tumours=(second,)), "site")] == [agree]


def test_an_organ_of_one_site_states_no_site():
    liver = Prompt(tumours=(_tumour("liver", site="liver"),))
    assert _slots(liver, liver, "site") == [(None, None, False)]


def test_absent_and_enlarged_organs_are_compared_by_structure():
    both = Prompt(absent_organs=("kidney",))
    left = Prompt(absent_organs=("kidney_left", "spleen"))
    assert _slots(both, left, "absent") == [
        ("kidney_left", "kidney_left", True),
        ("kidney_right", None, False),
        (None, "spleen", False),
    ]
    assert _slots(both, Prompt(absent_organs=("kidney_left", "kidney_right")), "absent") == [
        ("kidney_left", "kidney_left", True),
        ("kidney_right", "kidney_right", True),
    ]


@pytest.mark.parametrize(
    ("field", "first", "second", "agree"),
    [
        ("size", 100.0, 90.0, True),
        ("size", 100.0, 89.0, False),
        ("size", 5.0, 6.0, True),
        ("size", 5.0, 6.5, False),
        ("age", 60.0, 60.5, True),
        ("age", 60.0, 61.0, False),
        ("count", 2.0, 3.0, False),
    ],
)
def test_numbers_agree_within_their_tolerance_in_both_directions(field, first, second, agree):
    assert numbers_agree(field, first, second) is agree
    assert numbers_agree(field, second, first) is agree


def test_tumours_are_matched_by_site_before_size():
    left, right = _tumour(side="left", size_mm=20), _tumour(side="right", size_mm=50)
    swapped = _tumour(side="right", size_mm=20), _tumour(side="left", size_mm=50)
    assert match_tumours((left, right), swapped) == [(left, swapped[1]), (right, swapped[0])]
    small, large = _tumour(size_mm=20), _tumour(size_mm=50)
    assert match_tumours((small, large), (large, small)) == [(small, small), (large, large)]
    liver = _tumour("liver")
    assert match_tumours((liver,), (left,)) == [(liver, None), (None, left)]
    assert match_tumours((), ()) == []


@settings(deadline=None, max_examples=40)
@given(st.lists(tumours(), max_size=4), st.lists(tumours(), max_size=4))
def test_the_matching_is_the_best_of_all(reference, found):
    def ranks(a, b):
        """Right organ, place and size of a pair: keys to compare in this order."""
        if a is None or b is None or a.organ != b.organ:
            return (0, 0, 0)
        size = {slot.field: slot for slot in compare(Prompt(tumours=(a,)), Prompt(tumours=(b,)))}["size"]
        places = set(a.possible_sites()), set(b.possible_sites())
        place = 2 if places[0] == places[1] else 1 if places[0] & places[1] else 0
        return (1, place, 2 if size.agrees else 1 if size.right else 0)

    def total(rows):
        return tuple(sum(column) for column in zip((0, 0, 0), *rows, strict=True))

    matched = match_tumours(reference, found)
    table = [[*(ranks(a, b) for b in found), *[(0, 0, 0)] * len(reference)] for a in reference]
    orders = itertools.permutations(range(len(found) + len(reference)), len(reference))
    best = max(total(row[j] for row, j in zip(table, order, strict=True)) for order in orders)
    assert total(ranks(a, b) for a, b in matched) == best
    assert sorted(map(repr, (a for a, _ in matched if a))) == sorted(map(repr, reference))
    assert sorted(map(repr, (b for _, b in matched if b))) == sorted(map(repr, found))


@settings(deadline=None, max_examples=25)
@given(st.lists(prompts(), min_size=1, max_size=4))
def test_a_perfect_extraction_scores_one(some):
    scores = evaluate([Pair(str(index), prompt, prompt) for index, prompt in enumerate(some)])
    for one in (*scores.fields.values(), scores.headline):
        assert {one.precision, one.recall, one.f1} == ({1.0} if one.support else {None})
        assert one.false_fill_rate in (None, 0.0)
    assert all(one.kappa in (None, pytest.approx(1.0)) for one in scores.fields.values())
    assert scores.micro_f1_interval == ((1.0, 1.0) if scores.headline.support else None)
    assert scores.errors == ()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(prompts(), prompts()), min_size=1, max_size=4))
def test_exchanging_the_roles_exchanges_precision_and_recall(pairs):
    there = evaluate([Pair("", a, b) for a, b in pairs])
    back = evaluate([Pair("", b, a) for a, b in pairs])
    for name in ("organ", "sex", "age", "race", "contrast", "region", "absent", "enlarged"):
        one, other = there.fields[name], back.fields[name]
        assert (one.precision, one.recall, one.f1) == (other.recall, other.precision, other.f1)
        assert one.right + one.wrong + one.missed == one.support
    assert all(set(there.fields) == set(FIELDS) >= set(HEADLINE) for _ in pairs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(ratings):
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = zip(*ratings, strict=True)
    ours = cohen_kappa(first, second)
    if ours is None:
        assert len(set(first) | set(second)) == 1
    else:
        assert ours == pytest.approx(metrics.cohen_kappa_score(first, second))


def test_kappa_of_a_table_computed_by_hand():
    # 20 and 15 agreements, 5 and 10 disagreements: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa([], []) is None


def test_numbers_are_rated_as_stated_other_or_unstated():
    def prompt(age):
        return Prompt(patient=Patient(age_years=age))

    ages = [(60.0, 60.0), (60.0, 30.0), (None, None), (None, 40.0)]
    kappa = evaluate([Pair("", prompt(a), prompt(b)) for a, b in ages]).fields["age"].kappa
    assert kappa == pytest.approx(cohen_kappa(["s", "s", "u", "u"], ["s", "o", "u", "s"]))


def test_the_interval_covers_the_binomial_one():
    """100 reports with one value each, 80 right and 20 missed: F1 = 2k / (k + 100) with k binomial."""
    female = Prompt(patient=Patient(sex="female"))
    scores = evaluate([Pair("", female, female)] * 80 + [Pair("", female, Prompt())] * 20)
    assert scores.headline.f1 == pytest.approx(160 / 180)
    draws = np.random.default_rng(1).binomial(100, 0.8, 200_000)
    expected = np.quantile(2 * draws / (draws + 100), (0.025, 0.975))
    assert scores.micro_f1_interval == pytest.approx(tuple(expected), abs=0.012)


def _row(text, prompt):
    return PromptRow(prompt, "", text, report_hash=report_hash(text))


@pytest.fixture
def files(tmp_path):
    """A table of two reports and a gold set of three, one of which the table lacks."""
    female, male = (Prompt(patient=Patient(sex=sex)) for sex in ("female", "male"))
    write_prompts(tmp_path / "found.parquet", [_row("a", female), _row("b", male), _row("unlabelled", male)])
    labels = [("a", female), ("b", Prompt(tumours=(_tumour("liver", size_mm=30),))), ("c", male)]
    lines = [
        json.dumps({"dataset": "d", "id": name, "report_hash": report_hash(name), "prompt": prompt.model_dump()})
        for name, prompt in labels
    ]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines))
    return tmp_path


def _run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_reports_scores_and_what_it_did_not_find(files):
    shown = _run(files / "found.parquet", "--gold", files / "gold.jsonl", "--show-errors")
    assert shown.exit_code == 0
    assert "2 reports (all); 1 labelled reports are not in the table" in shown.output
    assert f"d b {report_hash('b')[:12]}: size is 30, found unstated" in shown.output
    assert f"d b {report_hash('b')[:12]}: sex is unstated, found male" in shown.output
    said = json.loads(_run(files / "found.parquet", "--gold", files / "gold.jsonl", "--json").output)
    assert (said["reports"], said["not_found"]) == (2, 1)
    assert said["fields"]["sex"]["false_fill_rate"] == 1.0
    assert said["micro_f1"] == pytest.approx(2 / (2 + 2 + 1))
    assert "errors" not in said


def test_halves_are_those_of_the_hash(files):
    halves = {name: int(report_hash(name)[:2], 16) % 2 for name in "abc"}
    for half, odd in (("dev", 0), ("test", 1)):
        result = _run(files / "found.parquet", "--gold", files / "gold.jsonl", "--split", half, "--json")
        expected = [name for name in "ab" if halves[name] == odd]
        if expected:
            assert json.loads(result.output)["reports"] == len(expected)
        else:
            assert isinstance(result.exception, InvalidValueError)


def test_another_table_can_be_the_reference(files):
    said = json.loads(_run(files / "found.parquet", "--gold", files / "found.parquet", "--json").output)
    assert (said["reports"], said["micro_f1"], said["false_fill_rate"], said["not_found"]) == (3, 1.0, 0.0, 0)


def test_tables_without_a_common_report_are_an_error(files):
    row = GoldRow("d", "x", report_hash("elsewhere"), Prompt(), "dev")
    with pytest.raises(InvalidValueError, match="none of the 1 reports"):
        join_reports([_row("a", Prompt())], [row], "all", "table t")
    with pytest.raises(InvalidValueError, match="no report hashes"):
        join_reports([PromptRow(Prompt(), "")], [row], "all", "table t")
    with pytest.raises(InvalidValueError, match="two rows with different prompts"):
        join_reports([_row("a", Prompt()), _row("a", Prompt(patient=Patient(sex="male")))], [row], "all", "table t")
    write_prompts(files / "plain.parquet", [PromptRow(Prompt(), "")])
    with pytest.raises(InvalidValueError, match="no report hashes"):
        read_reference(files / "plain.parquet")
