"""Property: the canonical text says exactly what the prompt says."""

import pytest
from hypothesis import given, settings

from manifests.anatomy import sites
from prompts.lexicon import phrases
from prompts.render import article, render
from prompts.rules import extract
from prompts.sampling import default_distribution
from prompts.schema import Patient, Prompt, Study, Tumour, tumour_organs
from prompts.testing import prompts


@settings(max_examples=100, deadline=None)
@given(prompts())
def test_reading_the_canonical_text_gives_the_prompt_back(prompt):
    found = extract(render(prompt))
    assert found.prompt == prompt
    assert found.dropped == ()


@settings(max_examples=40, deadline=None)
@given(prompts())
def test_evidence_lies_in_the_text_and_every_stated_field_has_some(prompt):
    text = render(prompt)
    evidence = {item.field: text[item.start : item.end] for item in extract(text).evidence}
    assert all(evidence.values())
    for part in ("patient", "study"):
        stated = getattr(prompt, part).model_dump(exclude_none=True)
        assert {f"{part}.{name}" for name in stated} == {name for name in evidence if name.startswith(part)}
    for number, tumour in enumerate(prompt.tumours):
        if tumour.size_mm is not None:
            assert str(tumour.size_mm).removesuffix(".0") in evidence[f"tumours.{number}.size_mm"]


@pytest.mark.parametrize("name", sorted(phrases()))
def test_every_structure_and_group_can_be_absent_or_enlarged(name):
    for kind in ("absent_organs", "enlarged_organs"):
        prompt = Prompt(**{kind: (name,)})
        assert extract(render(prompt)).prompt == prompt


@pytest.mark.parametrize(("organ", "site"), [(organ, site) for organ in tumour_organs() for site in sites(organ)])
def test_every_site_can_be_read_back(organ, site):
    prompt = Prompt(tumours=(Tumour(organ=organ, site=site, count=2, size_mm=12.5),))
    assert extract(render(prompt)).prompt == prompt


def test_drawn_prompts_survive_the_text():
    for index in range(60):
        prompt = default_distribution().draw(11, index)
        assert extract(render(prompt)).prompt == prompt


def test_the_text_of_one_prompt_is_pinned():
    """Any change here needs a new TEMPLATE_VERSION."""
    prompt = Prompt(
        patient=Patient(age_years=81, sex="female", race="asian", height_cm=158.5, weight_kg=60),
        study=Study(contrast_phase="portal_venous", region="abdomen_pelvis"),
        tumours=(
            Tumour(organ="colon", site="rectum", count=1, size_mm=42, t_stage="T3", n_stage="N1a", m_stage="M0"),
            Tumour(organ="liver", count=3, size_mm=20),
            Tumour(organ="lung", side="right"),
        ),
        absent_organs=("gallbladder",),
        enlarged_organs=("spleen",),
    )
    assert render(prompt) == (
        "An 81-year-old Asian woman, 158.5 cm tall, weighing 60 kg. In this imaging, a portal venous phase CT of the "
        "abdomen and pelvis shows one tumour of the rectum, measuring 42 mm, stage T3 N1a M0; three tumours of the "
        "liver, the largest measuring 20 mm; cancer of the right lung; the gallbladder is absent; the spleen is enlarged."
    )


@pytest.mark.parametrize(
    ("age", "sex", "words"),
    [
        (13.0, "male", "A 13-year-old boy."),
        (17.9, "female", "A 17.9-year-old girl."),
        (11.0, None, "An 11-year-old child."),
        (18.0, "male", "An 18-year-old man."),
        (8.5, None, "An 8.5-year-old child."),
        (80.0, "female", "An 80-year-old woman."),
        (110.0, None, "A 110-year-old person."),
        (None, "male", "A man."),
    ],
)
def test_children_are_no_men_and_articles_suit_the_number(age, sex, words):
    prompt = Prompt(patient=Patient(age_years=age, sex=sex))
    assert render(prompt).startswith(words)
    assert extract(render(prompt)).prompt == prompt


@pytest.mark.parametrize(
    ("words", "expected"), [("LUL mass", "An"), ("RCC", "An"), ("CT", "A"), ("Asian man", "An"), ("8 cm mass", "An")]
)
def test_an_article_suits_what_is_spoken(words, expected):
    assert article(words) == expected
