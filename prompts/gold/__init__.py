"""The gold set: labels of real reports made by reading, and how its reports were drawn.

The labels name a report by the hash of its text; the texts stay with their owners. `README.md` in
this folder is the labelling guide.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from manifests.errors import FileFormatError, InvalidValueError, LocationError
from prompts.schema import Prompt, parse_prompt
from prompts.sources import report_hash

__all__ = [
    "GOLD_PATH",
    "GoldRow",
    "Split",
    "draw_sample",
    "names_a_growth",
    "names_a_tumour",
    "read_gold",
    "sizes_a_growth",
    "split_of",
    "states_a_number",
]

GOLD_PATH = Path(__file__).with_name("torso_reports.jsonl")
"""The gold set that ships."""

Split = Literal["dev", "test"]

_TUMOUR_WORD = re.compile(
    r"\b(tumou?rs?|\w*carcinomas?|cancers?|neoplas\w+|malign\w*|mass(es)?|\w*sarcomas?|\w*blastomas?|carcinoids?"
    r"|gist|hcc|rcc|nsclc|spiculated)\b",
    re.IGNORECASE,
)
_GROWTH_WORD = re.compile(rf"{_TUMOUR_WORD.pattern}|\b(\w*omas?|gists?|nodules?|lesions?)\b", re.IGNORECASE)
_DENIAL = re.compile(r"\b(no|not|without)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\s-]*(mm|cm|years?|yo|y/o|yr)\b", re.IGNORECASE)
_LENGTH = re.compile(r"\d[\s-]*(mm|cm|millimet\w+|centimet\w+)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.;\n](?!\d)")


@dataclass(frozen=True, slots=True)
class GoldRow:
    """What one report states.

    Attributes:
        dataset: collection that the report is from; empty where another prompts table serves as reference.
        id: name of the report in it.
        report_hash: `sources.report_hash` of its text.
        prompt: the labels.
        split: "dev" for those that whoever edits rules may read, "test" for those held back.
    """

    dataset: str
    id: str
    report_hash: str
    prompt: Prompt
    split: Split


def split_of(hash_of_report: str) -> Split:
    """Half of a report: "test" where the first byte of its hash is odd. Whoever edits rules reads "dev" alone."""
    return "test" if int(hash_of_report[:2], 16) % 2 else "dev"


def names_a_tumour(text: str) -> bool:
    """Tell whether a sentence holds a word for a tumour and none of "no", "not", "without"; broad, for drawing only."""
    return any(_TUMOUR_WORD.search(part) and not _DENIAL.search(part) for part in _SENTENCE_END.split(text))


def states_a_number(text: str) -> bool:
    """Tell whether a number stands beside years, mm or cm; broad, for drawing only."""
    return _NUMBER.search(text) is not None


def names_a_growth(text: str) -> bool:
    """Tell whether a tumour, nodule, lesion or any word in -oma is named, denied or not; broad, for drawing only."""
    return _GROWTH_WORD.search(text) is not None


def sizes_a_growth(text: str) -> bool:
    """Tell whether a sentence holds a length and a word for a growth (`names_a_growth`); broad, for drawing only."""
    return any(_LENGTH.search(part) and _GROWTH_WORD.search(part) for part in _SENTENCE_END.split(text))


def draw_sample(texts: Iterable[str], seed: str, parts: Sequence[tuple[int, Callable[[str], bool]]]) -> list[str]:
    """Draw texts whatever their order: for each part its number of those that it admits, from what earlier parts left.

    A text's turn is the rank of SHA-256 of the seed, a colon and its `report_hash`; a part with too few takes all.
    """
    left = sorted(set(texts), key=lambda text: hashlib.sha256(f"{seed}:{report_hash(text)}".encode()).hexdigest())
    drawn: list[str] = []
    for number, admits in parts:
        drawn += [text for text in left if admits(text)][:number]
        taken = set(drawn)
        left = [text for text in left if text not in taken]
    return drawn


def read_gold(path: Path = GOLD_PATH) -> list[GoldRow]:
    """Read a gold set: JSON lines with `report_hash` and `prompt`, and perhaps `dataset`, `id` and `split`.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is no JSON lines or holds no rows.
        InvalidValueError: naming the first line with a wrong hash, split or prompt, or a repeated report.
    """
    if not path.is_file():
        raise LocationError(f"gold set {path}", got="no such file", need="JSON lines", do="Check --gold.")
    rows: dict[str, GoldRow] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "bytes that are no UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _parse(path, number, line)
            if row.report_hash in rows:
                raise _wrong(path, number, "report_hash", f"{row.report_hash[:12]}…, a second time", "a report once")
            rows[row.report_hash] = row
    if not rows:
        raise _unreadable(path, "no rows")
    return list(rows.values())


def _parse(path: Path, number: int, line: str) -> GoldRow:
    try:
        data: Any = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(path, f"no JSON in line {number}") from error
    if not isinstance(data, dict) or "prompt" not in data:
        raise _wrong(path, number, "prompt", "none", "an object with report_hash and prompt")
    hashed = data.get("report_hash")
    if not isinstance(hashed, str) or not re.fullmatch("[0-9a-f]{64}", hashed):
        raise _wrong(path, number, "report_hash", repr(hashed)[:80], "64 hexadecimal characters, the report's SHA-256")
    split = data.get("split", split_of(hashed))
    if split not in ("dev", split_of(hashed)):  # a test report may be given up to dev, never the other way round
        raise _wrong(path, number, "split", repr(split)[:80], f"{split_of(hashed)}, by its hash")
    prompt = parse_prompt(data["prompt"], f"gold set {path}, line {number}")
    return GoldRow(str(data.get("dataset", "")), str(data.get("id", "")), hashed, prompt, split)


def _unreadable(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        f"gold set {path}", got=got, need="JSON lines, one labelled report each", do="See prompts/gold/README.md."
    )


def _wrong(path: Path, number: int, field: str, got: str, need: str) -> InvalidValueError:
    return InvalidValueError(
        f"gold set {path}, line {number}, {field}",
        got=got,
        need=need,
        do="Correct the line; see prompts/gold/README.md.",
    )
