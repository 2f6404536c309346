"""From reports to rows: what an extractor found, audited against the text once more, or a reject with its reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from manifests.errors import InputError
from prompts.extraction import Dropped, Extraction
from prompts.grounding import verify
from prompts.render import TEMPLATE_VERSION, render
from prompts.rules import RULES_VERSION, extract
from prompts.schema import Prompt, parse_prompt
from prompts.sources import Reject, Report, Stated, report_hash
from prompts.table import Evidence, PromptRow

__all__ = ["audited", "make_reject", "make_row", "read_by_rules"]

_LISTS = ("absent_organs", "enlarged_organs")


def read_by_rules(reports: Iterable[Report], *, keep_text: bool = False) -> Iterator[PromptRow]:
    """Read reports with the rules, one row for each."""
    for report in reports:
        yield make_row(report, extract(report.text), RULES_VERSION, keep_text=keep_text)


def make_row(report: Report, extraction: Extraction, extractor: str, *, keep_text: bool = False) -> PromptRow:
    """Make the row of a report; what the audit does not find in its text is dropped first.

    What the source states beside the text fills what the text leaves open, with a flag in place of a span.
    """
    found = _completed(audited(report.text, extraction), report.attributes)
    return PromptRow(
        found.prompt,
        render(found.prompt),
        report.source,
        TEMPLATE_VERSION,
        found.evidence,
        extractor=extractor,
        report_hash=report_hash(report.text),
        report_text=report.text if keep_text else None,
        flags=tuple(str(item) for item in found.dropped) + found.flags,
    )


def make_reject(report: Report, position: int, reason: str) -> Reject:
    """Make the reject of a report; `position` is its number among the reports, where its source names no row."""
    name, _, label = report.source.partition("#")
    row, _, _ = label.partition(":")
    return Reject(name, int(row) if row.isdecimal() else position, label, reason)


def audited(text: str, extraction: Extraction) -> Extraction:
    """Drop from an extraction what the audit does not find in the text, until nothing is left to drop.

    A tumour whose organ fails goes as a whole, and so does one whose field comes back because another implies it.
    """
    seen: set[str] = set()
    while failed := verify(text, extraction):
        again = {item.field for item in failed} & seen
        seen |= {item.field for item in failed}
        extraction = _without(extraction, failed, again)
    return extraction


def _completed(extraction: Extraction, attributes: Mapping[str, Stated]) -> Extraction:
    """Add what columns state; the text wins, and a difference is a flag."""
    for name, stated in attributes.items():
        part, _, field = name.partition(".")
        content = extraction.prompt.model_dump()
        said = content[part][field]
        prompt = extraction.prompt
        if said is None:
            content[part][field] = stated.value
            prompt, note = _tried(prompt, content, f"{name}={stated.value}: from {stated.where}")
        elif not _agree(said, stated.value):
            note = f"{name}: text {said}, {stated.where} {stated.value}"
        else:
            continue
        extraction = replace(extraction, prompt=prompt, flags=(*extraction.flags, note))
    return extraction


def _agree(said: str | float, stated: str | float) -> bool:
    """Tell whether two values say the same; an age from dates has a fraction that a text leaves out."""
    if isinstance(said, str) or isinstance(stated, str):
        return said == stated
    return abs(said - stated) < 1


def _tried(prompt: Prompt, content: dict[str, Any], note: str) -> tuple[Prompt, str]:
    """Take the content if it is a prompt at all, else leave the prompt as it is."""
    try:
        return parse_prompt(content), note
    except InputError:
        return prompt, f"left out {note}, contradicts the text"


def _without(extraction: Extraction, failed: Sequence[Dropped], again: set[str]) -> Extraction:
    content = extraction.prompt.model_dump()
    gone = {number for item in failed if (number := _whole_tumour(item, again)) is not None}
    for item in failed:
        _clear(content, item)
    kept = [number for number in range(len(content["tumours"])) if number not in gone]
    content["tumours"] = [content["tumours"][number] for number in kept]
    fields = {item.field for item in failed}
    evidence = [item for item in extraction.evidence if item.field not in fields]
    return replace(
        extraction,
        prompt=parse_prompt(content),
        evidence=tuple(moved for item in evidence if (moved := _renumbered(item, kept)) is not None),
        dropped=extraction.dropped + tuple(failed),
    )


def _whole_tumour(item: Dropped, again: set[str]) -> int | None:
    """Number of the tumour that goes with this field, if one does."""
    parts = item.field.split(".")
    if parts[0] != "tumours" or len(parts) < 2:
        return None
    return int(parts[1]) if parts[2:] in ([], ["organ"]) or item.field in again else None


def _clear(content: dict[str, Any], item: Dropped) -> None:
    """Make one field unstated."""
    part, _, name = item.field.partition(".")
    if part in _LISTS:
        content[part] = tuple(organ for organ in content[part] if organ != item.value)
    elif part == "tumours":
        number, _, field = name.partition(".")
        if field and field != "organ":
            content[part][int(number)][field] = None
    else:
        content[part][name] = None


def _renumbered(item: Evidence, kept: Sequence[int]) -> Evidence | None:
    """Evidence of a tumour under its new number; None if the tumour is gone."""
    parts = item.field.split(".")
    if parts[0] != "tumours":
        return item
    number = int(parts[1])
    return replace(item, field=".".join(["tumours", str(kept.index(number)), *parts[2:]])) if number in kept else None
