"""The dataset card: README.md with a Hugging Face header, and croissant.json beside it.

A card says what the dataset is, how and by what it was made, how many cases were refused and why,
and what was asked next to what was measured. Equal datasets give equal cards.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.case import CaseRecord
from manifests.croissant import croissant
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError, StorageError
from manifests.facts import (
    attribute_rows,
    banner,
    content_rows,
    limits,
    provenance_rows,
    refusal_rows,
    source_rows,
    stated_licence,
    summary,
)
from manifests.spec import DatasetSpec

__all__ = ["CardFiles", "render_card", "write_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


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


def render_card(
    spec: DatasetSpec, records: Sequence[CaseRecord], title: str, licence: str, files: CardFiles = _STORE
) -> str:
    """Render the card as Markdown with a YAML header; no records give a card that says so."""
    mark, text = banner(spec)
    sections = [
        _header(spec, records, title, licence, files.configs),
        f"# {title}\n\n> **{mark}** {text}\n\n{summary(spec, records)}",
        f"## Contents\n\n{_table(('what', 'how much'), content_rows(records))}\n\n{files.text}",
        "## How it was made\n\n" + _table(("part", "identity"), provenance_rows(spec)),
        _attributes(records),
        *_sources(records),
        _refusals(records),
        "## Known limits\n\n" + "\n".join(f"- {line}" for line in limits(spec)),
        f"## Licence\n\n{licence}. The software that made it is under Apache-2.0.",
    ]
    return "\n\n".join(sections) + "\n"


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


def _attributes(records: Sequence[CaseRecord]) -> str:
    return (
        "## Attributes\n\nDelivered cases. *Requested* is what prompts state, *drawn* what was drawn where they are silent, "
        "*measured* what the stored arrays show.\n\n"
        + _table(("attribute", "requested", "drawn", "measured"), attribute_rows(records))
    )


def _sources(records: Sequence[CaseRecord]) -> list[str]:
    """The section on sources; none without sources."""
    if not (rows := source_rows(records)):
        return []
    text = "Each case is a deformed label map of a source. Dice is the mean over organs after alignment; 1 is a copy."
    return [f"## Sources\n\n{text}\n\n" + _table(("what", "how much"), rows)]


def _refusals(records: Sequence[CaseRecord]) -> str:
    if not (rows := refusal_rows(records)):
        return "## Refusals\n\nNone: every candidate was delivered."
    return "## Refusals\n\nThey stay on record as rows of the manifest.\n\n" + _table(
        ("status", "reason", "times"), rows
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
