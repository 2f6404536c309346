"""The commands `factory view` and `factory report`: a dataset as pictures, quickly or with everything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from downstream.report.report import Made

__all__ = ["app"]

app = typer.Typer()

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Dataset = Annotated[Path, typer.Argument(help="Directory of a dataset.")]
_Cases = Annotated[int, typer.Option(help="Cases to show: the extremes, then the greatest variety.")]


@app.command("view")
def view_command(
    dataset: _Dataset,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default: DATASET-view beside it.")] = None,
    n: _Cases = 8,
    as_json: _Json = False,
) -> None:
    """Draw a contact sheet and a quick page.

    The page shows one slice a plane; `factory report` shows them all, and what else is known.
    """
    from downstream.report.report import view
    from manifests.dataset import Dataset

    target = out or dataset.resolve().with_name(f"{dataset.resolve().name}-view")
    _draw(lambda progress: view(Dataset.open(dataset), target, n, progress), n, as_json=as_json)


@app.command("report")
def report_command(
    dataset: _Dataset,
    more_runs: Annotated[list[str] | None, typer.Argument(help="More folders for --runs.", metavar="[RUNS]...")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the page; default: DATASET-report beside it.")] = None,
    n: _Cases = 8,
    runs: Annotated[list[str] | None, typer.Option(help="Folders of benchmark runs, as in --runs runs/*.")] = None,
    as_json: _Json = False,
) -> None:
    """Write all about a dataset on one page.

    One HTML file that needs nothing else: what was asked, made and refused, how good it is, and
    cases slice by slice. Equal datasets give equal pages.
    """
    from downstream.report.report import report
    from manifests.dataset import Dataset

    target = out or dataset.resolve().with_name(f"{dataset.resolve().name}-report")
    folders = [*(runs or []), *(more_runs or [])]
    _draw(lambda progress: report(Dataset.open(dataset), target, n, folders, progress), n, as_json=as_json)


def _draw(make: "Callable[[Callable[[Any], object]], Made]", n: int, *, as_json: bool) -> None:
    with tqdm(total=n, unit="case", disable=True if as_json else None) as bar:
        made = make(lambda _: bar.update())
    typer.echo(json.dumps(made.to_json(), indent=2) if as_json else _text(made))


def _text(made: "Made") -> str:
    lines = [f"{len(made.case_ids)} cases", f"  {made.page} ({made.page_bytes / 1e6:.1f} MB)"]
    return "\n".join([*lines, *([f"  {made.sheet}"] if made.sheet else [])])
