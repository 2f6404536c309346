"""Evidence in its report: the text cut into pieces, each with the fields that it is evidence for."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from prompts.table import Evidence, PromptRow

__all__ = ["KINDS", "Piece", "field_kind", "field_label", "pieces", "report_of"]

KINDS = ("patient", "study", "place", "size", "stage", "organs")
"""Kinds of evidence, as they are coloured."""

_LABELS = {
    "age_years": "age",
    "height_cm": "height",
    "weight_kg": "weight",
    "contrast_phase": "phase",
    "size_mm": "size",
    "t_stage": "T",
    "n_stage": "N",
    "m_stage": "M",
    "absent_organs": "absent",
    "enlarged_organs": "enlarged",
}


class Piece(NamedTuple):
    """A stretch of a report and the fields that it is evidence for; none for the text between."""

    text: str
    fields: tuple[str, ...] = ()


def pieces(text: str, evidence: Sequence[Evidence]) -> list[Piece]:
    """Cut a text at the ends of its evidence; together the pieces are the text.

    Spans may overlap. What does not lie in the text is left out.
    """
    spans = [item for item in evidence if 0 <= item.start < item.end <= len(text)]
    cuts = sorted({0, len(text), *(item.start for item in spans), *(item.end for item in spans)})
    return [
        Piece(text[start:end], tuple(item.field for item in spans if item.start <= start and end <= item.end))
        for start, end in pairwise(cuts)
    ]


def field_label(name: str) -> str:
    """A field as a reader calls it: "patient.age_years" is "age", "tumours.1.size_mm" is "tumour 2 size"."""
    parts = name.split(".")
    if parts[0] == "tumours" and len(parts) > 2:
        number = int(parts[1]) + 1 if parts[1].isdigit() else parts[1]
        return f"tumour {number} {_LABELS.get(parts[2], parts[2])}"
    last = next((part for part in reversed(parts) if not part.isdigit()), name)
    return _LABELS.get(last, last.replace("_", " "))


def field_kind(name: str) -> str:
    """The kind of a field, one of `KINDS`."""
    head, _, rest = name.partition(".")
    if head in ("patient", "study"):
        return head
    if head != "tumours":
        return "organs"
    last = rest.rpartition(".")[2]
    if last.endswith("_stage"):
        return "stage"
    return "size" if last in ("size_mm", "count") else "place"


def report_of(row: PromptRow, reports: Mapping[str, str]) -> str | None:
    """The report behind a row: kept in it, or found by its hash; None if neither."""
    return row.report_text if row.report_text is not None else reports.get(row.report_hash)
