"""Property: whatever the form and the words, the text says what the prompt says and nothing else."""

import json
import re
from functools import cache
from itertools import combinations

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from factory.cli import app, main
from manifests.errors import InvalidValueError, UnknownNameError
from prompts.cli.finish import plain_row
from prompts.lexicon import phrases
from prompts.paraphrase import FORMS, forms_for, paraphrase, paraphrases, write_as
from prompts.paraphrase.template import Filled, parse_template
from prompts.paraphrase.wording import words
from prompts.rules import extract
from prompts.sampling import default_distribution
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.table import write_prompts
from prompts.testing import prompts

TYPICAL = Prompt(
    patient=Patient(age_years=63.0, sex="female"),
    study=Study(contrast_phase="portal_venous", region="abdomen"),
    tumours=(Tumour(organ="kidney", side="left", size_mm=42.0),),
)
FULL = Prompt(
    patient=Patient(age_years=8.0, sex="male", race="other", height_cm=130.5, weight_kg=30.0),
    study=Study(contrast_phase="native", region="torso"),
    tumours=(
        Tumour(organ="lung", site="lung_upper_lobe_right", size_mm=11.0, count=2, t_stage="T1a", n_stage="N0"),
        Tumour(organ="liver"),
    ),
    absent_organs=("spleen",),
    enlarged_organs=("heart", "liver"),
)
SOFT = {"patient": {"age_years": 70.0}, "tumours": ({"organ": "colon", "count": 3, "size_mm": 25.0},)}


@settings(max_examples=12, deadline=None)
@given(prompts(), st.integers(0, 2**32))
def test_reading_any_form_gives_the_prompt_back(prompt, seed):
    for item in paraphrases(prompt, seed, 4):
        assert extract(item.text).prompt == prompt, item


@pytest.mark.parametrize("form", FORMS)
def test_each_form_states_drawn_prompts(form):
    drawn = [TYPICAL, *(_drawn(index) for index in range(12))]
    able = [prompt for prompt in drawn if form in _forms_for(prompt)]
    for prompt in able[:3]:
        text = write_as(form, prompt, 1)
        assert extract(str(text)).prompt == prompt, text
    assert able


@cache
def _drawn(index):
    return default_distribution().draw(5, index)


@cache
def _forms_for(prompt):
    return forms_for(prompt)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(prompts(), st.integers(0, 2**32))
def test_every_form_of_many_prompts_gives_them_back(prompt, seed):
    for form in forms_for(prompt):
        text = write_as(form, prompt, seed)
        assert extract(str(text)).prompt == prompt, (form, text)


def test_every_form_is_used_and_a_typical_prompt_has_thirty():
    assert len(FORMS) >= 40
    assert len(forms_for(TYPICAL)) >= 30
    assert len(forms_for(FULL)) >= 30
    texts = {write_as(form, TYPICAL, 3) for form in forms_for(TYPICAL)}
    assert len(texts) == len(forms_for(TYPICAL))


def test_forms_differ_in_structure_and_not_in_words_alone():
    """Without the words that the seed chooses and without values, no two forms leave the same skeleton."""
    chosen = {
        word
        for section in ("place", "adjective", "person", "phase")
        for options in words(section).values()
        for word in options
    }
    chosen |= {
        "cancer",
        "malignancy",
        "mass",
        "masses",
        "tumour",
        "tumor",
        "neoplasm",
        "ct",
        "scan",
        "solid",
        "malignant",
        "lesion",
    }
    known = {part for word in chosen for part in word.lower().replace("-", " ").split()}
    skeletons, bags = set(), []
    for form in forms_for(TYPICAL):
        text = str(write_as(form, TYPICAL, 0)).lower()
        marks = re.findall(r"[a-z]+|[^\w\s.]|\n", text)
        skeletons.add(tuple(mark for mark in marks if mark not in known))
        bags.append(frozenset(text.split()))
    assert len(skeletons) == len(forms_for(TYPICAL))
    overlaps = [len(a & b) / len(a | b) for a, b in combinations(bags, 2)]
    assert sum(overlaps) / len(overlaps) < 0.25


def test_a_form_that_cannot_state_a_field_is_not_used():
    black = TYPICAL.model_copy(update={"patient": Patient(age_years=63.0, sex="female", race="black")})
    assert "terse" in forms_for(TYPICAL)
    assert "terse" not in forms_for(black)
    assert write_as("terse", black, 0) is None


