"""Reading long reports: transcribed, structured, translated, with and without tumours, normal ones above all."""

import tomllib
from pathlib import Path

import pytest

from prompts.grounding import verify
from prompts.rules import extract
from prompts.rules.clauses import body_end
from prompts.schema import parse_prompt

REPORTS = {
    report["name"]: (report["text"], parse_prompt(report["prompt"]))
    for report in tomllib.loads(Path(__file__).with_name("reports.toml").read_text(encoding="utf-8"))["report"]
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_long_report_states_this_prompt(name):
    text, expected = REPORTS[name]
    assert extract(text).prompt == expected


@pytest.mark.parametrize("name", REPORTS)
def test_every_value_of_a_long_report_is_stated_at_its_evidence(name):
    text, _ = REPORTS[name]
    assert verify(text, extract(text)) == ()


# text: age and sex, where other people, instruments and abbreviations are spoken of
PEOPLE = {
    "MR imaging of the liver, then CT.": (None, None),
    "MS: alert. History of MS.": (None, None),
    "HER-2 positive carcinoma": (None, None),
    "Carcinoma, HER 2.": (None, None),
    "Unenhanced CT, man 2.173 m tall.": (None, "male"),
    "The bundle of His is normal.": (None, None),
    "A female catheter was placed.": (None, None),
    "A male fetus is seen.": (None, None),
    "Dr. Jones has read the scan; he agrees.": (None, None),
    "Reviewed by Mr. Brown, FRCS.": (None, None),
    "Discussed with the nurse, Mrs. Lee. She will tell the ward.": (None, None),
    "Series 12 F shows the cyst.": (12.0, None),
    "The grandfather was a male smoker.": (None, None),
    "Compare the 3-year-old CT.": (None, None),
    "Age 44 on the previous scan": (None, None),
    "Mr T., 64 years. CT of the chest.": (64.0, "male"),
    "A 45-year-old man was brought in by his mother.": (45.0, "male"),
    "Age/Sex: 61 Yrs / F. Ref by: Dr. (Mr) Rao.": (61.0, "female"),
    "CT of the knee was normal.orthopedic, knee, male, ct, 40-year-old man": (None, None),
    "No fracture. Keywords: female, wrist": (None, None),
}


@pytest.mark.parametrize("text", PEOPLE)
def test_only_the_patient_gives_age_and_sex(text):
    patient = extract(text).prompt.patient
    assert (patient.age_years, patient.sex) == PEOPLE[text]


@pytest.mark.parametrize(
    "text", ["", "Mass in the liver, cyst, stone, spleen", "A mass.", "liver mass, cyst, stone, large spleen"]
)
def test_a_list_of_findings_is_no_list_of_keywords(text):
    assert body_end(text) == len(text)


# text: organs that are enlarged
ENLARGED = {
    "Liver and spleen are increased in size.": ("liver", "spleen"),
    "The liver measures 19.1 cm and is enlarged.": ("liver",),
    "Nodes of the liver and spleen enlarged since June": (),
    "Enlargement of the inferior vena cava": (),
}


@pytest.mark.parametrize("text", ENLARGED)
def test_enlarged_organs_of_long_reports(text):
    assert set(extract(text).prompt.enlarged_organs) == set(ENLARGED[text])
