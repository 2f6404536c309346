"""A dataset to look at: `view` draws a contact sheet and the quick page of it, `report` the page with everything."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.ledger import writing
from downstream.report.choice import Choice, choose
from downstream.report.page import GENERATOR, Gallery, gallery_page, report_page
from downstream.report.picture import draw
from downstream.report.runs import find_runs, read_run
from downstream.report.sheet import write_sheet
from downstream.report.stack import stacked
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError, LocationError

__all__ = ["Made", "OnCase", "report", "view"]

PAGE, SHEET = "index.html", "contact_sheet.png"

OnCase = Callable[[CaseRecord], object]
"""Called with each record when it is drawn."""


@dataclass(frozen=True, slots=True)
class Made:
    """Files that were made: `page` is HTML, `sheet` PNG; `case_ids` are the cases shown, `runs` names of benchmark runs."""

    page: Path
    page_bytes: int
    case_ids: tuple[str, ...]
    sheet: Path | None = None
    runs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "cases": len(self.case_ids),
            "page": str(self.page),
            "sheet": self.sheet and str(self.sheet),
            "page_bytes": self.page_bytes,
            "case_ids": list(self.case_ids),
            "runs": list(self.runs),
        }


def view(dataset: Dataset, out: Path, n: int = 8, on_case: OnCase | None = None) -> Made:
    """Draw `contact_sheet.png` and `index.html`, which shows the same slices beside the prompts.

    Args:
        dataset: any dataset with an accepted case.
        out: folder for the files; made if missing, earlier ones are replaced.
        n: number of cases to choose (`choice.choose`); all if it has fewer.
        on_case: called with each record when it is drawn.

    Raises:
        InvalidValueError: if n < 1 or no case is accepted; nothing is written then.
        LocationError: if the folder holds something else or cannot be written.
    """
    records = dataset.accepted()
    choices = _choose(dataset, records, n, out)
    pictures, shown = [], []
    for choice, arrays in _read(dataset, choices, on_case):
        pictures.append(draw(choice.record, arrays))
        shown.append((choice, stacked(choice.record, arrays, slices=False)))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        synthetic = dataset.spec.kind == "synthetic"
        write_sheet(pictures, out / SHEET, dataset.root.resolve().name, synthetic=synthetic)
    text = gallery_page(dataset, Gallery(shown, len(records)))
    return Made(*_write(out, text), _ids(choices), sheet=out / SHEET)


def report(dataset: Dataset, out: Path, n: int = 8, runs: Sequence[str] = (), on_case: OnCase | None = None) -> Made:
    """Draw `index.html`: what was asked, made and refused, how good it is, and n cases slice by slice.

    Args:
        dataset: any dataset with an accepted case.
        out: folder for the page; made if missing, an earlier one is replaced.
        n: number of cases to choose (`choice.choose`); all if it has fewer. Each takes at most `MAX_CASE_BYTES`.
        runs: folders of benchmark runs, or patterns for them.
        on_case: called with each record when it is drawn.

    Raises:
        InvalidValueError: if n < 1 or no case is accepted; nothing is written then.
        LocationError: if the folder holds something else or cannot be written, or a run is none.
        FileFormatError: if a run's file is not what it promises.
    """
    records = dataset.records()
    accepted = [record for record in records if record.status == "accepted"]
    choices = _choose(dataset, accepted, n, out)
    found = [read_run(folder) for folder in find_runs(runs)]
    drawn = _read(dataset, choices, on_case)
    shown = [(choice, stacked(choice.record, arrays, slices=True)) for choice, arrays in drawn]
    text = report_page(dataset, Gallery(shown, len(accepted)), records, found)
    return Made(*_write(out, text), _ids(choices), runs=tuple(run.name for run in found))


def _choose(dataset: Dataset, accepted: Sequence[CaseRecord], n: int, out: Path) -> list[Choice]:
    """Check all that can be wrong before anything is drawn."""
    if n < 1:
        raise InvalidValueError("--n", got=str(n), need="1 or more", do="Ask for a case.")
    if not accepted:
        raise InvalidValueError(
            str(dataset.root), got="no accepted case", need="at least one", do="Build it first: factory build."
        )
    _require_ours(out)
    return choose(accepted, n)


def _require_ours(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier page."""
    with writing(out):
        there = out.exists() and (not out.is_dir() or any(out.iterdir()))
        ours = there and (out / PAGE).is_file() and GENERATOR in (out / PAGE).read_text("utf-8", "replace")[:2000]
    if there and not ours:
        raise LocationError(
            str(out),
            got="a folder that holds something else" if out.is_dir() else "a file",
            need="a new or empty folder, or that of an earlier page",
            do="Choose another --out.",
        )


def _read(dataset: Dataset, choices: Sequence[Choice], on_case: OnCase | None) -> Iterator[tuple[Choice, Arrays]]:
    """Give the cases one by one; each is reported when the next is asked for."""
    for choice in choices:
        yield choice, dataset.read(choice.record.case_id)
        if on_case:
            on_case(choice.record)


def _ids(choices: Sequence[Choice]) -> tuple[str, ...]:
    return tuple(choice.record.case_id for choice in choices)


def _write(out: Path, text: str) -> tuple[Path, int]:
    data = text.encode("utf-8", "replace")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        replace(out / PAGE, data)
    return out / PAGE, len(data)
