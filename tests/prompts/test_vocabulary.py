"""Real spellings of every closed vocabulary: each gives the right value or none, never a wrong one."""

import re
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.anatomy import PHASES, sites
from manifests.errors import UnknownNameError
from prompts.schema import REGIONS, tumour_organs
from prompts.vocabulary import VOCABULARIES, is_listed, normalise

# value: spellings divided by "|"; "-" is unstated. Written from the dictionaries of TCIA, GDC, HL7, OMB, DICOM, ICD-O and
# AJCC, and from what hospital exports hold; not from the table under test.
SPELLINGS = {
    "sex": {
        "male": "male|Male|MALE|M|m|man|Man|boy|M (male)|male (M)|Male patient|gentleman|männlich|Mann|masculin|homme|hombre"
        "|248153007|cisgender male| male |M.",
        "female": "female|Female|FEMALE|F|f|woman|girl|F (female)|female, F|weiblich|W|Frau|féminin|femme|mujer|248152002"
        "|adult female|lady|F.|(female)",
        "-": "unknown|U|O|X|other|Other|not reported|unspecified|transgender|transgender_male_to_female|female to male|0|1|2|9"
        "|NA|n/a||'--|intersex|indeterminate|M/F|male or female|malefemale|fe male|femal|T1|M0|F1|mail|woman?|not male|-|?"
        "|ambiguous|divers|[Not Available]|Not Allowed To Collect|asked but unknown",
    },
    "race": {
        "white": "White|WHITE|white|Caucasian|Caucasian/White|White or Caucasian|European|White - Hispanic|White, non-Hispanic"
        "|Non-Hispanic White|white british|2106-3|WHITE NOT HISPANIC OR LATINO|European American",
        "black": "Black|Black or African American|BLACK OR AFRICAN AMERICAN|African American|African-American|Black/African American"
        "|2054-5|Non-Hispanic Black|Black - Hispanic|Afro-Caribbean|Black African|afro american",
        "asian": "Asian|ASIAN|Asian Indian|Chinese|Japanese|Korean|Filipino|South Asian|2028-9|Vietnamese|asian american",
        "native_american": "American Indian|American Indian or Alaska Native|american indian or alaskan native|Alaska Native"
        "|Native American|American Indian/Alaska Native|1002-5|First Nations|native_american|AMERICAN INDIAN OR ALASKA NATIVE",
        "pacific_islander": "Native Hawaiian or Other Pacific Islander|NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER|Pacific Islander"
        "|other Pacific Islander|Hawaiian|Samoan|Guamanian or Chamorro|2076-8|Native Hawaiian|native hawaiian/pacific islander",
        "other": "Other|other race|Some other race|2131-1",
        "-": "unknown|Unknown|not reported|Native|Indian|not hispanic or latino|Hispanic or Latino|Latino|non-white|not white"
        "|More than one race|multiracial|Mixed|Asian or Pacific Islander|declined to answer|Middle Eastern|0|1|2|U||W|B|N/A"
        "|white/black|Black or White|off-white|whitehall|[Not Evaluated]|Not Allowed To Collect|Caucasus|african elephant|blackish",
    },
    "organ": {
        "kidney": "Kidney|Kidney, NOS|KIDNEY|C64.9|C649|renal|left kidney|C64.1|Niere|kidneys",
        "lung": "Bronchus and lung|Lung, NOS|Upper lobe, lung|Middle lobe, lung|Lower lobe, lung|C34.1|C34.31|LUNG|Overlapping lesion of lung",
        "liver": "Liver|Liver and intrahepatic bile ducts|LIVER|C22.0|C22.1|Intrahepatic bile duct|Leber",
        "colon": "Colon|Colon, NOS|Sigmoid colon|Ascending colon|Cecum|Hepatic flexure of colon|Rectosigmoid junction|Rectum, NOS"
        "|COLON|C18.2|C18.2 Ascending colon|C18.9|C19.9|C20|C20.9|colorectal|large bowel",
        "pancreas": "Pancreas|Head of pancreas|Tail of pancreas|Pancreas, NOS|C25.0|PANCREAS",
        "stomach": "Stomach|Stomach, NOS|Gastric antrum|Cardia, NOS|C16.9|Lesser curvature of stomach, NOS",
        "esophagus": "Esophagus|Oesophagus|Lower third of esophagus|C15.5",
        "urinary_bladder": "Bladder|Bladder, NOS|Urinary bladder|Trigone of bladder|C67.9|Lateral wall of bladder",
        "prostate": "Prostate|Prostate gland|C61.9|PROSTATE",
        "uterus": "Corpus uteri|Endometrium|Uterus, NOS|C54.1|C55.9|uterine corpus",
        "thyroid_gland": "Thyroid gland|THYROID|C73.9",
        "adrenal_gland": "Adrenal gland|Adrenal gland, NOS|Cortex of adrenal gland|C74.0|adrenal",
        "gallbladder": "Gallbladder|gall bladder|C23.9",
        "duodenum": "Duodenum|C17.0",
        "small_bowel": "Small intestine|Jejunum|small bowel|C17.2",
        "spleen": "Spleen|C42.2",
        "-": "Breast, NOS|Cervix uteri|Ovary|C50.9|C53.9|C56.9|Renal pelvis|C65.9|Ureter|Appendix|C18.1|Anus, NOS|Unknown|Not Reported"
        "|CHEST|ABDOMEN|Head-Neck|Other and ill-defined sites|Thymus|Testis, NOS|C78.0|C78.7|bladder neck pain|Extrahepatic bile duct"
        "|kidney bean|C99.9|C18.2 Liver|0|1||liverpool|gall|adnexa|not the liver",
    },
    "site": {
        "colon_ascending": "Ascending colon|Cecum|caecum|C18.2|C18.0|colon_ascending",
        "colon_transverse": "Transverse colon|C18.4",
        "colon_descending": "Descending colon|C18.6",
        "colon_sigmoid": "Sigmoid colon|SIGMOID COLON|C18.7|C187",
        "rectum": "Rectum, NOS|Rectum|C20.9",
        "lung_upper_lobe_left": "LUL|Left upper lobe|upper lobe of the left lung|lung_upper_lobe_left|C34.12",
        "lung_lower_lobe_left": "LLL|left lower lobe|C34.32",
        "lung_upper_lobe_right": "RUL|Right Upper Lobe|C34.11",
        "lung_middle_lobe_right": "RML|Middle lobe, lung|C34.2|right middle lobe",
        "lung_lower_lobe_right": "RLL|Right lower lobe|C34.31",
        "kidney_left": "left kidney|Kidney, left|C64.2",
        "kidney_right": "Right Kidney|kidney_right|C64.1",
        "adrenal_gland_left": "left adrenal gland|C74.92",
        "liver": "Liver|C22.0",
        "pancreas": "Head of pancreas|Tail of pancreas",
        "urinary_bladder": "Bladder, NOS",
        "-": "Colon, NOS|Hepatic flexure of colon|Splenic flexure of colon|C18.3|C18.5|Rectosigmoid junction|C19.9|Appendix|C18.1"
        "|Upper lobe, lung|C34.1|Lung, NOS|left lung|Kidney, NOS|C64.9|Breast, NOS|Unknown|Not Reported|0|1||upper|lobe|C18.7 Rectum",
    },
    "side": {
        "left": "left|Left|LEFT|L|l|Lt|LT.|left side|Left-sided|links|linksseitig|gauche|7771000|left: origin of primary|(L)|izquierda|l - left",
        "right": "right|Right|RIGHT|R|r|Rt|RT|right side|right-sided|rechts|rechtsseitig|24028007|Right - origin of primary|derecha|r.",
        "-": "bilateral|Bilateral|BILATERAL|B|both|left and right|left/right|L/R|midline|Midline|Unilateral|Unknown|not reported|U|X|N/A"
        "||0|1|2|beidseits|sin|not paired|upright|leftover|bright|rl|l2|contralateral|right or left|not left|LR|[Not Available]",
    },
    "contrast_phase": {
        "native": "native|Native phase|non-contrast|Non Contrast|noncontrast CT|unenhanced|without contrast|w/o contrast|NCCT|plain|pre-contrast"
        "|nativ|ohne KM|no IV contrast|non-enhanced",
        "arterial": "arterial|Arterial phase|late arterial|late-arterial phase|ART|corticomedullary|Cortico-medullary|early arterial|arteriell"
        "|ARTERIAL PHASE",
        "portal_venous": "portal venous|Portal-Venous|portal_venous|PV|PVP|venous|Venous phase|portovenous|portalvenös|hepatic venous",
        "delayed": "delayed|Delayed phase|late phase|excretory|equilibrium|urographic|DELAY|Spätphase|5 min delayed",
        "-": "contrast|with contrast|C+|contrast-enhanced|post-contrast|yes|no|0|1|2|none|unknown|nephrographic|triphasic|arterial and portal venous"
        "|CTA|CT angiography|CTPA|native american|hepatobiliary|with and without contrast|W/WO||not arterial|arterial?|plainly|late|70|oral contrast",
    },
    "region": {
        "chest": "CHEST|Thorax|chest|CT chest",
        "abdomen": "ABDOMEN|Abdomen|upper abdomen",
        "chest_abdomen": "CHESTABDOMEN|chest and abdomen|Thorax/Abdomen",
        "abdomen_pelvis": "ABDOMENPELVIS|abdomen and pelvis|ABDOMEN_PELVIS|Abdomen, Pelvis",
        "torso": "CHESTABDPELVIS|CHEST_ABDOMEN_PELVIS|chest, abdomen and pelvis|CAP|TAP|torso",
        "-": "AP|PELVIS|HEAD|Head-Neck|WHOLEBODY|BREAST|EXTREMITY|unknown||0|KNEE|SPINE|abdominal aorta|chest pain|KIDNEY|none|x|HEART|neck|brain|NA",
    },
    "t_stage": {
        "Tis": "Tis|TIS|Tis (DCIS)|Tis(LCIS)|pTis|cTis",
        "T0": "T0|ypT0|pT0",
        "T1": "T1|pT1|cT1|T1mi|T1 NOS|Stage T1",
        "T1a": "T1a|pT1a|1a|T1a1|pT1a(m)|T1A",
        "T1b": "T1b|pT1b|T1b2|1b|pT1b N0 M0",
        "T1c": "T1c|cT1c",
        "T2": "T2|T2 NOS|uT2|T2d|pT2 (2)|AJCC 8th ed. T2",
        "T2a": "T2a|pT2a|T2a1|ypT2a|pT2aN1M0",
        "T2b": "pT2b",
        "T2c": "cT2c",
        "T3": "T3|cT3|rpT3|ypT3, N1",
        "T3a": "pT3a|3A",
        "T3b": "T3b",
        "T4": "T4|T4d|cT4",
        "T4a": "T4a (m)|T4a|pT4a pN2b cM1",
        "T4b": "T4b",
        "-": "TX|Tx|X|0|1|2|T1x|T5|T9|T12|T1-2|T1/T2|T1 or T2|T2-T3|Ta|T|unknown|not reported|III|Stage IIIA|I|F|M|N1|M0||T3?|T L5|T10 vertebra"
        "|T01|is|na|[Not Evaluated]|>T2|T≥2|not T2",
    },
    "n_stage": {
        "N0": "N0|pN0|cN0|N0(i+)|N0 (i-)|N0 (mol+)|ypN0|pT2a N0 M0|N0(sn)|Stage N0",
        "N1": "N1|pN1|cN1|N1mi|N1(mi)|N1 NOS",
        "N1a": "N1a|pN1a|1a|N1A",
        "N1b": "N1b|pN1b|ypN1b|N1bIII",
        "N1c": "N1c|Stage pN1c|pN1c",
        "N2": "N2|N2c|cN2|pT3 pN2 cM0|N2 NOS",
        "N2a": "N2a|pN2a",
        "N2b": "N2b|pN2b",
        "N3": "N3|N3a|N3b|pN3c|cN3",
        "-": "NX|Nx|X|0|1|2|N4|N+|N|N1-2|N0/N1|N1 or N2|unknown|not reported|NA|node|No|NO|N9|N1x|positive|M0|T1||N1?|N12|None|nil|(N|n/a|[Not Available]|no",
    },
    "m_stage": {
        "M0": "M0|cM0|M0(i+)|cM0 (i+)|pT1 N0 M0|Stage M0|M0 NOS|m0|M0 (mol+)",
        "M1": "M1|pM1|cM1|M1d|M1 NOS|T4 N2 M1|(M1)|m1",
        "M1a": "M1a|pM1a|cT2 N0 M1a|M1A|1a",
        "M1b": "M1b|cM1b|M1b(0)|pM1b|1b",
        "M1c": "M1c|M1c1|M1c2|pM1c|1c",
        "-": "MX|Mx|X|0|1|M|m|M2|M3|male|N0|T1|unknown|not reported|M0/M1|M0 or M1|M1?|metastatic|yes|no||pMX|N/A|M01|M1x|Mo|MI|not M1|[Unknown]|--",
    },
}
ROWS = [
    (field, value, word)
    for field, table in SPELLINGS.items()
    for value, words in table.items()
    for word in words.split("|")
]


