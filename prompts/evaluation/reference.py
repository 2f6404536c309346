"""What an extraction is compared with: a gold set, or another prompts table of the same reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from manifests.errors import InvalidValueError
from prompts.evaluation.scores import Pair
from prompts.gold import GoldRow, read_gold, split_of
from prompts.table import PromptRow, read_prompts

__all__ = ["Half", "Joined", "join_reports", "read_reference"]

Half = Literal["dev", "test", "all"]


@dataclass(frozen=True, slots=True)
class Joined:
    """Reports that both sides know, and how many of the reference the extraction lacks."""

    pairs: tuple[Pair, ...]
    not_found: int


def read_reference(path: Path) -> list[GoldRow]:
    """Read a gold set (JSON lines) or a prompts table (Parquet) as reference.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it cannot be read.
        InvalidValueError: if a row is wrong, or the rows of a table name no reports.
    """
    if path.suffix.lower() != ".parquet":
        return read_gold(path)
    prompts = _by_report(read_prompts(path), f"reference {path}")
    return [GoldRow("", row.source, name, row.prompt, split_of(name)) for name, row in prompts.items()]


def join_reports(rows: Sequence[PromptRow], reference: Iterable[GoldRow], half: Half, where: str) -> Joined:
    """Join an extraction with a reference by the hash of the report.

    Raises:
        InvalidValueError: if they have no report in common, or the extraction reads one report in two ways.
    """
    found = _by_report(rows, where)
    wanted = [row for row in reference if half in ("all", row.split)]
    pairs = tuple(
        Pair(_name(row), row.prompt, found[row.report_hash].prompt) for row in wanted if row.report_hash in found
    )
    if not pairs:
        raise InvalidValueError(
            where,
            got=f"none of the {len(wanted)} reports of the reference (--split {half})",
            need="prompts extracted from the same report texts",
            do="Extract the reports that were labelled; their hashes must be equal. See prompts/gold/README.md.",
        )
    return Joined(pairs, len(wanted) - len(pairs))


def _name(row: GoldRow) -> str:
    return " ".join(part for part in (row.dataset, row.id, row.report_hash[:12]) if part)


def _by_report(rows: Iterable[PromptRow], where: str) -> dict[str, PromptRow]:
    found: dict[str, PromptRow] = {}
    for row in rows:
        if not row.report_hash:
            continue
        if found.setdefault(row.report_hash, row).prompt != row.prompt:
            raise InvalidValueError(
                f"{where}, report {row.report_hash[:12]}…",
                got="two rows with different prompts",
                need="one extraction of each report",
                do="Compare the tables of two extractors one by one.",
            )
    if not found:
        raise InvalidValueError(
            where,
            got="no report hashes",
            need="a table made by `factory prompts extract`",
            do="Extract the reports again; tables from other sources have no report to compare.",
        )
    return found
