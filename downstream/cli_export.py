"""The commands `factory export …`: a dataset in the layout of another tool."""

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

if TYPE_CHECKING:  # the commands import what they need
    from downstream.export import ExportSummary, OnCase
    from manifests.dataset import Dataset

__all__ = ["app"]

app = typer.Typer(help="Write a dataset in the layout of another tool.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Source = Annotated[Path, typer.Argument(help="Directory of a dataset.")]
_Workers = Annotated[int | None, typer.Option(help="Threads; default: one per core.")]
_Folds = Annotated[int | None, typer.Option(help="Cross-validation folds, 0 for none; default: up to 5.")]
_Scheme = Annotated[str, typer.Option(help="Label scheme to paint.")]
_Painted = Annotated[str | None, typer.Option("--scheme", help="Label scheme to paint.")]
_Out = Annotated[Path, typer.Option(help="Folder to make, or to go on with.")]


@app.command("nnunet")
def export_nnunet(
    dataset: _Source,
    id: Annotated[str, typer.Option(help="nnU-Net's dataset number, three digits.")],
    name: Annotated[str, typer.Option(help="Name behind the number: letters, digits and _.")],
    out: Annotated[Path, typer.Option(help="nnU-Net's raw folder.", envvar="nnUNet_raw")],
    scheme: _Scheme = "guidegen20",
    folds: _Folds = None,
    workers: _Workers = None,
    verify: Annotated[bool, typer.Option(help="Run nnU-Net's own integrity check at the end.")] = True,
    as_json: _Json = False,
) -> None:
    """Export to nnU-Net v2 raw.

    Repeat the command to go on after an interruption.
    """
    from downstream.export_nnunet import ExportOptions, export

    options = ExportOptions(id=id, name=name, scheme=scheme, folds=folds, workers=workers, verify=verify)
    _run(dataset, as_json, lambda opened, tell: export(opened, out, options, tell))


@app.command("msd")
def export_msd(
    dataset: _Source,
    task: Annotated[str, typer.Option(help="Number of the task, two digits.")],
    name: Annotated[str, typer.Option(help="Name behind the number: letters and digits.")],
    out: Annotated[Path, typer.Option(help="Folder in which Task.._Name is made.")],
    scheme: _Scheme = "guidegen20",
    folds: _Folds = None,
    workers: _Workers = None,
    as_json: _Json = False,
) -> None:
    """Export to a decathlon task.

    Writes the Medical Segmentation Decathlon's layout and MONAI's datalist with folds.
    Repeat the command to go on after an interruption.
    """
    from downstream.export_msd import MsdOptions
    from downstream.export_msd import export_msd as export

    options = MsdOptions(task, name, scheme, folds, workers)
    _run(dataset, as_json, lambda opened, tell: export(opened, out, options, tell))


_REPEAT = "Repeat the command to go on after an interruption."
_FOLDERS = {
    "nifti": (None, "Export to plain NIfTI.", "Writes a folder a case with CT, anatomy, lesions and record."),
    "totalsegmentator": (
        "totalsegmentator",
        "Export to TotalSegmentator's layout.",
        "Writes a folder a subject with the CT and a binary mask for each label.",
    ),
    "dicom": (
        "guidegen20",
        "Export to DICOM.",
        "Writes a study a case with a CT series and segmentations, marked as synthetic.",
    ),
    "huggingface": (
        "guidegen20-tumour",
        "Export to a Hugging Face dataset.",
        "Writes a Parquet file a case, a dataset card and Croissant metadata.",
    ),
}
"""Layouts that are a folder and nothing else to ask for: the scheme painted by default, what for, what is written."""


def _add(layout: str, painted: str | None) -> None:
    @app.command(layout, help=f"{_FOLDERS[layout][1]}\n\n{_FOLDERS[layout][2]} {_REPEAT}")
    def command(
        dataset: _Source,
        out: _Out,
        scheme: _Painted = painted,
        workers: _Workers = None,
        as_json: _Json = False,
    ) -> None:
        export = getattr(import_module(f"downstream.export_{layout}"), f"export_{layout}")
        _run(dataset, as_json, lambda opened, tell: export(opened, out, scheme, workers, tell))


for layout, (painted, _, _) in _FOLDERS.items():
    _add(layout, painted)


def _run(dataset: Path, as_json: bool, export: "Callable[[Dataset, OnCase], ExportSummary]") -> None:
    """Open, export with a bar on a terminal, print."""
    from manifests.dataset import Dataset

    opened = Dataset.open(dataset)
    with tqdm(total=len(opened.accepted()), unit="case", disable=True if as_json else None) as bar:
        summary = export(opened, lambda _: bar.update())
    typer.echo(json.dumps(asdict(summary), indent=2, default=str) if as_json else _text(summary))


def _text(summary: "ExportSummary") -> str:
    lines = [
        f"{summary.folder}: {summary.cases} cases ({summary.written} written, {summary.kept} kept)"
        f" in {summary.seconds:.1f} s; read back with {', '.join(summary.readers)}"
    ]
    if summary.cases_with:
        lines.append("  cases with " + ", ".join(f"{name} {count}" for name, count in summary.cases_with.items()))
    if summary.val_sizes:
        lines.append(f"  validation folds of {', '.join(map(str, summary.val_sizes))} cases")
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in summary.warnings)])
