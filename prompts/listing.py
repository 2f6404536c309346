"""Prompts as a table on a terminal, and their evidence in the reports below it."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from prompts.highlight import field_kind, field_label, pieces, report_of
from prompts.lexicon import phrase
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.table import PromptRow

__all__ = ["UNSTATED", "cells", "evidence_lines", "flag_lines", "table_lines"]

UNSTATED = "\u2013"
_GAP = 2
_NARROWEST = 6
_CONTEXT = 50
_ANSI = {"patient": "30;46", "study": "30;44", "place": "30;43", "size": "30;42", "stage": "30;45", "organs": "30;41"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def cells(prompt: Prompt) -> dict[str, str]:
    """The content of a prompt in short, column by column; unstated is a dash."""
    patient, study = prompt.patient, prompt.study
    return {
        "patient": _patient(patient),
        "body": _body(patient),
        "scan": _scan(study),
        "tumours": "; ".join(_tumour(tumour) for tumour in prompt.tumours) or "none",
        "absent": _names(prompt.absent_organs),
        "enlarged": _names(prompt.enlarged_organs),
    }


def _patient(patient: Patient) -> str:
    race = patient.race.replace("_", " ") if patient.race else None
    age = None if patient.age_years is None else f"{patient.age_years:g} y"
    return _join(age, patient.sex, race)


def _body(patient: Patient) -> str:
    height = None if patient.height_cm is None else f"{patient.height_cm:g} cm"
    weight = None if patient.weight_kg is None else f"{patient.weight_kg:g} kg"
    return _join(height, weight)


def _scan(study: Study) -> str:
    return _join(*(value and value.replace("_", " ") for value in (study.contrast_phase, study.region)))


def _tumour(tumour: Tumour) -> str:
    sided = f"{tumour.side} {phrase(tumour.organ)}" if tumour.side else phrase(tumour.organ)
    place = phrase(tumour.site) if tumour.site else sided
    count = f"{tumour.count} \u00d7 " if tumour.count else ""
    size = "" if tumour.size_mm is None else f" {tumour.size_mm:g} mm"
    stages = " ".join(stage for stage in (tumour.t_stage, tumour.n_stage, tumour.m_stage) if stage)
    return f"{count}{place}{size}{' ' + stages if stages else ''}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(phrase(name) for name in names) or UNSTATED


def _join(*values: str | None) -> str:
    stated = [value for value in values if value]
    return ", ".join(stated) if stated else UNSTATED


def table_lines(rows: Sequence[PromptRow], width: int) -> Iterator[str]:
    """Lines of the table, none wider than `width` where that allows each column a few letters.

    Columns that no row fills are left out; long cells wrap.
    """
    table = [{"#": str(number), **cells(row.prompt), "source": _safe(row.source)} for number, row in enumerate(rows)]
    names = [name for name in table[0] if any(line[name] not in (UNSTATED, "") for line in table)]
    wide = _widths(names, table, width)
    head = {name: name for name in names}
    for line in (head, {name: "\u2500" * wide[name] for name in names}, *table):
        wrapped = [textwrap.wrap(line[name], wide[name]) or [""] for name in names]
        for at in range(max(map(len, wrapped))):
            parts = [cell[at] if at < len(cell) else "" for cell in wrapped]
            padded = (part.ljust(wide[name]) for part, name in zip(parts, names, strict=True))
            yield (" " * _GAP).join(padded).rstrip()


def _widths(names: Sequence[str], table: Sequence[dict[str, str]], width: int) -> dict[str, int]:
    """Natural widths, the widest columns cut until the whole fits."""
    wide = {name: max(len(name), *(len(line[name]) for line in table)) for name in names}
    over = sum(wide.values()) + _GAP * (len(names) - 1) - width
    while over > 0:
        widest = max(wide, key=lambda name: wide[name])
        if wide[widest] <= _NARROWEST:
            break
        wide[widest] -= 1
        over -= 1
    return wide


def flag_lines(rows: Sequence[PromptRow]) -> Iterator[str]:
    """What was dropped from each row and what its extractor remarked."""
    for number, row in enumerate(rows):
        yield from (f"row {number}: {_safe(flag)}" for flag in row.flags)


def evidence_lines(rows: Sequence[PromptRow], reports: Mapping[str, str], width: int, colour: bool) -> Iterator[str]:
    """The evidence of each row in a few words of its report: coloured, or as [label: words].

    Control characters of a report are not printed: a text cannot steer the terminal.
    """
    for number, row in enumerate(rows):
        if not row.report_hash and row.report_text is None:
            continue
        yield f"row {number}  {row.prompt.prompt_id}  {_safe(row.source)}"
        text = report_of(row, reports)
        if text is None:
            yield "  its report is not in the given source"
        elif not row.evidence:
            yield "  nothing stated"
        else:
            yield from _wrapped(_marked(text, row, colour), width)


def _marked(text: str, row: PromptRow, colour: bool) -> list[str]:
    """Words of a report with marked evidence; long stretches between are left out. No marks hold a space."""
    words: list[str] = []
    cut = pieces(text, row.evidence)
    for at, piece in enumerate(cut):
        if not piece.fields:
            words += _between(_safe(piece.text), first=at == 0, last=at == len(cut) - 1).split()
            continue
        labels = ", ".join(dict.fromkeys(field_label(name) for name in piece.fields))
        quoted = _safe(piece.text).split()
        if colour:
            style = _ANSI[field_kind(piece.fields[0])]
            words += [f"\x1b[{style}m{word}\x1b[0m" for word in quoted]
        else:
            words += f"[{labels}: {' '.join(quoted)}]".split()
    return words


def _between(text: str, first: bool, last: bool) -> str:
    """Text between evidence, shortened to its ends."""
    if first and last:
        return ""
    head = "" if first else text[:_CONTEXT].rsplit(" ", 1)[0]
    tail = "" if last else text[-_CONTEXT:].split(" ", 1)[-1]
    limit = _CONTEXT if first or last else 2 * _CONTEXT
    return text if len(text) <= limit else f"{head} \u2026 {tail}"


def _wrapped(words: Sequence[str], width: int) -> Iterator[str]:
    line, used = "  ", 0
    for word in words:
        length = len(re.sub(r"\x1b\[[0-9;]*m", "", word))
        if used and used + 1 + length > width - 2:
            yield line
            line, used = "  ", 0
        line += (" " if used else "") + word
        used += length + (1 if used else 0)
    if used:
        yield line


def _safe(text: str) -> str:
    """A text without control characters, on one line."""
    return _CONTROL.sub(" ", text)
