"""The dataset card: README.md with a Hugging Face header, and croissant.json beside it.

A card says what the dataset is, how and by what it was made, how many cases were refused and why,
and what was asked next to what was measured. Equal datasets give equal cards.
"""

import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.case import Attributes, CaseRecord
from manifests.croissant import croissant
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError, StorageError
from manifests.provenance import source_summary
from manifests.spec import DatasetSpec

__all__ = ["CardFiles", "render_card", "stated_licence", "summary", "write_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
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


@dataclass(frozen=True, slots=True)
class CardFiles:
    """What a card says of the files beside it.

    Attributes:
        configs: value of `configs` in the Hugging Face header, in YAML.
        text: what lies where, as Markdown.
    """

    configs: str
    text: str


_STORE = CardFiles(
    "[{config_name: manifest, data_files: manifest.parquet}]",
    "`manifest.parquet` has one row per case and candidate. Each delivered case is an OME-Zarr 0.5 image under "
    "`cases/`: CT in HU, `labels/anatomy` and `labels/lesions`; arrays are (z, y, x), x to the patient's left, y to "
    "posterior, z to superior.",
)


def write_card(dataset: Dataset, *, name: str | None = None, licence: str | None = None) -> Path:
    """Write README.md and croissant.json, and the manifest they describe; earlier ones are replaced.

    Args:
        dataset: any dataset.
        name: title; by default the directory's name.
        licence: of the data; by default the one that all records state, else "unknown".

    Returns:
        The path of README.md.

    Raises:
        InvalidValueError: if the name has no letter or digit.
        StorageError: if the disk is full or fails.
    """
    title = re.sub(r"[^A-Za-z0-9_-]+", "-", name or dataset.root.resolve().name).strip("-")
    if not title:
        raise InvalidValueError("name of the card", got=repr(name), need="letters or digits", do="Choose another.")
    records = dataset.records()
    terms = licence or stated_licence(records)
    dataset.compact()
    metadata = croissant(dataset, name=title, licence=terms, description=summary(dataset.spec, records))
    try:
        text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
        replace(dataset.root / "croissant.json", text.encode())
        replace(dataset.root / "README.md", render_card(dataset.spec, records, title, terms).encode())
    except OSError as error:
        raise StorageError(
            "dataset card", got=str(error), need="a disk that takes it", do="Free space and run it again."
        ) from error
    return dataset.root / "README.md"


def stated_licence(records: Iterable[CaseRecord]) -> str:
    """The licence that all delivered cases state, or "unknown"."""
    stated = {record.licence for record in records if record.status == "accepted"} - {None}
    return str(stated.pop()) if len(stated) == 1 else "unknown"


def render_card(
    spec: DatasetSpec, records: Sequence[CaseRecord], title: str, licence: str, files: CardFiles = _STORE
) -> str:
    """Render the card as Markdown with a YAML header; no records give a card that says so."""
    sections = [
        _header(spec, records, title, licence, files.configs),
        f"# {title}\n\n{_banner(spec)}\n\n{summary(spec, records)}",
        f"{_contents(records)}\n\n{files.text}",
        _provenance(spec),
        _attributes(records),
        *_sources(records),
        _refusals(records),
        _limits(spec),
        f"## Licence\n\n{licence}. The software that made it is under Apache-2.0.",
    ]
    return "\n\n".join(sections) + "\n"


def summary(spec: DatasetSpec, records: Iterable[CaseRecord]) -> str:
    """Say in one sentence how much of what is in a dataset."""
    count = sum(record.status == "accepted" for record in records)
    kind = "SYNTHETIC CT volumes" if spec.kind == "synthetic" else "CT volumes ingested from real scans"
    return f"{count} {kind} with anatomical masks and lesion instances, in the format of CT factory {spec.factory_version}."


def _header(spec: DatasetSpec, records: Sequence[CaseRecord], title: str, licence: str, configs: str) -> str:
    count = sum(record.status == "accepted" for record in records)
    size = next((label for limit, label in _SIZES if count < limit), "n>1M")
    tags = ["medical", "computed-tomography", "segmentation", *(["synthetic"] if spec.kind == "synthetic" else [])]
    lines = [
        f"pretty_name: {json.dumps(title)}",
        f"license: {json.dumps(licence.lower())}",
        "task_categories: [image-segmentation]",
        f"tags: [{', '.join(tags)}]",
        f"size_categories: [{json.dumps(size)}]",
        f"configs: {configs}",
    ]
    return "\n".join(["---", *lines, "---"])


def _banner(spec: DatasetSpec) -> str:
    if spec.kind == "synthetic" and spec.from_patients:
        return (
            "> **SYNTHETIC, from anatomies of patients.** The masks are deformed label maps of real scans: the terms of each "
            "source apply. `notes` in the manifest says how much of its source is left in a case. Not for diagnosis."
        )
    if spec.kind == "synthetic":
        return "> **SYNTHETIC.** No voxel is of a patient. Not for diagnosis; no evidence about patients or diseases."
    return "> **REAL SCANS.** The terms of each source apply, and so does the duty to protect patients."


def _contents(records: Sequence[CaseRecord]) -> str:
    counts = Counter(record.status for record in records)
    bytes_stored = sum(record.stored_bytes or 0 for record in records)
    grids = Counter((record.shape_zyx, record.spacing_mm_zyx) for record in records if record.shape_zyx)
    rows = [
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
    return "## Contents\n\n" + _table(("what", "how much"), rows)


def _times(values: Iterable[int] | Iterable[float] | None) -> str:
    return " x ".join(f"{value:g}" for value in values or ())


def _provenance(spec: DatasetSpec) -> str:
    rows = [
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
    return "## How it was made\n\n" + _table(("part", "identity"), rows)


def _pairs(table: dict[str, object] | dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(table.items())) or "none"


def _attributes(records: Sequence[CaseRecord]) -> str:
    cases = [record for record in records if record.status == "accepted"]
    views = [[getattr(case, view) for case in cases] for view in ("requested", "drawn", "measured")]
    rows = [(name, *(_spread(_flat(read, view)) for view in views)) for name, read in _NUMBERS.items()]
    rows += [(name, *(_shares(_flat(read, view)) for view in views)) for name, read in _NAMES.items()]
    return (
        "## Attributes\n\nDelivered cases. *Requested* is what prompts state, *drawn* what was drawn where they are silent, "
        "*measured* what the stored arrays show.\n\n" + _table(("attribute", "requested", "drawn", "measured"), rows)
    )


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


def _sources(records: Sequence[CaseRecord]) -> list[str]:
    """How many sources cases were drawn from, and how much they resemble them; no section without sources."""
    found = source_summary(records)
    if not found:
        return []
    rows = [("sources", str(found["sources"])), ("cases from one source, at most", str(found["most_from_one"]))]
    for name, words in (("source_dice", "Dice with the source"), ("nearest_dice", "highest Dice with any compared")):
        if name in found:
            dice = found[name]
            rows.append((words, f"mean {dice['mean']:.3f}, highest {dice['highest']:.3f} ({dice['case']})"))
    text = "Each case is a deformed label map of a source. Dice is the mean over organs after alignment; 1 is a copy."
    return [f"## Sources\n\n{text}\n\n" + _table(("what", "how much"), rows)]


def _refusals(records: Sequence[CaseRecord]) -> str:
    """Reasons of refused and failed cases; numbers in them are left out, so that equal reasons count together."""
    rows = []
    for status in ("rejected", "failed"):
        reasons = Counter(
            _pattern(reason) for record in records if record.status == status for reason in record.reasons
        )
        rows += [
            (status, reason, str(n)) for reason, n in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        ]
    if not rows:
        return "## Refusals\n\nNone: every candidate was delivered."
    return "## Refusals\n\nThey stay on record as rows of the manifest.\n\n" + _table(
        ("status", "reason", "times"), rows
    )


def _pattern(reason: str) -> str:
    return re.sub(r"(?<![A-Za-z_])[-+]?\d+(\.\d+)?", "N", reason)


def _limits(spec: DatasetSpec) -> str:
    if spec.kind == "real":
        lines = [
            "Labels are as good as their source; instances are connected components of its tumour labels.",
            "Where a source's tumour label hides the organ, the nearest structure of that organ is assumed under it.",
            "CT values are clipped to -1024 to 3071 HU.",
        ]
    else:
        lines = [
            "Appearance is that of the engines named above, not of a scanner; measure the domain gap before relying on it.",
            "Attributes follow the prompts and the distribution they were drawn from, with all their biases.",
            "Stages (T, N, M) are labels of the prompt; only number, site and size of tumours are drawn and measured.",
        ]
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
