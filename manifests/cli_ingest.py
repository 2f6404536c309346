"""The command `factory ingest`: real scans into a dataset."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from manifests.errors import InvalidValueError, UnknownNameError
from manifests.layouts import IMAGES, LAYOUTS, MASKS, Source, images_labels_source

__all__ = ["app"]

app = typer.Typer()

_BY_PATTERNS = "images-labels"
_NAMES = (*LAYOUTS, _BY_PATTERNS)


@app.command("ingest")
def ingest_command(
    where: Annotated[
        list[str], typer.Argument(metavar="LAYOUT FOLDER", help=f"One of {', '.join(_NAMES)}; and where it lies.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the new dataset, or of one to continue.")],
    layout: Annotated[str | None, typer.Option(help="The layout, where the folder alone is given.")] = None,
    labels: Annotated[str | None, typer.Option(help="images-labels: a scheme, or a JSON file {value: name}.")] = None,
    meanings: Annotated[
        list[str] | None, typer.Option("--map", help='LABEL=MEANING, e.g. "tumor=tumour:kidney" or "3=ignore".')
    ] = None,
    images: Annotated[str, typer.Option(help="images-labels: pattern; the first * is the case; empty: none.")] = IMAGES,
    masks: Annotated[str, typer.Option(help="images-labels: pattern of label maps.")] = MASKS,
    licence: Annotated[str | None, typer.Option(help="Licence of the scans.")] = None,
    resample_oblique: Annotated[bool, typer.Option(help="Resample tilted scans instead of refusing them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring real scans into a dataset.

    A case that cannot be read becomes a row with its reason; exit 1 if there is one.
    """
    from manifests.ingest import ingest  # what reads NIfTI loads slowly, and other commands do without

    found = _source(_place(where, layout), labels, _meanings(meanings or []), (images, masks))
    found = replace(found, licence=licence or found.licence, resample_oblique=resample_oblique)
    bar = tqdm(ingest(found, out), desc="ingest", unit=" cases", total=len(found.cases), disable=as_json or None)
    failed = {record.case_id: record.reasons[0] for record in bar if record.status == "failed"}
    if as_json:
        facts = {"dataset": str(out), "layout": found.layout, "cases": len(found.cases), "failed": failed}
        typer.echo(json.dumps(facts | {"left_out": dict(found.left_out)}, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(found, out, failed)))
    if failed:
        raise typer.Exit(1)


def _lines(found: Source, out: Path, failed: dict[str, str]) -> list[str]:
    lines = [f"failed {reason}" for reason in failed.values()]
    lines += [f"left out {len(names)}: {why} ({names[0]} …)" for why, names in found.left_out.items()]
    return [*lines, f"{out}: {len(found.cases) - len(failed)} of {len(found.cases)} cases"]


def _place(where: Sequence[str], layout: str | None) -> tuple[str, Path]:
    """Read `LAYOUT FOLDER`, or `FOLDER` with `--layout LAYOUT`."""
    said = [layout, *where] if layout else list(where)
    if len(said) != 2:
        raise InvalidValueError(
            "factory ingest",
            got=" ".join(said) if len(said) > 1 else f"{said[0]} alone",
            need="a layout and a folder",
            do=f"Write factory ingest LAYOUT FOLDER --out DATASET, with one of {', '.join(_NAMES)}.",
        )
    if said[0] not in _NAMES:
        raise UnknownNameError(
            "layout", got=repr(said[0]), need=f"one of {', '.join(_NAMES)}", do="Choose the one that fits the folder."
        )
    return said[0], Path(said[1])


def _source(place: tuple[str, Path], labels: str | None, meanings: dict[str, str], patterns: tuple[str, str]) -> Source:
    layout, folder = place
    if layout != _BY_PATTERNS:
        if labels is not None or patterns != (IMAGES, MASKS):
            raise InvalidValueError(
                "--labels, --images, --masks",
                got=f"given for the layout {layout}, which knows its files and labels",
                need=f"the layout {_BY_PATTERNS}",
                do="Leave them out; --map changes what a label means.",
            )
        return LAYOUTS[layout](folder, meanings)
    if labels is None:
        raise InvalidValueError("--labels", got="nothing", need="a scheme or a JSON file", do="Say what values mean.")
    return images_labels_source(folder, labels, meanings, images=patterns[0], masks=patterns[1])


def _meanings(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for label, equals, meaning in pairs:
        if not (label and equals and meaning):
            raise InvalidValueError("--map", got=repr(label), need="LABEL=MEANING", do='E.g. "tumor=tumour:kidney".')
    return {label: meaning for label, _, meaning in pairs}
