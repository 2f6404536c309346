"""The commands `factory check`, `info` and `card`: what a dataset holds and whether it keeps its promises."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from manifests import cli_ingest
from manifests.card import write_card
from manifests.case import CaseRecord
from manifests.dataset import Dataset
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


app.registered_commands += cli_ingest.app.registered_commands


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
