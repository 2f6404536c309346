"""The words of a prompt's fields, drawn from `words.toml`: what the templates of the forms are filled with.

Every word states its attribute exactly: sizes change unit by moving the decimal point, infants may
count in months where that is exact, and what has no exact wording in a style has none.
"""

import tomllib
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from importlib.resources import files
from types import MappingProxyType

from prompts.lexicon import number_word, phrase
from prompts.paraphrase.template import Draw, Filled
from prompts.render import ADULT_YEARS
from prompts.schema import Patient, Prompt, Study, Tumour

__all__ = ["Words", "organ_words", "patient_words", "study_words", "tumour_words", "words"]

Words = dict[str, Filled | None]
"""Words of each field; None where the prompt leaves it unstated or a style has no exact words."""

_LONG = {"mm": " millimetres", "cm": " centimetres"}


@cache
def words(section: str) -> MappingProxyType[str, tuple[str, ...]]:
    """One section of `words.toml`: the wordings of each key."""
    tables = tomllib.loads(files("prompts.paraphrase").joinpath("words.toml").read_text(encoding="utf-8"))
    return MappingProxyType(
        {key: (value,) if isinstance(value, str) else tuple(value) for key, value in tables[section].items()}
    )


def _number(value: float) -> str:
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _shifted(value: float, places: int) -> str:
    """The exact decimal text of a number with the decimal point moved."""
    text = format(Decimal(repr(value)).scaleb(places), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _pick(options: tuple[str, ...], draw: Draw) -> str:
    return options[draw(len(options))]


def _said(name: str) -> Callable[[str | None], Filled | None]:
    """Words that state one attribute; None where there are none."""
    return partial(_state, frozenset({name}))


def _state(names: frozenset[str], text: str | None) -> Filled | None:
    return None if text is None else Filled(text, names)


def patient_words(patient: Patient, draw: Draw) -> Words:
    """Words for who is scanned."""
    age = _said("patient.age_years")
    years = patient.age_years
    two_digits = years is not None and years.is_integer() and 10 <= years < 100
    number = None if years is None else _number(years)
    months = None if years is None else _months(years)
    sexes = _sex_words(patient, draw)
    apart = _pick(("-year-old", " year old", "-yr-old", "-year-old"), draw)
    height, weight = patient.height_cm, patient.weight_kg
    tall = None
    if height is not None:
        tall = f"{_number(height)} cm" if draw(2) else f"{_shifted(height, -2)} {_protect('m')}"
    return {
        "age": age(number),
        "age_adj": age(f"{months}-month-old" if months else number and f"{number}{apart}"),
        "age_digits": age(number if two_digits else None),
        "initial": sexes["sex_letter"] if two_digits or years is None else None,
        "years_old": age(number and f"{number} {_pick(('years old', 'years of age'), draw)}"),
        "yo": age(number and number + _pick(("yo", " y/o", " yo", " y.o."), draw)),
        **sexes,
        **_race_words(patient, draw),
        "height": _said("patient.height_cm")(tall),
        "weight": _said("patient.weight_kg")(None if weight is None else f"{_number(weight)} kg"),
    }


def _months(years: float) -> int | None:
    """Age in whole months, if that is what reading it back gives and children are counted so."""
    months = round(years * 12)
    return months if 1 < months < 24 and months % 12 and round(months / 12, 2) == years else None


def _sex_words(patient: Patient, draw: Draw) -> Words:
    sex = patient.sex
    child = patient.age_years is not None and patient.age_years < ADULT_YEARS
    person = _pick(words("person")[(sex or "unstated") + ("_child" if child else "")], draw)
    said = _said("patient.sex")
    return {
        "person": said(person) if sex else Filled(person),
        "sex": said(sex),
        "sex_letter": said(_protect(sex[0].upper()) if sex else None),
        "subject": Filled({"male": "he", "female": "she", None: "the patient"}[sex]),
    }


def _race_words(patient: Patient, draw: Draw) -> Words:
    """Race before the person; "of other race" and what has no adjective stand after."""
    race = patient.race
    said = _said("patient.race")
    known = words("race").get(race or "")
    return {
        "race": said(_pick(known, draw) if known else None),
        "race_after": said("of other race" if race == "other" else None),
        "race_label": said(_pick(known, draw) if known else None),
    }


def _protect(text: str) -> str:
    """Mark text whose letter case means something ("T1a", "F") against changes of case."""
    return f"\ue000{text}\ue001"


def study_words(study: Study, draw: Draw) -> Words:
    """Words for how the scan is made."""
    phase, region = study.contrast_phase, study.region
    phase_said, region_said = _said("study.contrast_phase"), _said("study.region")
    device = _pick(("CT", "CT scan", "CT"), draw)
    before = _pick(words("phase")[phase], draw) if phase else None
    return {
        "ct": Filled(device),
        "phase": phase_said(before),
        "phase_after": phase_said(_pick(words("phase_after")[phase], draw) if phase else None),
        "region": region_said(_pick(words("region")[region], draw) if region else None),
        "region_adj": region_said(_pick(words("region_adjective")[region], draw) if region else None),
        "negatives": Filled(_negatives(study, draw)),
    }


def _negatives(study: Study, draw: Draw) -> str:
    """Two or three habitual denials that suit the region and state no attribute."""
    known = words("negative")
    region = study.region or ""
    options = list(known["any"])
    options += known["chest"] if "chest" in region or region == "torso" else ()
    options += known["abdomen"] if "abdomen" in region or region == "torso" else ()
    return " ".join(options.pop(draw(len(options))) for _ in range(2 + draw(2)))


def tumour_words(tumour: Tumour, number: int, unit: str, draw: Draw) -> Words:
    """Words for one tumour entry; `unit` is that of sizes ("mm", "cm", ...)."""
    at = f"tumours.{number}."
    several = (tumour.count or 1) > 1
    place = frozenset(at + name for name in ("organ", "site", "side") if getattr(tumour, name))
    nouns = {kind: _pick(words("tumour")[kind], draw).split("|")[several] for kind in ("strict", "loose", "lesion")}
    counted = frozenset({at + "count"})
    some = Filled("{a}") if tumour.count is None else Filled(_count(tumour.count, draw), counted)
    cancer = Filled(_pick(words("tumour")["open"], draw))
    if tumour.count is not None:
        cancer = Filled(f"{some.text} {nouns['strict']}", counted)
    size = _said(at + "size_mm")(None if tumour.size_mm is None else _size(tumour.size_mm, unit))
    diagnosis = words("diagnosis").get(tumour.organ) if tumour.count is None else None
    return {
        "some": some,
        "tumour": Filled(nouns["strict"]),
        "mass": Filled(nouns["loose"]),
        "lesion": Filled(nouns["lesion"]),
        "open": cancer if tumour.count is None else None,
        "cancer": cancer,
        "diagnosis": Filled(_pick(diagnosis, draw)) if diagnosis else None,
        "place": Filled(_place(tumour, "place", draw), place),
        "place_adj": Filled(_place(tumour, "adjective", draw), place),
        "place_short": Filled(_place(tumour, "short", draw), place),
        **_sided_words(tumour, place, draw),
        "size": size,
        "one_size": None if several else size,
        "largest_size": size if several else None,
        "size_long": _said(at + "size_mm")(
            None if tumour.size_mm is None else _size(tumour.size_mm, _LONG[unit.strip()])
        ),
        "measuring": Filled("the largest measuring" if several else "measuring"),
        "stage": _stage(tumour, at, draw),
    }


def _sided_words(tumour: Tumour, place: frozenset[str], draw: Draw) -> Words:
    """The organ apart from its side ("kidney cancer on the left"), where the side says all of the place."""
    sides = {"left", "right"} & {tumour.side}
    alone = bool(sides) and tumour.organ in ("kidney", "adrenal_gland", "lung")
    whole = alone and (tumour.site is None or tumour.organ != "lung")
    return {
        "organ_adj": Filled(_pick(words("adjective")[tumour.organ], draw)) if whole else None,
        "side": Filled(str(tumour.side), place) if whole else None,
    }


def _place(tumour: Tumour, style: str, draw: Draw) -> str:
    sided = f"{tumour.organ} {tumour.side}" if tumour.site is None and tumour.side else None
    key = tumour.site or sided or tumour.organ
    options = words(style).get(key) or words("place").get(key)
    assert options, f"no words for {key}"
    return _pick(options, draw)


def _count(count: int, draw: Draw) -> str:
    if count == 1:
        return _pick(words("count")["one"], draw)
    return number_word(count) if draw(2) else str(count)


def _size(size_mm: float, unit: str) -> str:
    number = _shifted(size_mm, -1) if unit.strip().startswith("c") else _number(size_mm)
    return number + unit


def _stage(tumour: Tumour, at: str, draw: Draw) -> Filled | None:
    parts = {name: getattr(tumour, name) for name in ("t_stage", "n_stage", "m_stage")}
    stated = {at + name: value for name, value in parts.items() if value}
    text = _pick((" ", "", " "), draw).join(stated.values())
    return Filled(_protect(text), frozenset(stated)) if stated else None


def organ_words(prompt: Prompt, draw: Draw) -> Words:
    """Words for absent and enlarged organs: clauses, clauses as sentences, and notes."""
    clauses, notes = list[str](), list[str]()
    for kind, names in (("absent", prompt.absent_organs), ("enlarged", prompt.enlarged_organs)):
        for name in names:
            verb = _pick(("is", "appears") if kind == "enlarged" else ("is",), draw)
            clauses.append(f"the {phrase(name)} {verb} {kind}")
            notes.append(_pick((f"{kind} {phrase(name)}", *words(kind).get(name, ())), draw))
    stated = frozenset(name for name in ("absent_organs", "enlarged_organs") if getattr(prompt, name))
    joined = {"states": "; ".join(clauses), "states_short": "; ".join(notes), "states_full": ". ".join(clauses)}
    return {name: Filled(text, stated) if stated else None for name, text in joined.items()}
