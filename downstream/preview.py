"""What a dataset looks like: a contact sheet (PNG) and a page (HTML) of some of its cases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from downstream.ledger import writing
from downstream.preview_page import write_page
from downstream.preview_picture import draw
from downstream.preview_sheet import write_sheet
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError

__all__ = ["Preview", "preview"]


@dataclass(frozen=True, slots=True)
class Preview:
    """Files that were made: `page` is HTML, `sheet` is PNG."""

    cases: int
    page: Path
    sheet: Path


def preview(dataset: Dataset, out: Path, n: int = 8, on_case: Callable[[CaseRecord], object] | None = None) -> Preview:
    """Draw `index.html` and `contact_sheet.png` of a dataset.

    Args:
        dataset: any dataset with an accepted case.
        out: folder for the two files; made if missing, earlier ones are replaced.
        n: number of cases, evenly spread over the dataset; all if it has fewer.
        on_case: called with each record when it is drawn.

    Raises:
        InvalidValueError: if n < 1 or no case is accepted; nothing is written then.
        LocationError: if the folder cannot be written.
    """
    if n < 1:
        raise InvalidValueError("--n", got=str(n), need="1 or more", do="Ask for a case.")
    records = dataset.accepted()
    if not records:
        raise InvalidValueError(
            str(dataset.root), got="no accepted case", need="at least one", do="Build it first: factory build."
        )
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    pictures = []
    for record in _spread(records, n):
        pictures.append(draw(record, dataset.read(record.case_id)))
        if on_case:
            on_case(record)
    with writing(out):
        synthetic = dataset.spec.kind == "synthetic"
        write_sheet(pictures, out / "contact_sheet.png", dataset.root.resolve().name, synthetic=synthetic)
        write_page(pictures, out / "index.html", dataset, len(records))
    return Preview(len(pictures), out / "index.html", out / "contact_sheet.png")


def _spread(records: list[CaseRecord], n: int) -> Iterator[CaseRecord]:
    count = min(n, len(records))
    yield from (records[number * len(records) // count] for number in range(count))
