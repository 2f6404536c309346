"""The command `factory bench faults`: plant faults into a dataset and see which measures tell."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from downstream.fault_table import FaultTable

__all__ = ["app"]

app = typer.Typer()


@app.command("faults")
def bench_faults(  # one parameter per option
    dataset: Annotated[Path, typer.Argument(help="A good dataset of generated cases.")],
    real: Annotated[Path, typer.Option(help="Dataset to compare with, such as another seed of the same build.")],
    out: Annotated[Path, typer.Option(help="Folder for the faulty copies.")],
    segmenter: Annotated[str | None, typer.Option(help="As in: factory bench alignment.")] = None,
    train: Annotated[Path | None, typer.Option(help="Dataset to train the attribute classifier on.")] = None,
    structures: Annotated[str, typer.Option(help="Labels of guidegen20-tumour.")] = "liver,spleen,kidneys,lungs",
    faults: Annotated[str, typer.Option(help="Some faults, with commas; default: all.")] = "",
    resamples: Annotated[int, typer.Option(help="Bootstrap samples of each measure.", min=1)] = 100,
    shrink: Annotated[bool, typer.Option(help="As in: factory bench fidelity.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Plant faults and see which measures tell.

    Copies the dataset once per fault. Exit status 1 if a fault does not move what it must the right way.
    """
    from downstream.attributes import AttributeReader
    from downstream.fault_table import Bench, fault_table
    from downstream.faults import FAULTS
    from downstream.fidelity.comparison import FidelityOptions
    from downstream.fidelity.samples import Draws
    from downstream.segmenter import open_segmenter
    from manifests.dataset import Dataset

    good, reference = Dataset.open(dataset), Dataset.open(real)
    chosen = _split(faults) or tuple(FAULTS)
    options = FidelityOptions(structures=_split(structures), draws=Draws(resamples, seed), shrink=shrink)
    network = None if segmenter is None else open_segmenter(segmenter)
    reader = None if train is None else AttributeReader(Dataset.open(train), seed)
    with tqdm(total=1 + len(chosen), unit="dataset", disable=True if as_json else None) as bar:
        bench = Bench(reference, options, network, reader)
        table = fault_table(good, bench, out, chosen, lambda _: bar.update())
    typer.echo(json.dumps(table.to_json(), indent=2) if as_json else _text(table))
    if table.failures():
        raise typer.Exit(1)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _text(table: "FaultTable") -> str:
    """Markdown: measures in rows, faults in columns; an arrow where a measure left its interval."""
    from downstream.fault_table import CLEAN

    faults = [name for name in table.cells if name != CLEAN]
    lines = [f"| measure | {CLEAN} (95 %) | {' | '.join(faults)} |", "|---" * (len(faults) + 2) + "|"]
    for name, clean in table.cells[CLEAN].items():
        row = [f"{clean.value:.3g} ({clean.low:.3g} to {clean.high:.3g})"]
        for fault in faults:
            if name not in table.cells[fault]:
                row.append("")
                continue
            arrow = {1: " ↑", -1: " ↓", 0: ""}[table.moved(fault, name)]
            value = f"{table.cells[fault][name].value:.3g}{arrow}"
            row.append(f"**{value}**" if table.expects(fault, name) else value)
        lines.append(f"| {name} | {' | '.join(row)} |")
    lines += [f"did not move: {failure}" for failure in table.failures()]
    lines += [f"within the interval of the good dataset: {move}" for move in table.hidden()]
    return "\n".join([*lines, *([] if table.failures() else ["every fault moved what it must (bold) the right way"])])
