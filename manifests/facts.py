"""What a dataset says of itself, as plain rows of text: the card shows them as Markdown, the report as HTML.

Equal datasets give equal facts: what differs between equal runs (times, workers, attempts) is not among them.
"""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from manifests.case import Attributes, CaseRecord
from manifests.provenance import source_summary
from manifests.spec import DatasetSpec

__all__ = [
    "Rows",
    "attribute_rows",
    "banner",
    "content_rows",
    "limits",
    "provenance_rows",
    "refusal_rows",
    "source_rows",
    "stated_licence",
    "summary",
]

Rows = list[tuple[str, ...]]
"""Cells of a table, row by row."""

_NUMBERS: dict[str, Callable[[Attributes], list[float | None]]] = {
    "age, years": lambda a: [a.age_years],
    "height, cm": lambda a: [a.height_cm],
    "weight, kg": lambda a: [a.weight_kg],
    "tumours": lambda a: [float(sum(t.count for t in a.tumours if t.count is not None))] if a.tumours else [],
    "largest tumour of a site, mm": lambda a: [t.size_mm for t in a.tumours],
}
_NAMES: dict[str, Callable[[Attributes], list[str | None]]] = {
    "sex": lambda a: [a.sex],
    "contrast phase": lambda a: [a.contrast_phase],
    "region": lambda a: [a.region],
    "tumour organ": lambda a: [t.organ for t in a.tumours],
    "tumour site": lambda a: [t.site for t in a.tumours],
    "tumour side": lambda a: [t.side for t in a.tumours],
    "T stage": lambda a: [t.t_stage for t in a.tumours],
}


def summary(spec: DatasetSpec, records: Iterable[CaseRecord]) -> str:
    """Say in one sentence how much of what is in a dataset."""
    count = sum(record.status == "accepted" for record in records)
    kind = "SYNTHETIC CT volumes" if spec.kind == "synthetic" else "CT volumes ingested from real scans"
    return f"{count} {kind} with anatomical masks and lesion instances, in the format of CT factory {spec.factory_version}."


def banner(spec: DatasetSpec) -> tuple[str, str]:
    """Say whose voxels these are: a mark in a few words, and what follows from it."""
    if spec.kind == "synthetic" and spec.from_patients:
        return "SYNTHETIC, from anatomies of patients.", (
            "The masks are deformed label maps of real scans: the terms of each "
            "source apply. `notes` in the manifest says how much of its source is left in a case. Not for diagnosis."
        )
    if spec.kind == "synthetic":
        return (
            "SYNTHETIC.",
            "No voxel is of a patient. Not for diagnosis; no evidence about patients or diseases.",
        )
    return "REAL SCANS.", "The terms of each source apply, and so does the duty to protect patients."


def stated_licence(records: Iterable[CaseRecord]) -> str:
    """Find the licence that all delivered cases state; "unknown" if they state none, or several."""
    stated = {record.licence for record in records if record.status == "accepted"} - {None}
    return str(stated.pop()) if len(stated) == 1 else "unknown"


def content_rows(records: Sequence[CaseRecord]) -> Rows:
    """Count what is there: cases, refusals, lesions, bytes, grids."""
    counts = Counter(record.status for record in records)
    bytes_stored = sum(record.stored_bytes or 0 for record in records)
    grids = Counter((record.shape_zyx, record.spacing_mm_zyx) for record in records if record.shape_zyx)
    return [
        ("delivered cases", str(counts["accepted"])),
        ("refused candidates", str(counts["rejected"])),
        ("failed cases", str(counts["failed"])),
        ("lesions", str(sum(len(record.lesions) for record in records if record.status == "accepted"))),
        ("stored", f"{bytes_stored / 1e6:.1f} MB"),
        *(
            (f"grid {_times(shape)}, {_times(spacing)} mm (z, y, x)", f"{n} cases")
            for (shape, spacing), n in grids.most_common(5)
        ),
    ]


def _times(values: Iterable[int] | Iterable[float] | None) -> str:
    return " x ".join(f"{value:g}" for value in values or ())


