"""Properties of reading free text: evidence, determinism, units, and texts that are hostile or broken."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.anatomy import sites, structure
from prompts.lexicon import phrase
from prompts.rules import extract
from prompts.rules.clauses import clauses
from prompts.rules.gazetteer import scan
from prompts.schema import tumour_organs

HERE = Path(__file__).parent
ENV = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
TEMPLATES = (
    "INDICATION: {age}-year-old {noun} with {side} flank pain.\nFINDINGS:\nLiver: normal.\nKidneys: {size} cm mass in the {side} kidney.\n",
    "{age} y/o {noun}. CT of the chest, {phase}. Spiculated mass of {size} x 1.1 cm in the {side} upper lobe, pT2a N1 M0.",
    "No mass in the pancreas; the spleen is enlarged. Status post {side} nephrectomy. {noun}, {age}.",
    "Two tumours of the colon, the largest {size} cm; likely metastases in the liver (segment VII), 2-3 mm? History of HCC.",
    "Height: 1.7 m, weight {age} kg. The mass measures {size} mm, previously 2 cm. It likely represents an abscess.",
)
WORDS = {
    "noun": ("man", "woman", "M", "F", "lady", "child"),
    "side": ("left", "right", "both", "lt"),
    "phase": ("portal venous phase", "without contrast", "biphasic", "60 s after injection"),
}
UNRELATED = (
    "No pleural effusion.",
    "There is no free air.",
    "No fracture was seen.",
    "The vertebral bodies are not displaced.",
    "No evidence of pulmonary embolism.",
)
SIZED = ("{size} mass in the left kidney.", "Mass in the left kidney measuring {size}.", "Left renal mass ({size}).")


def _drawn(rng: random.Random) -> str:
    words = {name: rng.choice(options) for name, options in WORDS.items()}
    return rng.choice(TEMPLATES).format(age=rng.randint(0, 130), size=rng.randint(1, 99) / 10, **words)


def _mutated(text: str, rng: random.Random) -> str:
    """One of the ways in which texts get broken: lost, swapped, doubled or foreign characters, very long lines."""
    at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    strange = rng.choice(
        [
            "\0",
            "\u202e",
            "İ",
            "ß",
            "\ud800",
            "٣",
            "½",
            "\t\t",
            "\r",
            "(((",
            "…",
            "🫁",
            "?",
            "x" * 400,
            "9" * 400,
            "- " * 200,
        ]
    )
    return rng.choice(
        [
            text[:at] + text[to:],
            text[:at] + strange + text[at:],
            text[to:] + text[at:to] + text[:at],
            text[:to] + text[at:to] * 3 + text[to:],
            text.upper(),
            text.replace(" ", rng.choice(["\u00a0", "  ", "\n", ""])),
            text.replace(".", rng.choice([",", "", "?", ";"])),
        ]
    )


def read_broken_texts(count, seed):
    """Read texts that were broken at random; evidence must stay inside them."""
    rng = random.Random(seed)
    for _ in range(count):
        text = _mutated(_drawn(rng), rng)
        if rng.random() < 0.3:
            text = _mutated(text, rng)
        for item in extract(text).evidence:
            assert 0 <= item.start < item.end <= len(text)
            assert text[item.start : item.end].strip()


def test_broken_texts_are_read_with_types_checked():
    read_broken_texts(400, seed=4)


def test_ten_thousand_broken_texts_are_read_without_an_error():
    # a process of its own reads at full speed: the type checks of this one take minutes on a busy machine
    done = subprocess.run(
        [sys.executable, "-m", "test_rules_properties"], capture_output=True, text=True, cwd=HERE, env=ENV, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300))
def test_any_text_is_read(text):
    assert extract(text) == extract(text)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(UNRELATED))
def test_an_unrelated_denial_changes_nothing(seed, sentence):
    text = _drawn(random.Random(seed))
    prompt = extract(text).prompt
    assert extract(f"{text}\n{sentence}").prompt == prompt
    assert extract(f"{sentence}\n{text}").prompt == prompt


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3999), st.sampled_from(["mm", " mm", "-mm", " millimetres"]), st.sampled_from(SIZED))
def test_millimetres_are_read_as_they_stand(tenths, unit, form):
    text = form.format(size=f"{tenths / 10:g}{unit}")
    assert [t.size_mm for t in extract(text).prompt.tumours] == [tenths / 10]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 399),
    st.sampled_from([" cm", "cm", "-cm", " centimeters"]),
    st.sampled_from(".,"),
    st.sampled_from(SIZED),
)
def test_centimetres_are_ten_millimetres(tenths, unit, comma, form):
    text = form.format(size=f"{tenths / 10:.1f}".replace(".", comma) + unit)
    assert [t.size_mm for t in extract(text).prompt.tumours] == [float(tenths)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 399), min_size=2, max_size=3),
    st.sampled_from([" x ", "x", " \u00d7 ", " by "]),
    st.sampled_from(SIZED),
)
def test_the_largest_of_several_diameters_counts(tenths, times, form):
    text = form.format(size=times.join(f"{value / 10:.1f}" for value in tenths) + " cm")
    assert [t.size_mm for t in extract(text).prompt.tumours] == [float(max(tenths))]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 120), st.sampled_from(["{}-year-old", "{} year old", "{} y/o", "{} yo", "{} years old", "{}-yr-old"])
)
def test_ages_in_years_are_read_as_they_stand(age, form):
    assert extract(f"A {form.format(age)} patient with cough.").prompt.patient.age_years == age


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.sampled_from([("month", 12.0), ("week", 52.18), ("day", 365.25)]))
def test_ages_of_infants_become_years(age, unit):
    name, per_year = unit
    assert extract(f"A {age}-{name}-old girl.").prompt.patient.age_years == round(age / per_year, 2)


@pytest.mark.parametrize("organ", tumour_organs())
@pytest.mark.parametrize(
    "form",
    [
        "No evidence of a mass in the {}.",
        "Family history of {} cancer.",
        "Possible tumour of the {}.",
        "{} tumour?",
        "Tumour of the {} cannot be excluded.",
        "Metastasis in the {}.",
        "Mass in the {}, likely an abscess.",
        "Mass in the {}. This is consistent with a haematoma.",
        "History of cancer of the {}.",
        "A mass adjacent to the {}.",
    ],
)
def test_what_is_not_a_present_primary_is_none(organ, form):
    assert extract(form.format(phrase(organ))).prompt.tumours == ()


@pytest.mark.parametrize("organ", tumour_organs())
@pytest.mark.parametrize(
    "form", ["mass in the {}", "{} cancer", "a 3 cm tumour of the {}", "carcinoma, {}", "{}: 3 cm mass", "{} ca"]
)
def test_each_organ_is_found(organ, form):
    assert [t.organ for t in extract(form.format(phrase(organ))).prompt.tumours] == [organ]


@pytest.mark.parametrize("site", [name for organ in tumour_organs() for name in sites(organ)])
def test_a_lesion_that_is_called_a_tumour_lies_where_the_lesion_lies(site):
    tumours = extract(f"A 2 cm lesion in the {phrase(site)}, suspicious for malignancy.").prompt.tumours
    assert [(t.site, t.side, t.size_mm) for t in tumours] == [(site, structure(site).side, 20.0)]


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        " ",
        "\n",
        "no ",
        "left ",
        "mass ",
        "liver mass ",
        "no mass. ",
        "5 x ",
        "3 cm ",
        "- ",
        "(",
        "T2 N",
        "It measures ",
        "1.",
        "x-",
        "A: ",
        '" ',
        "and the kidney ",
    ],
)
def test_hostile_repetitions_take_linear_time(unit):
    def seconds(length):
        text = (unit * (length // len(unit) + 1))[:length]
        started = time.process_time()
        extract(text)
        return time.process_time() - started

    extract(unit)
    # quadratic work would take 64 times as long for 8 times the text; the bound leaves room for a busy machine
    assert seconds(32_000) <= 24 * seconds(4_000) + 0.5


def test_positions_hold_where_lower_case_is_longer():
    text = "İİİ 63-year-old woman, mass in the left kidney"
    found = {item.field: text[item.start : item.end] for item in extract(text).evidence}
    assert found["patient.sex"] == "woman"
    assert found["tumours.0.organ"] == "left kidney"


def test_clauses_tile_the_text():
    rng = random.Random(5)
    for _ in range(500):
        text = _mutated(_drawn(rng), rng)
        parts = clauses(text)
        assert all(text[part.start : part.start + len(part.text)] == part.text for part in parts)
        assert re.sub(r"\s", "", "".join(part.text for part in parts)) == re.sub(r"\s", "", text)


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="left right renal mass 3cm.,;-\n", max_size=200))
def test_mentions_are_in_order_and_do_not_overlap(text):
    ends = [0]
    for mention in scan(text):
        assert text[mention.start : mention.end] == mention.text
        assert mention.start >= ends[-1]
        ends.append(mention.end)


if __name__ == "__main__":
    read_broken_texts(10_000, seed=3)
