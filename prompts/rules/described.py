"""Lesions that a text describes first and calls a tumour later ("A 3 cm lesion of the liver. Biopsy: carcinoma").

A lesion, nodule or thickening alone is no tumour. Where a later clause says what it is, the tumour lies where the lesion lay.
"""

import re
from collections.abc import Iterator, Sequence

from prompts.rules.clauses import Clause
from prompts.rules.findings import Finding
from prompts.rules.gazetteer import Mention
from prompts.rules.judgement import called_something_else, goes_on
from prompts.rules.negation import asserted
from prompts.rules.places import Place, locate
from prompts.rules.sizes import read_sizes

__all__ = ["called_so_later", "complete", "proven", "state_place"]

_PROOF = (
    r"biops\w+|histo\w*|patholog\w+|cytolog\w+|immunohisto\w*|cytopatholog\w+|specimen|fna|autopsy|laparotom\w+"
    r"|endoscopy|colonoscopy|gastroscopy|bronchoscopy|curettage|confirm\w*|prove[ns]?|proved|turned\sout|found\sto\sbe"
)
_PROVEN = re.compile(rf"\b(?:{_PROOF})\b", re.IGNORECASE)
_VERDICT = re.compile(
    rf"\b(?:{_PROOF}|surg\w+|operat(?:ion|ively)|\w*ectomy|resection|diagnos\w+|impression|conclusion|opinion)\b",
    re.IGNORECASE,
)
_MALIGNANT = re.compile(r"malignan|tumou?r|neopla|cancer", re.IGNORECASE)
_SEVERAL = re.compile(
    r"\b(?:multiple|several|numerous|innumerable|bilateral|many|few|various|scattered)\b", re.IGNORECASE
)
_NEAR = 3  # clauses between a lesion and the word for it that names no place
_FAR = 30  # clauses between a lesion and the word for it that names the same organ


def proven(part: Clause) -> bool:
    """Tell whether a clause gives a proof ("carcinoma was confirmed by curettage")."""
    return _PROVEN.search(part.text) is not None


def called_so_later(before: Sequence[Clause], part: Clause, mention: Mention) -> Finding | None:
    """The lesion of one of the last clauses that a word for a tumour without a place names; None if there is none, or two."""
    if any(m.means.place is not None or m.means.tumour == "secondary" for m in part.mentions):
        return None
    if mention.means.tumour == "mass" and not _MALIGNANT.search(mention.text):
        return None
    if mention.means.tumour == "lymphoma" or not (_VERDICT.search(part.text) or goes_on(part)):
        return None
    for number, clause in enumerate(reversed(before[-_NEAR:])):
        leads = list(_leads(clause))
        if leads:
            places = {(lead.fields["organ"], lead.fields.get("site"), lead.fields.get("side")) for lead in leads}
            return _measured(leads[0], before[len(before) - number :]) if len(places) == 1 else None
    return None


def complete(before: Sequence[Clause], part: Clause, own: Sequence[Finding]) -> None:
    """Give a tumour that a clause proves, or calls a lesion so, the size and the side of the lesion described before."""
    open_ones = [finding for finding in own if "size_mm" not in finding.fields and not finding.mass]
    if not open_ones or not before:
        return
    said = proven(part) or goes_on(part)
    lesions = {(m.start, m.end) for m in part.mentions if m.means.lesion}
    for finding in open_ones:
        lead = _described(before, finding) if said or not lesions.isdisjoint(finding.heads) else None
        if lead is not None:
            names = ("size_mm",) if "site" in finding.fields else ("site", "side", "size_mm")
            for name in names:
                finding.state(name, lead.fields.get(name), lead.spans.get(name, (0, 0)))


def _described(before: Sequence[Clause], finding: Finding) -> Finding | None:
    """The one sized lesion of a tumour's organ, at no other site, that earlier clauses describe; None if there are more."""
    found: list[Finding] = []
    for number, clause in enumerate(before[-_FAR:], start=max(0, len(before) - _FAR)):
        if clause.section in ("comparison", "advice", "past", "history"):
            continue
        found += [
            _measured(lead, before[number + 1 : number + 3])
            for lead in _leads(clause)
            if lead.fields["organ"] == finding.fields["organ"] and _same_place(lead, finding)
        ]
    sized = {lead.fields["size_mm"]: lead for lead in found if "size_mm" in lead.fields}
    return next(iter(sized.values())) if len(sized) == 1 else None


def _same_place(lead: Finding, finding: Finding) -> bool:
    pairs = [(lead.fields.get(name), finding.fields.get(name)) for name in ("site", "side")]
    return all(first is None or second is None or first == second for first, second in pairs)


def _leads(part: Clause) -> Iterator[Finding]:
    """The single lesions of a clause that have a place and are called nothing else."""
    if "lesion" not in part.text and not any(m.means.lesion for m in part.mentions):
        return
    for m in part.mentions:
        if not m.means.lesion or m.means.tumour or _SEVERAL.search(part.text, max(0, m.start - 60), m.start):
            continue
        if not asserted(part, m) or called_something_else(part, m) or (place := locate(part, m)) is None:
            continue
        lead = Finding(part.sentence, part.start, [(m.start, m.end)])
        state_place(part, lead, place, place.sides[0] if len(place.sides) == 1 else None)
        read_sizes(part, [lead])
        yield lead


def _measured(lead: Finding, after: Sequence[Clause]) -> Finding:
    """A lesion with the size that the clauses right after it give ("It measures 3 cm.")."""
    for clause in after:
        end = goes_on(clause)
        if not end:
            break
        read_sizes(clause, [lead], end)
    return lead


def state_place(part: Clause, finding: Finding, place: Place, side: str | None) -> None:
    """State the organ of a finding, and its site or side where the clause has one."""

    def at(span: tuple[int, int]) -> tuple[int, int]:
        return part.start + span[0], part.start + span[1]

    finding.state("organ", place.organ, at(place.organ_span))
    if place.site and place.span:
        finding.state("site", place.site, at(place.span))
    elif side and place.span:
        finding.state("side", side, at(place.span))