def provenance_rows(spec: DatasetSpec) -> Rows:
    """Name the parts that made the dataset, each with its identity."""
    return [
        ("spec", spec.spec_id),
        ("mask model", _pairs(spec.mask_model)),
        ("image model", _pairs(spec.image_model)),
        ("grid", _pairs(spec.grid)),
        ("run seed", str(spec.run_seed)),
        ("randomise", f"{spec.randomise:g}"),
        ("prompts", _pairs(spec.prompts)),
        ("quality gate", _pairs(spec.gate)),
        ("anatomy table", spec.anatomy_table),
        ("CT factory", spec.factory_version),
    ]


def _pairs(table: dict[str, object] | dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(table.items())) or "none"


def attribute_rows(records: Iterable[CaseRecord]) -> Rows:
    """Summarise attributes of delivered cases as requested, drawn and measured; "-" where none is stated."""
    cases = [record for record in records if record.status == "accepted"]
    views = [[getattr(case, view) for case in cases] for view in ("requested", "drawn", "measured")]
    numbers = [(name, *(_spread(_flat(read, view)) for view in views)) for name, read in _NUMBERS.items()]
    return [*numbers, *((name, *(_shares(_flat(read, view)) for view in views)) for name, read in _NAMES.items())]


def _flat(read: Callable[[Attributes], Sequence[object]], view: Iterable[Attributes]) -> list[object]:
    return [value for attributes in view for value in read(attributes) if value is not None]


def _spread(values: Sequence[object]) -> str:
    numbers = [float(str(value)) for value in values]
    if not numbers:
        return "-"
    mean = statistics.fmean(numbers)
    return f"{mean:.1f} ± {statistics.pstdev(numbers):.1f} ({min(numbers):g} to {max(numbers):g}), n = {len(numbers)}"


def _shares(values: Sequence[object]) -> str:
    counts = sorted(Counter(map(str, values)).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count}" for name, count in counts) or "-"


def source_rows(records: Sequence[CaseRecord]) -> Rows:
    """Say how many sources cases were drawn from, and how much they resemble them; empty without sources."""
    found = source_summary(records)
    if not found:
        return []
    rows: Rows = [("sources", str(found["sources"])), ("cases from one source, at most", str(found["most_from_one"]))]
    for name, words in (("source_dice", "Dice with the source"), ("nearest_dice", "highest Dice with any compared")):
        if name in found:
            dice = found[name]
            rows.append((words, f"mean {dice['mean']:.3f}, highest {dice['highest']:.3f} ({dice['case']})"))
    return rows


def refusal_rows(records: Iterable[CaseRecord]) -> Rows:
    """Count reasons of refused and failed cases; numbers in them are left out, so that equal reasons count together."""
    rows: Rows = []
    kept = list(records)
    for status in ("rejected", "failed"):
        reasons = Counter(_pattern(reason) for record in kept if record.status == status for reason in record.reasons)
        rows += [
            (status, reason, str(n)) for reason, n in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        ]
    return rows


def _pattern(reason: str) -> str:
    return re.sub(r"(?<![A-Za-z_])[-+]?\d+(\.\d+)?", "N", reason)


def limits(spec: DatasetSpec) -> tuple[str, ...]:
    """List the known limits of a dataset of this kind."""
    if spec.kind == "real":
        return (
            "Labels are as good as their source; instances are connected components of its tumour labels.",
            "Where a source's tumour label hides the organ, the nearest structure of that organ is assumed under it.",
            "CT values are clipped to -1024 to 3071 HU.",
        )
    refused = ("The quality gate was not enforced: delivered cases may have `reasons` against them.",)
    return (
        *(() if spec.gate.get("enforced", True) else refused),
        "Appearance is that of the engines named above, not of a scanner; measure the domain gap before relying on it.",
        "Attributes follow the prompts and the distribution they were drawn from, with all their biases.",
        "Stages (T, N, M) are labels of the prompt; only number, site and size of tumours are drawn and measured.",
    )
