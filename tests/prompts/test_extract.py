"""Rows of reports: the audit that every extractor passes, and what columns state beside the text."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.extract import audited, make_reject, make_row, read_by_rules
from prompts.extraction import Extraction
from prompts.grounding import may_be_english, verify
from prompts.rules import RULES_VERSION, extract
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.sources import Report, Stated, report_hash
from prompts.table import Evidence

TEXT = (
    "A 61-year-old woman. CT of the abdomen, portal venous phase. 34 mm mass in the left kidney. "
    "The spleen is enlarged. The gallbladder is surgically absent."
)
TUMOURS = (
    Tumour(organ="pancreas", size_mm=20),
    Tumour(organ="kidney", side="left", size_mm=34),
    Tumour(organ="liver", size_mm=50),
)


def claimed(prompt: Prompt, spans: dict[str, str]) -> Extraction:
    """An extraction that points at words of the text, rightly or not."""
    evidence = [Evidence(name, TEXT.index(words), TEXT.index(words) + len(words)) for name, words in spans.items()]
    return Extraction(prompt, tuple(evidence))


def test_what_the_text_states_passes_untouched() -> None:
    found = extract(TEXT)
    assert found.prompt.tumours == (TUMOURS[1],)
    assert audited(TEXT, found) == found


def test_invented_fields_go_and_the_rest_keeps_its_evidence() -> None:
    words = {"organ": "left kidney", "size_mm": "34 mm", "side": "left kidney"}
    spans = {"patient.sex": "woman", "patient.race": "woman"}
    for number in range(3):
        spans |= {f"tumours.{number}.{name}": quote for name, quote in words.items() if number == 1 or name != "side"}
    prompt = Prompt(
        patient=Patient(sex="female", race="white", height_cm=170.0),
        study=Study(region="chest"),
        tumours=TUMOURS,
        absent_organs=("prostate",),
    )
    found = audited(TEXT, claimed(prompt, spans))
    assert found.prompt == Prompt(patient=Patient(sex="female"), tumours=(TUMOURS[1],))
    assert {item.field for item in found.evidence} == {
        "patient.sex",
        *(f"tumours.0.{name}" for name in words),
    }
    assert verify(TEXT, found) == ()
    dropped = {item.field.split(".")[-1] for item in found.dropped}
    assert {"race", "height_cm", "region"} <= dropped


NAMES = ["patient.sex", "patient.age_years", "study.region", "tumours.0.organ", "tumours.0.size_mm", "tumours.1.organ"]


@given(
    spans=st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 150), st.integers(0, 40)), max_size=6),
    sex=st.sampled_from([None, "male", "female"]),
    age=st.sampled_from([None, 34.0, 61.0]),
    region=st.sampled_from([None, "abdomen", "torso"]),
    tumours=st.lists(st.sampled_from(TUMOURS), max_size=3, unique=True),
)
def test_after_the_audit_the_audit_finds_nothing(spans, sex, age, region, tumours) -> None:
    """Whatever was claimed with whatever spans, and only ever less than was claimed."""
    prompt = Prompt(patient=Patient(sex=sex, age_years=age), study=Study(region=region), tumours=tuple(tumours))
    evidence = tuple(Evidence(name, start, start + length) for name, (start, length) in spans.items())
    found = audited(TEXT, Extraction(prompt, evidence))
    assert verify(TEXT, found) == ()
    assert found.prompt.patient.sex in (None, sex)
    assert {tumour.organ for tumour in found.prompt.tumours} <= {tumour.organ for tumour in tumours}
    assert {item.field.split(".")[0] for item in found.evidence} <= {name.split(".")[0] for name in spans}


@pytest.mark.parametrize(
    ("attributes", "patient", "flags"),
    [
        ({}, Patient(age_years=61, sex="female"), ()),
        ({"patient.sex": "female"}, Patient(age_years=61, sex="female"), ()),
        (
            {"patient.race": "white"},
            Patient(age_years=61, sex="female", race="white"),
            ("patient.race=white: from column x",),
        ),
        ({"patient.age_years": 61.7}, Patient(age_years=61, sex="female"), ()),
        ({"patient.sex": "male"}, Patient(age_years=61, sex="female"), ("patient.sex: text female, column x male",)),
        (
            {"patient.age_years": 62.4},
            Patient(age_years=61, sex="female"),
            ("patient.age_years: text 61.0, column x 62.4",),
        ),
    ],
)
def test_columns_fill_what_the_text_leaves_open(attributes, patient, flags) -> None:
    stated = {name: Stated(value, "column x") for name, value in attributes.items()}
    (row,) = read_by_rules([Report("t#0", TEXT, stated)])
    assert (row.prompt.patient, row.flags) == (patient, flags)


def test_a_column_that_contradicts_the_text_is_left_out() -> None:
    (row,) = read_by_rules(
        [Report("t#0", "CT: 3 cm mass in the prostate.", {"patient.sex": Stated("female", "column sex")})]
    )
    assert row.prompt.patient.sex is None
    assert row.flags == ("left out patient.sex=female: from column sex, contradicts the text",)


def test_rows_name_their_report_and_hold_its_text_only_where_asked() -> None:
    report = Report("t.csv#3:A7", TEXT)
    (row,) = read_by_rules([report])
    assert (row.source, row.extractor, row.report_hash) == (report.source, RULES_VERSION, report_hash(TEXT))
    assert row.report_text is None
    assert make_row(report, extract(TEXT), "x", keep_text=True) == replace(row, extractor="x", report_text=TEXT)


@pytest.mark.parametrize(
    ("source", "row", "label"),
    [("t.csv#3:A7", 3, "A7"), ("t.csv#12", 12, ""), ("folder#a/b.txt", 9, "a/b.txt"), ("plain", 9, "")],
)
def test_rejects_say_where(source: str, row: int, label: str) -> None:
    reject = make_reject(Report(source, TEXT), 9, "refusal")
    assert (reject.source, reject.row, reject.reason) == (source.partition("#")[0], row, "refusal")
    assert reject.id.endswith(label)


def test_the_rules_judge_no_foreign_report() -> None:
    assert may_be_english("A 63-year-old woman with a mass in the left kidney.")
    assert not may_be_english("Une femme de 63 ans avec une tumeur du rein gauche et des lésions dans le foie.")
