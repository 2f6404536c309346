"""What a report is, and what becomes of a row on its way to being one."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prompts.sources.records import Reject, plain

__all__ = ["Candidate", "Report", "Stated", "distinct", "report_hash"]


@dataclass(frozen=True, slots=True)
class Stated:
    """A value that stands beside a report in structured form, and where: "column gender", "Patient.birthDate"."""

    value: str | float
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    """One report: where it came from, its text, and what its source states beside the text.

    `attributes` maps fields of a prompt ("patient.sex", "patient.age_years", "patient.race") to values of it.
    """

    source: str
    text: str
    attributes: Mapping[str, Stated] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a row, file or resource holds before it is known to be a report.

    Attributes:
        row: its position.
        label: its position and id, as they stand in `Report.source`.
        text: what should be the text; anything else than text gives a reject.
        reason: why there is no text, where that is known.
        attributes: as of `Report`.
    """

    row: int
    label: str
    text: Any
    reason: str = "no text"
    attributes: Mapping[str, Stated] = field(default_factory=dict, hash=False)


def report_hash(text: str) -> str:
    """SHA-256 of the UTF-8 text, in hexadecimal: how a prompt and a gold label name their report."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def distinct(name: str, candidates: Iterable[Candidate]) -> tuple[list[Report], list[Reject]]:
    """Part candidates into reports and rejects; of texts that differ in white space alone the first stays."""
    reports, rejects, seen = [], list[Reject](), dict[str, str]()
    for candidate in candidates:
        label = plain(candidate.label)
        reason = _fault(candidate)
        if reason is None:
            words = report_hash(" ".join(candidate.text.split()))
            reason = f"the same text as {seen[words]}" if words in seen else None
            seen.setdefault(words, label)
        if reason is None:
            reports.append(Report(f"{plain(name)}#{label}", candidate.text, candidate.attributes))
        else:
            rejects.append(Reject(plain(name), candidate.row, label, reason))
    return reports, rejects


def _fault(candidate: Candidate) -> str | None:
    text = candidate.text
    if not isinstance(text, str) or not text.strip():
        return candidate.reason
    if "\0" in text:
        return "zero bytes: no text"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half a character (a lone surrogate): no text"
    return None