def test_every_vocabulary_has_forty_spellings():
    assert set(SPELLINGS) == set(VOCABULARIES)
    for field in VOCABULARIES:
        assert len({word for of, _, word in ROWS if of == field}) >= 40


@pytest.mark.parametrize("field", VOCABULARIES)
def test_a_spelling_gives_its_value_or_none(field):
    wrong = {
        word: found
        for of, value, word in ROWS
        if of == field and (found := normalise(field, word)) != (None if value == "-" else value)
    }
    assert wrong == {}


@given(
    st.sampled_from(ROWS),
    st.lists(st.sampled_from([" ", ".", ",", ";", ":", '"', "(", ")", "[", "]", "\t", "\n"]), max_size=3),
    st.lists(st.sampled_from([" ", ".", ",", ";", ":", '"', ")", "]", "\t", "\n"]), max_size=3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_case_spaces_and_punctuation_around_change_nothing(row, before, after, random):
    field, _, word = row
    shouted = "".join(random.choice([letter.upper(), letter.lower()]) for letter in word)
    shouted = shouted if shouted.casefold() == word.casefold() else word
    assert normalise(field, "".join(before) + shouted + "".join(after)) == normalise(field, word)


@given(
    st.sampled_from(VOCABULARIES), st.text(max_size=12) | st.from_regex(r"[a-z]{4,12}( [a-z]{2,9})?", fullmatch=True)
)
@settings(max_examples=150, deadline=None)
def test_other_words_are_unstated(field, word):
    if not is_listed(field, word):
        assert normalise(field, word) is None
        assert normalise(field, f"not {word}") is None


@given(st.sampled_from(ROWS), st.sampled_from(["suspected", "former", "7", "?", ">", "~"]))
@settings(max_examples=120, deadline=None)
def test_a_modifier_that_is_not_understood_leaves_the_field_unstated(row, modifier):
    assert normalise(row[0], f"{modifier} {row[2] or 'x'}") is None


@given(st.from_regex(r"[cpyra]{0,2}[TNM] ?[0-9][a-e]?[1-3]?( ?\\((m|i[+]|sn|2)\\))?( NOS)?", fullmatch=True))
@settings(max_examples=150, deadline=None)
def test_a_class_is_read_as_itself_or_as_the_class_above_it(text):
    bare = re.sub(r"[^TNM]*([TNM]) ?(\d[a-e]?[1-3]?).*", r"\1\2", text)
    for field, letter in (("t_stage", "T"), ("n_stage", "N"), ("m_stage", "M")):
        value = normalise(field, text)
        assert value is None or (letter == bare[0] and bare.startswith(value))


def test_no_spelling_has_two_values():
    tables = tomllib.loads(files("prompts").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    for field in VOCABULARIES:
        for value, words in tables[field].items():
            assert {normalise(field, word) for word in words} == {None if value == "unstated" else value}


def test_values_are_those_of_the_schema():
    known = {
        "organ": set(tumour_organs()),
        "site": {site for organ in tumour_organs() for site in sites(organ)},
        "contrast_phase": set(PHASES),
        "region": set(REGIONS),
    }
    for field, values in known.items():
        assert {normalise(field, value) for value in values} == values


def test_an_unknown_vocabulary_is_an_error():
    with pytest.raises(UnknownNameError, match="contrast_phase"):
        normalise("phase", "native")
