"""The rules extractor: plain English to a prompt, with the place in the text of every field.

It reads the patient, the study, tumours, and absent or enlarged organs, each in a room of its own.
What the text does not say, denies, or leaves open stays unstated.
"""

from collections.abc import Sequence
from typing import Any

from manifests.errors import InputError
from prompts.extraction import Dropped, Extraction
from prompts.rules.clauses import body_end, clauses
from prompts.rules.draft import Draft
from prompts.rules.findings import Finding
from prompts.rules.gazetteer import lowered
from prompts.rules.organs import Organ, read_organs
from prompts.rules.patient import read_patient
from prompts.rules.study import read_study
from prompts.rules.tumours import read_tumours
from prompts.schema import parse_prompt
from prompts.table import Evidence

__all__ = ["RULES_VERSION", "extract"]

_PLAIN = {0x2010: "-", 0x2011: "-", 0x2012: "-", 0xA0: " "}  # hyphens and spaces of typesetting, one for one

RULES_VERSION = "rules-4"
"""Named in every row that the rules made; raise it whenever they read any text differently."""


def extract(text: str) -> Extraction:
    """Read a text; an empty one states nothing."""
    text = text[: body_end(text)]
    if not text.isascii():
        text = text.translate(_PLAIN)
    parts = clauses(text)
    draft = Draft(text, lowered(text))
    read_patient(draft, parts)
    read_study(draft, parts)
    findings = read_tumours(parts)
    absent, enlarged = read_organs(parts)
    return _assemble(draft, findings, absent, enlarged)


def _assemble(
    draft: Draft, findings: Sequence[Finding], absent: Sequence[Organ], enlarged: Sequence[Organ]
) -> Extraction:
    """Build the prompt; what contradicts the tumours, and tumours that contradict the sex, are left out."""
    dropped: list[Dropped] = []
    kept: list[Finding] = []
    base = _nested(draft)
    for finding in findings:
        trial = {**base, "tumours": [item.fields for item in (*kept, finding)]}
        if _valid(trial):
            kept.append(finding)
        else:
            dropped.append(Dropped("tumours", str(finding.fields["organ"]), "contradicts the rest"))
    content = {**base, "tumours": [item.fields for item in kept], "absent_organs": (), "enlarged_organs": ()}
    for kind, organs in (("absent_organs", absent), ("enlarged_organs", enlarged)):
        for number, organ in enumerate({organ.name: organ for organ in organs}.values()):
            trial = {**content, kind: (*content[kind], organ.name)}
            if _valid(trial):
                content = trial
                draft.spans[f"{kind}.{number}"] = organ.span
            else:
                dropped.append(Dropped(kind, organ.name, "contradicts the rest"))
    spans = [Evidence(name, *span) for name, span in draft.spans.items()]
    for number, finding in enumerate(kept):
        spans += [Evidence(f"tumours.{number}.{name}", *span) for name, span in finding.spans.items()]
    return Extraction(parse_prompt(content), tuple(spans), tuple(dropped))


def _nested(draft: Draft) -> dict[str, Any]:
    nested: dict[str, Any] = {"patient": {}, "study": {}}
    for name, value in draft.fields.items():
        part, _, key = name.partition(".")
        nested[part][key] = value
    return nested


def _valid(content: dict[str, Any]) -> bool:
    try:
        parse_prompt(content)
    except InputError:
        return False
    return True
