"""The command `factory bench alignment`: do prompt, masks and image of a case say the same?"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from downstream.plain_json import plain

if TYPE_CHECKING:
    from downstream.alignment_summary import AlignmentSummary, Group, Rate
    from downstream.attributes import AttributeScore
    from downstream.image_mask import ImageMaskSummary
    from downstream.results import Result
    from downstream.stats import Interval
    from manifests.dataset import Dataset

__all__ = ["app"]

app = typer.Typer()

_NETWORKS = "Networks"


@app.command("alignment")
def bench_alignment(  # one parameter per option
    dataset: Annotated[Path, typer.Argument(help="Dataset to judge.")],
    segmenter: Annotated[
        str | None, typer.Option(help="totalsegmentator, nnunet:FOLDER or builtin.", rich_help_panel=_NETWORKS)
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="Label scheme of the segmenter's labels.")] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Dataset held out of the segmenter's training, for its ceiling.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Dataset to train the attribute classifier on.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps, for the segmenter.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for cases.csv, the values of single cases.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare prompts, masks and images.

    Masks with prompts always; with --segmenter images with masks, with --train images with prompts.
    """
    from manifests.dataset import Dataset

    judged = Dataset.open(dataset)
    others = [None if path is None else Dataset.open(path) for path in (held_out, train)]
    work = _Work(judged, seed, True if as_json else None)
    network = None if segmenter is None else _opened(segmenter, device)
    parts: dict[str, Any] = {"mask_prompt": work.mask_prompt()} if judged.spec.kind == "synthetic" else {}
    if network is not None:
        parts["image_mask"] = work.image_mask(network, scheme, others[0])
    if others[1] is not None:
        parts["image_prompt"] = work.image_prompt(others[1])
    if out:
        from downstream.results import Results

        Results(work.rows).write(out / "cases.csv")
    typer.echo(json.dumps(plain(parts), indent=2) if as_json else _text(parts))


def _opened(segmenter: str, device: str) -> Any:
    from downstream.segmenter import open_segmenter

    return open_segmenter(segmenter, device)


@dataclass(slots=True)
class _Work:
    """The dataset to judge, and the rows of single cases so far."""

    dataset: "Dataset"
    seed: int
    quiet: bool | None
    rows: "list[Result]" = field(default_factory=list)

    def mask_prompt(self) -> "AlignmentSummary":
        from downstream.alignment import align, tidy
        from downstream.alignment_summary import summarise

        cases = list(self._bar(align(self.dataset), self.dataset, "masks"))
        self.rows += tidy(cases, "mask-prompt")
        return summarise(cases, seed=self.seed)

    def image_mask(self, network: Any, scheme: str | None, held_out: "Dataset | None") -> "ImageMaskSummary":
        from downstream.image_mask import compare_masks, summarise_masks, tidy_masks

        cases = list(self._bar(compare_masks(self.dataset, network, scheme), self.dataset, "segment"))
        ceiling = list(self._bar(compare_masks(held_out, network, scheme), held_out, "ceiling")) if held_out else []
        self.rows += tidy_masks(cases, "image-mask")
        return summarise_masks(cases, network, seed=self.seed, ceiling=ceiling)

    def image_prompt(self, training: "Dataset") -> "list[AttributeScore]":
        from downstream.attributes import read_attributes
        from downstream.results import Result

        cases = len(training.accepted()) + len(self.dataset.accepted())
        with tqdm(total=cases, unit="case", desc="attributes", disable=self.quiet) as bar:
            scores = read_attributes(training, self.dataset, self.seed, lambda: bar.update() and None)
        self.rows += [
            Result(case_id, score.attribute, "accuracy", float(right), "image-prompt")
            for score in scores
            for case_id, right in score.right.items()
        ]
        return scores

    def _bar(self, cases: Any, dataset: "Dataset", name: str) -> Any:
        return tqdm(cases, total=len(dataset.accepted()), unit="case", desc=name, disable=self.quiet)


def _text(parts: dict[str, Any]) -> str:
    texts: dict[str, Callable[[Any], list[str]]] = {
        "mask_prompt": _mask_prompt_text,
        "image_mask": _image_mask_text,
        "image_prompt": _image_prompt_text,
    }
    lines = [line for name, part in parts.items() for line in texts[name](part)]
    if "mask_prompt" not in parts:
        lines.insert(0, "masks and prompts are not compared: real scans have no prompts")
    return "\n".join(lines)


