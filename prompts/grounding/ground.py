"""From an answer to an extraction: what the text states is kept with its place, the rest is dropped with its reason."""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from manifests.errors import InputError
from prompts.extraction import Dropped, Extraction
from prompts.grounding import patient
from prompts.grounding.measures import MM_OF, number
from prompts.grounding.organs import state_check
from prompts.grounding.patient import Check, stated
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.tumours import (
    count_at,
    organ_at,
    plausible_mm,
    side_at,
    site_at,
    size_check,
    stage_check,
)
from prompts.llm.answer import OTHER, Answer, OrganAnswer, TumourAnswer
from prompts.schema import Prompt, parse_prompt
from prompts.table import Evidence

__all__ = ["ground"]

_MOST_TUMOURS = 40
"""Entries of an answer that are looked at; no report has as many tumours of ours."""
_NUMERIC = re.compile(r"[\d.,+-]{1,8}", re.ASCII)
_CONTRADICTS = "contradicts the rest or is out of range"


@dataclass(slots=True)
class _Draft:
    """A prompt in the making: valid after each step."""

    reading: Reading
    content: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)

    def drop(self, name: str, value: str, reason: str) -> None:
        """Record a value that is left out."""
        self.dropped.append(Dropped(name, value, reason))

    def accepts(self, part: str, value: Any) -> bool:
        """Take over one part of the content if the prompt stays valid."""
        if _parsed({**self.content, part: value}) is None:
            return False
        self.content[part] = value
        return True

    def find(self, quote: str, check: Check) -> tuple[Span | None, str]:
        """The first place of a quote that passes a check, or None and what the first place failed."""
        if not quote.strip():
            return None, "no quote"
        reason = "quote not in the text"
        for place, span in enumerate(self.reading.locate(quote)):
            problem = check(self.reading, span)
            if not problem:
                return span, ""
            reason = problem if place == 0 else reason
        return None, reason


def ground(text: str, answer: Answer) -> Extraction:
    """Keep what the text states of an answer; the rest is dropped to unstated, with its reason.

    Every field of the prompt has evidence in the text, except what follows from others (the side of a site, the
    only site of an organ). Nothing is raised for any answer or text.
    """
    draft = _Draft(Reading(text))
    for name, claim, value, quote, check in _claims(answer):
        _settle(draft, (name, claim, value), quote, check)
    for entry in answer.tumours[:_MOST_TUMOURS]:
        if entry.status == "present" and entry.organ != OTHER:
            _add_tumour(draft, entry)
    for organ in answer.organs[:_MOST_TUMOURS]:
        _add_organ(draft, organ)
    prompt = parse_prompt(draft.content)
    return Extraction(prompt, _evidence(draft, prompt), tuple(draft.dropped))


def _claims(answer: Answer) -> list[tuple[str, str, Any, str, Check]]:
    """Fields of patient and study: name, claim as text, value for the prompt, quote, check."""
    years = patient.years_of(answer.age, answer.age_unit)
    height = patient.body_value(answer.height, answer.height_unit, "height")
    weight = patient.body_value(answer.weight, answer.weight_unit, "weight")
    tall, heavy = (answer.height, answer.height_unit, "height"), (answer.weight, answer.weight_unit, "weight")
    claims = [
        ("patient.age_years", answer.age, years, answer.age_quote, partial(patient.age, years or 0.0)),
        ("patient.sex", answer.sex, answer.sex, answer.sex_quote, partial(patient.sex, answer.sex)),
        ("patient.race", answer.race, answer.race, answer.race_quote, partial(patient.race, answer.race)),
        ("patient.height_cm", answer.height, height, answer.height_quote, partial(patient.body, tall)),
        ("patient.weight_kg", answer.weight, weight, answer.weight_quote, partial(patient.body, heavy)),
        ("study.contrast_phase", answer.phase, answer.phase, answer.phase_quote, partial(patient.phase, answer.phase)),
        ("study.region", answer.region, answer.region, answer.region_quote, partial(patient.region, answer.region)),
    ]
    return [claim for claim in claims if stated(claim[1])]


def _settle(draft: _Draft, claim: tuple[str, str, Any], quote: str, check: Check) -> None:
    """Add one field of patient or study."""
    name, said, value = claim
    shown = said if isinstance(value, str) else _shown(said)
    if value is None:
        return draft.drop(name, shown, "no number with a unit")
    span, reason = draft.find(quote, check)
    if span is None:
        return draft.drop(name, shown, reason)
    part, key = name.split(".")
    if not draft.accepts(part, {**draft.content.get(part, {}), key: value}):
        return draft.drop(name, shown, _CONTRADICTS)
    draft.spans[name] = span
    return None


def _shown(claim: str) -> str:
    """A claimed number as a flag may show it; what is no number may be text of the report, and is not repeated."""
    return claim.strip() if _NUMERIC.fullmatch(claim.strip()) else "no number"


def _organ_check(organ: str, reading: Reading, span: Span) -> str:
    return organ_at(reading, span, organ)[1]


def _size_check(tumour: tuple[Span, str], claim: tuple[str, str], reading: Reading, span: Span) -> str:
    return size_check(reading, span, tumour, claim)