def test_units_change_exactly():
    sized = Prompt(tumours=(Tumour(organ="liver", size_mm=12.5),))
    texts = {str(write_as("imaging sentence", sized, seed)) for seed in range(40)}
    assert {"12.5" in text for text in texts} == {"1.25" not in text for text in texts} == {True, False}
    infant = Prompt(patient=Patient(age_years=1.5))
    assert any("18-month-old" in item.text for item in paraphrases(infant, 0, 20))


def test_texts_depend_on_prompt_seed_and_number_alone():
    ten = paraphrases(FULL, 4, 10)
    assert paraphrases(FULL, 4, 10) == ten
    assert paraphrases(FULL, 4, 3) == ten[:3]
    assert paraphrase(FULL, 4) == ten[0].text
    assert paraphrases(FULL, 5, 10) != ten
    assert len({item.form for item in ten}) == 10


def test_many_texts_of_one_prompt_are_distinct():
    assert len({item.text for item in paraphrases(TYPICAL, 1, 90)}) >= 89


def test_letter_case_spelling_and_number_words_vary():
    prompt = Prompt.model_validate(SOFT)
    texts = [item.text for item in paraphrases(prompt, 2, 90)]
    assert any(text.islower() for text in texts)
    assert any(text.isupper() for text in texts)
    for word in ("tumours", "tumors", "three ", "3 "):
        assert any(word in text.lower() for text in texts), word


def test_words_are_known_to_the_rules_with_the_same_meaning():
    """A synonym says neither less nor more: the places of `words.toml` are read back as their key."""
    for section in ("place", "adjective", "short"):
        for key, options in words(section).items():
            organ, _, side = key.partition(" ")
            for option in options:
                read = extract(f"{option} tumour").prompt.tumours[0]
                if side:
                    assert (read.organ, read.side, read.site) == (organ, side, None)
                else:
                    assert key in (read.organ, read.site), option
    assert {key.partition(" ")[0] for key in words("place")} <= set(phrases())


def test_a_template_leaves_out_what_is_missing():
    template = parse_template("[{a}[, {b}]][ ({c})| without]<!|!>")
    fields = {"a": Filled("A", frozenset({"a"})), "b": None, "c": None}
    assert template.fill(fields.__getitem__, lambda n: 0) == Filled("A without!", frozenset({"a"}))
    assert parse_template("x {b}").fill(fields.__getitem__, lambda n: 0) is None
    assert template.fields() == {"a", "b", "c"}


@pytest.mark.parametrize("source", ["[{a}", "{a", "<a|b", "a]", "a}", "[a>"])
def test_brackets_need_partners(source):
    with pytest.raises(InvalidValueError, match="balanced"):
        parse_template(source)


def test_wrong_requests_are_errors():
    with pytest.raises(UnknownNameError, match="terse"):
        write_as("sonnet", TYPICAL, 0)
    with pytest.raises(InvalidValueError, match="at least 1"):
        paraphrases(TYPICAL, 0, 0)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "prompts.parquet"
    write_prompts(path, [plain_row(TYPICAL, "a"), plain_row(FULL, "b"), plain_row(TYPICAL, "again")])
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_the_command_writes_texts_that_join_by_prompt(table, tmp_path, suffix):
    out = tmp_path / f"texts.{suffix}"
    line = ["prompts", "paraphrase", str(table), "--out", str(out), "--n", "4", "--seed", "9", "--canonical", "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["texts"] == 10
    if suffix == "parquet":
        rows = pq.read_table(out).to_pylist()
    else:
        rows = [json.loads(text) for text in out.read_text(encoding="utf-8").splitlines()]
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4] * 2
    known = {TYPICAL.prompt_id: TYPICAL, FULL.prompt_id: FULL}
    for row in rows:
        assert extract(row["text"]).prompt == known[row["prompt_id"]]
    assert {row["form"] for row in rows} <= {"canonical", *FORMS}


@pytest.mark.parametrize(("out", "word"), [("texts.csv", ".parquet or .jsonl"), ("missing/texts.jsonl", "writable")])
def test_the_command_refuses_what_it_cannot_write(table, tmp_path, capsys, out, word):
    with pytest.raises(SystemExit) as left:
        main(["prompts", "paraphrase", str(table), "--out", str(tmp_path / out)])
    assert left.value.code == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / out).exists()
