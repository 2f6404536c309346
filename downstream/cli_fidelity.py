"""The command `factory bench fidelity`: how far the images of a dataset are from real ones."""

import csv
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from downstream.fidelity.comparison import Comparison
    from downstream.fidelity.measures import Measurement

__all__ = ["app"]

app = typer.Typer()

_WEIGHTS = "Local weights"


@app.command("fidelity")
def bench_fidelity(  # one parameter per option
    dataset: Annotated[Path, typer.Argument(help="Dataset to judge.")],
    real: Annotated[Path, typer.Option(help="Dataset of the images to compare with.")],
    scheme: Annotated[str, typer.Option(help="Label scheme of the structures.")] = "guidegen20-tumour",
    structures: Annotated[str, typer.Option(help="Some of its labels, with commas; default: all.")] = "",
    spacing: Annotated[float | None, typer.Option(help="Spacing in mm; default: the coarsest at hand.")] = None,
    cases: Annotated[int, typer.Option(help="Most cases of each dataset.", min=1)] = 200,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples and relabellings.", min=1)] = 200,
    shrink: Annotated[bool, typer.Option(help="Shrink covariances: fewer cases, another measure.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    fid: Annotated[Path | None, typer.Option(help="Folder of a 2-D encoder.", rich_help_panel=_WEIGHTS)] = None,
    fvd: Annotated[Path | None, typer.Option(help="Folder of a 3-D encoder.", rich_help_panel=_WEIGHTS)] = None,
    lpips: Annotated[Path | None, typer.Option(help="Folder of LPIPS.", rich_help_panel=_WEIGHTS)] = None,
    ct_clip: Annotated[Path | None, typer.Option(help="File of CT-CLIP vectors.", rich_help_panel=_WEIGHTS)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.", rich_help_panel=_WEIGHTS)] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder for measures.csv and cases.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare images with real ones.

    Weight-free: HU, volumes, radiomics, spectra, continuity, diversity, copies; more with local weights.
    """
    from downstream.fidelity.comparison import FidelityOptions, compare
    from downstream.fidelity.samples import Draws
    from downstream.fidelity.weighted import Places, measure_with_weights, open_weights
    from manifests.dataset import Dataset

    weights = open_weights(Places(fid, fvd, lpips, ct_clip, device))
    judged, reference = Dataset.open(dataset), Dataset.open(real)
    options = FidelityOptions(
        scheme, tuple(filter(None, structures.split(","))), spacing, cases, Draws(resamples, seed), shrink
    )
    with tqdm(unit="case", disable=True if as_json else None) as bar:
        found = compare(reference, judged, options, lambda: bar.update() and None)
        more = measure_with_weights(reference, judged, options, weights, lambda: bar.update() and None)
    found = replace(found, measurements=(*found.measurements, *more))
    if out:
        _write(found, out)
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else _text(found))


def _write(found: "Comparison", out: Path) -> None:
    from downstream.fidelity.measures import Measurement
    from downstream.ledger import writing

    found.cases.write(out / "cases.csv")
    with writing(out), (out / "measures.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Measurement)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in found.measurements)


def _text(found: "Comparison") -> str:
    facts = found.facts
    lines = [
        f"{facts['cases']['synthetic']} cases of {facts['synthetic']} against {facts['cases']['real']} of {facts['real']},"
        f" at {facts['spacing_mm']:g} mm, scheme {facts['scheme']}",
        f"{'measure':28} {'structure':28} {'value (95 % interval)':>30}  {'null':>8}  {'p':>6}  cases",
    ]
    lines += [_row(row) for row in found.measurements]
    lines.append(
        "null: what two samples of one population give at these sizes; docs/fidelity.md says what each measure can tell"
    )
    return "\n".join(lines)


def _row(row: "Measurement") -> str:
    from downstream.fidelity.measures import UNITS

    known = row.value == row.value
    value = f"{_number(row.value)} ({_number(row.low)} to {_number(row.high)})" if known else "not measured"
    p = f"{row.p:6.3f}" if row.p == row.p else " " * 6
    null = _number(row.null) if row.null == row.null else ""
    return (
        f"{row.measure:28} {row.structure:28} {value:>30}  {null:>8}  {p}  {row.real}/{row.synthetic}"
        f"  {row.note or UNITS.get(row.measure, '')}"
    )


def _number(value: float) -> str:
    return f"{value:.3g}"
