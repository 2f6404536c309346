"""The commands `factory check`, `info`, `card` and `ingest`: what a dataset holds and whether it keeps its promises."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from tqdm import tqdm

from manifests.card import write_card
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.ingest_sources import (
    IMAGES,
    MASKS,
    Source,
    images_labels_source,
    nnunet_source,
    totalsegmentator_source,
)
from manifests.provenance import source_summary
from manifests.validate import Finding, collect_garbage, stream

__all__ = ["app", "summary"]

app = typer.Typer(no_args_is_help=True, help="Look at a dataset and check it.")

_Root = Annotated[Path, typer.Argument(help="Directory of the dataset.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_MOST_REASONS = 10


@app.command("check")
def check_command(
    dataset: _Root,
    gc: Annotated[bool, typer.Option("--gc", help="First remove what no record names; not during a build.")] = False,
    deep: Annotated[bool, typer.Option("--deep/--fast", help="Decode the arrays too, or compare files alone.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = os.cpu_count() or 1,
    as_json: _Json = False,
) -> None:
    """Check every promise of the format.

    Prints a finding for each broken promise of `docs/format.md`; exit 1 if there is one.
    """
    removed = collect_garbage(Dataset.open(dataset)) if gc else []
    steps = stream(dataset, deep=deep, workers=workers)
    bar = tqdm(steps, desc="check", unit=" cases", disable=None if not as_json else True)
    findings = [finding for found in bar for finding in found]
    if as_json:
        names = [str(path.relative_to(dataset)) for path in removed]
        _print_json({"ok": not findings, "findings": [asdict(finding) for finding in findings], "removed": names})
    else:
        typer.echo(_report(dataset, findings, removed))
    if findings:
        raise typer.Exit(1)


@app.command("info")
def info_command(dataset: _Root, as_json: _Json = False) -> None:
    """Show what a dataset is and holds."""
    facts = summary(Dataset.open(dataset))
    if as_json:
        _print_json(facts)
    else:
        typer.echo("\n".join(_lines(facts)))


@app.command("card")
def card_command(dataset: _Root, as_json: _Json = False) -> None:
    """Write the card and Croissant file anew."""
    path = write_card(Dataset.open(dataset))
    if as_json:
        _print_json({"card": str(path)})
    else:
        typer.echo(f"wrote {path}")


@app.command("ingest")
def ingest_command(
    source: Annotated[Path, typer.Argument(help="Folder of real scans with labels.")],
    out: Annotated[Path, typer.Option(help="Directory of the new dataset, or of one to continue.")],
    layout: Annotated[Literal["nnunet", "totalsegmentator", "images-labels"], typer.Option(help="How it is laid out.")],
    labels: Annotated[str | None, typer.Option(help="images-labels: a scheme, or a JSON file {value: name}.")] = None,
    meanings: Annotated[
        list[str] | None, typer.Option("--map", help='LABEL=MEANING, e.g. "tumor=tumour:kidney" or "3=ignore".')
    ] = None,
    images: Annotated[str, typer.Option(help="images-labels: pattern; the first * is the case; empty: none.")] = IMAGES,
    masks: Annotated[str, typer.Option(help="images-labels: pattern of label maps.")] = MASKS,
    licence: Annotated[str | None, typer.Option(help="Licence of the scans.")] = None,
    resample_oblique: Annotated[bool, typer.Option(help="Resample tilted scans instead of refusing them.")] = False,
    as_json: _Json = False,
) -> None:
    """Bring real scans into a dataset.

    A case that cannot be read becomes a row with its reason; exit 1 if there is one.
    """
    from manifests.ingest import ingest  # what reads NIfTI loads slowly, and other commands do without

    found = _source(source, layout, labels, _meanings(meanings or []), (images, masks))
    found = replace(found, licence=licence or found.licence, resample_oblique=resample_oblique)
    bar = tqdm(ingest(found, out), desc="ingest", unit=" cases", total=len(found.cases), disable=as_json or None)
    failed = {record.case_id: record.reasons[0] for record in bar if record.status == "failed"}
    facts = {"dataset": str(out), "cases": len(found.cases), "failed": failed}
    if as_json:
        _print_json(facts)
    else:
        counts = f"{out}: {len(found.cases) - len(failed)} of {len(found.cases)} cases"
        typer.echo("\n".join([*(f"failed {reason}" for reason in failed.values()), counts]))
    if failed:
        raise typer.Exit(1)


def _source(
    folder: Path, layout: str, labels: str | None, meanings: dict[str, str], patterns: tuple[str, str]
) -> Source:
    if layout == "nnunet":
        return nnunet_source(folder, meanings)
    if layout == "totalsegmentator":
        return totalsegmentator_source(folder, meanings)
    if labels is None:
        raise InvalidValueError("--labels", got="nothing", need="a scheme or a JSON file", do="Say what values mean.")
    return images_labels_source(folder, labels, meanings, images=patterns[0], masks=patterns[1])


def _meanings(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for label, equals, meaning in pairs:
        if not (label and equals and meaning):
            raise InvalidValueError("--map", got=repr(label), need="LABEL=MEANING", do='E.g. "tumor=tumour:kidney".')
    return {label: meaning for label, _, meaning in pairs}


def summary(dataset: Dataset) -> dict[str, Any]:
    """What a dataset is and holds, as JSON data.

    Raises:
        CorruptDatasetError: if a record was edited.
    """
    records = dataset.records()
    accepted = [record for record in records if record.status == "accepted"]
    reasons = Counter(reason for record in records for reason in record.reasons)
    return {
        "dataset": str(dataset.root),
        "spec_id": dataset.spec.spec_id,
        "spec": dataset.spec.model_dump(mode="json"),
        "cases": dict(Counter(record.status for record in records)),
        "stored_bytes": sum(record.stored_bytes or 0 for record in accepted),
        "voxels": sum(_voxels(record) for record in accepted),
        "attributes": _attributes(accepted),
        "sources": source_summary(accepted),
        "reasons": dict(reasons.most_common(_MOST_REASONS)),
    }


def _attributes(accepted: Sequence[CaseRecord]) -> dict[str, Any]:
    """Distribution of what delivered cases are: drawn where it was drawn, else requested."""
    views = [(record.drawn, record.requested) for record in accepted]

    def values(name: str) -> list[Any]:
        return [value for drawn, asked in views if (value := getattr(drawn, name) or getattr(asked, name)) is not None]

    ages = values("age_years")
    organs = (lesion.organ for record in accepted for lesion in record.lesions)
    return {
        "age_years": {"min": min(ages), "mean": sum(ages) / len(ages), "max": max(ages)} if ages else {},
        **{name: _counts(values(name)) for name in ("sex", "contrast_phase", "region")},
        "lesions": _counts(organs),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _voxels(record: CaseRecord) -> int:
    z, y, x = record.shape_zyx or (0, 0, 0)
    return z * y * x


def _lines(facts: dict[str, Any]) -> list[str]:
    spec = facts["spec"]
    cases = ", ".join(f"{count} {status}" for status, count in facts["cases"].items()) or "none yet"
    lines = [
        f"{facts['dataset']}  ({spec['kind']}, format {spec['format_version']}, spec {facts['spec_id']})",
        f"  cases       {cases}",
        f"  size        {facts['stored_bytes'] / 1e6:.1f} MB, {facts['voxels'] / 1e6:.1f} million voxels",
        f"  masks by    {_pairs(spec['mask_model'])}",
        f"  images by   {_pairs(spec['image_model'])}",
        f"  grid        {_pairs(spec['grid'])}",
        f"  randomise   {spec['randomise']:g}",
        f"  prompts     {_pairs(spec['prompts'])}",
    ]
    lines += [f"  {name:11} {_pairs(found)}" for name, found in facts["attributes"].items() if found]
    lines += [f"  sources     {_sources(facts['sources'])}"] if facts["sources"] else []
    return lines + [f"  refused {count:3} x {reason}" for reason, count in facts["reasons"].items()]


def _sources(found: dict[str, Any]) -> str:
    dice = ", ".join(
        f"{name.replace('_', ' ')} mean {found[name]['mean']:.2f}, highest {found[name]['highest']:.2f}"
        for name in ("source_dice", "nearest_dice")
        if name in found
    )
    return f"{found['sources']}, at most {found['most_from_one']} cases from one; {dice}"


def _pairs(values: dict[str, Any]) -> str:
    shown = (f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())
    return ", ".join(shown) or "-"


def _report(dataset: Path, findings: Sequence[Finding], removed: Sequence[Path]) -> str:
    lines = [f"removed {path.relative_to(dataset)}" for path in removed]
    width = max((len(finding.code) for finding in findings), default=0)
    lines += [f"{entry.code:{width}}  {entry.case_id or '-'}  {entry.message}" for entry in findings]
    verdict = f"{len(findings)} findings" if findings else "every promise is kept"
    return "\n".join([*lines, f"{dataset}: {verdict}"])


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