def _mask_prompt_text(summary: "AlignmentSummary") -> list[str]:
    rates = {
        "organ": summary.organ,
        "site": summary.site,
        "count": summary.count,
        "position of a tumour": summary.position,
        "any tumour, if asked": summary.present,
        "count within one": summary.near,
        "sex": summary.sex,
        "organs asked absent": summary.absent,
        "passed the gate": summary.passed,
    }
    lines = [f"masks and prompts: {summary.cases} cases, {summary.tumours} tumours asked for"]
    lines += [f"  {name:21} {_rate(rate)}" for name, rate in rates.items() if rate.n]
    lines.append(
        f"  size error            {_interval(summary.size_error_mm, '+.1f')} mm,"
        f" 95 % within {summary.size_error_abs_p95_mm:.1f} mm"
    )
    lines += [f"  {name:34} {_group(group)}" for name, group in summary.breakdown.items()]
    lines += ["  position, asked in rows, found in columns:", *_matrix(summary)]
    return [*lines, *(f"  disagrees: {case_id}" for case_id in summary.disagreeing)]


def _matrix(summary: "AlignmentSummary") -> list[str]:
    matrix = summary.matrix
    width = max(map(len, matrix.rows))
    names = [f"    {'':{width}} " + " ".join(f"{number:>4}" for number in range(1, len(matrix.columns) + 1))]
    rows = [
        f"    {row:{width}} " + " ".join(f"{count or '.':>4}" for count in counts)
        for row, counts in zip(matrix.rows, matrix.counts, strict=True)
    ]
    return [
        *names,
        *rows,
        "    " + ", ".join(f"{number} {name}" for number, name in enumerate(matrix.columns, start=1)),
    ]


def _image_mask_text(summary: "ImageMaskSummary") -> list[str]:
    lines = [
        f"images and masks: DSC of {summary.segmenter}",
        f"  {'label':30} {'DSC (95 %)':22} ceiling  cases  misses",
    ]
    lines += [
        f"  {row.label:30} {_interval(row.dice, '.3f'):22} {row.ceiling:7.3f}  {row.dice.n:5}  {row.misses:6}"
        for row in summary.labels
    ]
    lines.append(f"  {'mean over labels':30} {_interval(summary.mean, '.3f'):22} {summary.ceiling:7.3f}")
    lines += [f"  {name:30} {_interval(mean, '.3f'):22}" for name, mean in summary.breakdown.items()]
    on = summary.ceiling_on or "unknown: give cases held out of its training with --held-out"
    return [*lines, f"  ceiling: the segmenter's own DSC; {on}"]


def _image_prompt_text(scores: "Sequence[AttributeScore]") -> list[str]:
    lines = [
        "images and prompts: balanced accuracy of a classifier in per cent (95 %)",
        "  attribute       this dataset      ceiling: held-out cases     chance  classes  trained on",
    ]
    lines += [
        f"  {score.attribute:15} {_interval(score.accuracy, '.0f', 100.0):17} {_interval(score.ceiling, '.0f', 100.0):17}"
        f"  {100 * score.chance:15.1f}  {len(score.classes):7}  {score.trained_on:10}"
        for score in scores
    ]
    left_out = [f"{score.attribute} {value} ({n})" for score in scores for value, n in score.left_out.items()]
    return [*lines, *([f"  too rare to train on: {', '.join(left_out)}"] if left_out else [])]


def _rate(rate: "Rate") -> str:
    return f"{100 * rate.value:5.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _group(group: "Group") -> str:
    return (
        f"{_rate(group.position)} of {group.position.n} at their site, {100 * group.missing.value:.0f} % missing,"
        f" size {_interval(group.size_error_mm, '+.1f')} mm"
    )


def _interval(interval: "Interval", digits: str, scale: float = 1.0) -> str:
    """Mean and bounds; the mean alone where there are too few values for bounds."""
    if interval.low != interval.low:
        return f"{scale * interval.mean:{digits}}"
    low, high = scale * interval.low, scale * interval.high
    return f"{scale * interval.mean:{digits}} ({low:{digits}} to {high:{digits}})"
