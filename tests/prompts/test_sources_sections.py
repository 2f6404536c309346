"""Sections of reports: headings of several habits, and spans that tile any text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.sources import SECTION_NAMES, split_sections

PARTS = {
    "Indication: pain. Findings: mass in the liver. Impression: cancer.": ["indication", "findings", "impression"],
    "EXAM:  ,CT ABDOMEN,REASON FOR EXAM:  ,Pain. ,TECHNIQUE:  ,5 mm,FINDINGS: ,Normal.  No findings: none,IMPRESSION:,1.": [
        "exam",
        "indication",
        "technique",
        "findings",
        "impression",
    ],
    "Klinische Angaben:\nSchmerz\nTechnik\nnativ\n\nBefund:\nLeber\r\nBeurteilung\r\nTumor": [
        "indication",
        "technique",
        "findings",
        "impression",
    ],
    "A 50-year-old man.\rCOMPARISON: none\rFINDINGS (CT chest): clear\rADDENDUM: left, not right": [
        "body",
        "comparison",
        "findings",
        "addendum",
    ],
    "\n\n**Findings:** x\n## Impression\ny": ["findings", "impression"],
    "The findings are normal, and the impression of a mass; history of cancer: yes. Report to follow": ["body"],
    "There is no prior study\nfor comparison in the report": ["body"],
    "Findings suggest cancer.\nTechnique was poor.": ["body"],
    "": [],
}


@pytest.mark.parametrize("text", PARTS)
def test_headings_part_a_report(text):
    assert [section.name for section in split_sections(text)] == PARTS[text]


def test_content_begins_after_the_heading():
    text = "FINDINGS (CT): Liver normal.\nIMPRESSION:\nNone"
    assert [text[part.content : part.end].strip() for part in split_sections(text)] == ["Liver normal.", "None"]


@given(
    st.lists(
        st.sampled_from(["Findings", "IMPRESSION:", "Befund:", ":", ",", "\n", "\r\n", " ", ".", "liver", "é"])
        | st.text(max_size=5)
    )
)
def test_sections_tile_any_text(pieces):
    text = "".join(pieces)
    parts = split_sections(text)
    assert "".join(text[part.start : part.end] for part in parts) == text
    assert all(part.start <= part.content <= part.end and part.name in SECTION_NAMES for part in parts)


@pytest.mark.real
def test_real_dictations_have_findings_or_an_impression(real_data):
    lines = (real_data / "texts" / "mtsamples_ct.jsonl").read_text(encoding="utf-8").splitlines()
    names = [{part.name for part in split_sections(json.loads(line)["text"])} for line in lines]
    assert sum(bool(found & {"findings", "impression"}) for found in names) >= 0.8 * len(names)