def _stage_check(letter: str, stage: str, reading: Reading, span: Span) -> str:
    return stage_check(reading, span, letter, stage)


def _state_check(state: str, organ: str, reading: Reading, span: Span) -> str:
    return state_check(reading, span, state, organ)


def _add_tumour(draft: _Draft, entry: TumourAnswer) -> None:
    """Add one tumour, then each of its fields that the text states."""
    if not stated(entry.organ):
        return draft.drop("tumours", "unknown", "the organ is not stated")
    quoted, reason = draft.find(entry.quote, partial(_organ_check, entry.organ))
    if quoted is None:
        return draft.drop("tumours", entry.organ, reason)
    before = list(draft.content.get("tumours", ()))
    number_ = len(before)
    if not draft.accepts("tumours", [*before, {"organ": entry.organ}]):
        return draft.drop("tumours", entry.organ, _CONTRADICTS)
    fields: dict[str, Span] = {"organ": organ_at(draft.reading, quoted, entry.organ)[0] or quoted}
    _add_place(draft, entry, quoted, fields)
    _add_size(draft, entry, quoted, fields)
    _add_stages(draft, entry, fields)
    if draft.content["tumours"][-1] in before:
        draft.content["tumours"] = before
        return draft.drop("tumours", entry.organ, "stated twice")
    draft.spans.update({f"tumours.{number_}.{name}": span for name, span in fields.items()})
    return None


def _set(draft: _Draft, name: str, value: Any, said: str, result: tuple[Span | None, str]) -> Span | None:
    """Set one field of the last tumour to a value that was found, or drop it."""
    tumours = draft.content["tumours"]
    label = f"tumours.{len(tumours) - 1}.{name}"
    span, reason = result
    if span is None:
        draft.drop(label, said, reason)
    elif not draft.accepts("tumours", [*tumours[:-1], {**tumours[-1], name: value}]):
        draft.drop(label, said, _CONTRADICTS)
        span = None
    return span


def _add_place(draft: _Draft, entry: TumourAnswer, quoted: Span, fields: dict[str, Span]) -> None:
    """Site, side and count of the last tumour."""
    reading = draft.reading
    claims: list[tuple[str, Any, str, Span | None, str]] = []
    if stated(entry.site):
        claims.append(("site", entry.site, entry.site, site_at(reading, quoted, entry.site), "the site is not named"))
    if stated(entry.side):
        claims.append(("side", entry.side, entry.side, side_at(reading, quoted, entry.side), "the side is not named"))
    if stated(entry.count):
        count = int(entry.count) if re.fullmatch(r"\d{1,2}", entry.count.strip(), re.ASCII) else 0
        place = count_at(reading, quoted, count)
        claims.append(("count", count, _shown(entry.count), place, "the text states no such number"))
    for name, value, said, place, reason in claims:
        span = _set(draft, name, value, said, (place, reason))
        if span is not None:
            fields[name] = span


def _add_size(draft: _Draft, entry: TumourAnswer, quoted: Span, fields: dict[str, Span]) -> None:
    if not stated(entry.size):
        return
    result = draft.find(entry.size_quote, partial(_size_check, (quoted, entry.organ), (entry.size, entry.size_unit)))
    size_mm = round((number(entry.size) or 0.0) * MM_OF.get(entry.size_unit, 1.0), 4)
    if result[0] is not None and size_mm > plausible_mm(entry.organ):
        result = None, "larger than such a tumour can be"
    span = _set(draft, "size_mm", size_mm, _shown(entry.size), result)
    if span is not None:
        fields["size_mm"] = span


def _add_stages(draft: _Draft, entry: TumourAnswer, fields: dict[str, Span]) -> None:
    for letter, stage in (("t", entry.t), ("n", entry.n), ("m", entry.m)):
        if not stated(stage):
            continue
        result = draft.find(entry.stage_quote, partial(_stage_check, letter, stage))
        span = _set(draft, f"{letter}_stage", stage, stage, result)
        if span is not None:
            fields[f"{letter}_stage"] = span


def _add_organ(draft: _Draft, entry: OrganAnswer) -> None:
    """Add one absent or enlarged organ."""
    part = f"{entry.state}_organs"
    if not stated(entry.organ):
        return
    span, reason = draft.find(entry.quote, partial(_state_check, entry.state, entry.organ))
    known = draft.content.get(part, [])
    if span is None:
        draft.drop(part, entry.organ, reason)
    elif entry.organ not in known and draft.accepts(part, [*known, entry.organ]):
        draft.spans[f"{part}.{entry.organ}"] = span
    elif entry.organ not in known:
        draft.drop(part, entry.organ, _CONTRADICTS)


def _evidence(draft: _Draft, prompt: Prompt) -> tuple[Evidence, ...]:
    """Evidence in the order of the fields; organs are numbered as the prompt has them."""
    numbered = {
        f"{part}.{name}": f"{part}.{index}"
        for part in ("absent_organs", "enlarged_organs")
        for index, name in enumerate(getattr(prompt, part))
    }
    return tuple(Evidence(numbered.get(name, name), *span) for name, span in draft.spans.items())


def _parsed(content: dict[str, Any]) -> Prompt | None:
    try:
        return parse_prompt(content)
    except InputError:
        return None
