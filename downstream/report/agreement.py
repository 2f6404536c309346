"""Requested against measured: how often each attribute of the prompt is met, before the gate and after it.

Measured is what the gate measured on the arrays when a case was made. What the gate refuses never reaches
the delivered cases, so their agreement says little; that of all candidates says how good the engine is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from manifests.case import Attributes, CaseRecord, TumourAttributes

__all__ = ["Met", "Pair", "Row", "agreement", "size_pairs"]


@dataclass(frozen=True, slots=True)
class Met:
    """How many of the cases that state an attribute show it."""

    hits: int
    cases: int

    @property
    def text(self) -> str:
        """Share in per cent with its exact (Clopper-Pearson) 95 % interval; a dash without cases."""
        if not self.cases:
            return "\u2013"
        interval = binomtest(self.hits, self.cases).proportion_ci()
        low, high = (f"{100 * bound:.0f}" for bound in (interval.low, interval.high))
        return f"{100 * self.hits / self.cases:.0f} % ({low}\u2013{high})"


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute: over all candidates that were measured, and over the delivered ones."""

    attribute: str
    candidates: Met
    delivered: Met


@dataclass(frozen=True, slots=True)
class Pair:
    """Largest diameter of the tumours at one place; `stated` if the prompt gave it, else it was drawn."""

    asked_mm: float
    measured_mm: float
    stated: bool
    label: str


_Test = Callable[[CaseRecord], bool | None]


def _equal(read: Callable[[Attributes], object]) -> _Test:
    """Whether a stated value is the measured one; None where none is stated, or the images do not tell."""

    def test(record: CaseRecord) -> bool | None:
        wanted, found = read(record.requested), read(record.measured)
        return wanted == found if wanted and found else None

    return test


def _among(read: Callable[[Attributes], tuple[str, ...]]) -> _Test:
    """Whether all stated names are measured; None where none is stated."""

    def test(record: CaseRecord) -> bool | None:
        wanted = set(read(record.requested))
        return wanted <= set(read(record.measured)) if wanted else None

    return test


def _organs(of: Attributes) -> set[str]:
    return {tumour.organ for tumour in of.tumours}


def _sites(record: CaseRecord) -> bool | None:
    wanted = {tumour.site for tumour in record.requested.tumours if tumour.site}
    return wanted <= {tumour.site for tumour in record.measured.tumours} if wanted else None


def _counts(record: CaseRecord) -> bool | None:
    wanted = [tumour for tumour in record.requested.tumours if tumour.count]
    return all(_measured_count(record, tumour) == tumour.count for tumour in wanted) if wanted else None


def _measured_count(record: CaseRecord, asked: TumourAttributes) -> int:
    return sum(tumour.count or 0 for tumour in _at(record, asked))


def _at(record: CaseRecord, asked: TumourAttributes) -> list[TumourAttributes]:
    """Measured tumours at the place of one that was asked for; metastases, which lie elsewhere, are not among them."""
    places = {tumour.site for tumour in record.drawn.tumours if tumour.organ == asked.organ}
    wanted = {asked.site} if asked.site else places
    found = [tumour for tumour in record.measured.tumours if tumour.organ == asked.organ]
    return [tumour for tumour in found if tumour.site in wanted and asked.side in (None, tumour.side)]


_TESTS: dict[str, _Test] = {
    "sex": _equal(lambda of: of.sex),
    "contrast phase": _equal(lambda of: of.contrast_phase),
    "region": _equal(lambda of: of.region),
    "absent organs": _among(lambda of: of.absent_organs),
    "enlarged organs": _among(lambda of: of.enlarged_organs),
    "tumour organ": lambda record: (
        _organs(record.requested) <= _organs(record.measured) if record.requested.tumours else None
    ),
    "tumour site": _sites,
    "tumour count": _counts,
}


def agreement(records: Iterable[CaseRecord]) -> list[Row]:
    """Count for each attribute how often it is met; attributes that no prompt states are left out."""
    measured = [record for record in records if record.measured != Attributes()]
    rows = (_row(name, test, measured) for name, test in _TESTS.items())
    return [row for row in rows if row.candidates.cases]


def _row(name: str, test: _Test, records: Sequence[CaseRecord]) -> Row:
    results = [(record.status == "accepted", test(record)) for record in records]
    every = [met for _, met in results if met is not None]
    delivered = [met for accepted, met in results if accepted and met is not None]
    return Row(name, Met(sum(every), len(every)), Met(sum(delivered), len(delivered)))


def size_pairs(records: Iterable[CaseRecord]) -> Iterator[Pair]:
    """Pair the size asked for at each place of a delivered case with the one measured there."""
    for record in records:
        if record.status != "accepted":
            continue
        stated = [tumour for tumour in record.requested.tumours if tumour.size_mm]
        for asked in stated or [tumour for tumour in record.drawn.tumours if tumour.size_mm]:
            sizes = [tumour.size_mm for tumour in _at(record, asked) if tumour.size_mm]
            if sizes and asked.size_mm:
                place = (asked.site or asked.organ).replace("_", " ")
                yield Pair(asked.size_mm, max(sizes), bool(stated), f"{place}, {record.case_id}")
