"""The `factory` command: every part's commands under one root, and every error printed once.

Exit status: 0 done, 1 failed or incomplete, 2 bad input. Numerical libraries get one thread
each unless the environment says otherwise: the arrays of a case must not depend on it.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # all of these are read when numpy is imported
os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import typer

import downstream.cli
import factory.training.cli
import manifests.cli
import prompts.cli
from manifests.errors import FactoryError, InvalidValueError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from downstream.cli import BuildRequest
    from factory.run import Run, RunReport

__all__ = ["app", "main"]

app = typer.Typer(
    name="factory",
    help="Paired synthetic CT volumes and masks with tumours, from reports or tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_EXECUTION = "Execution"


@app.command("build")
def build_command(  # one parameter per option
    out: Annotated[Path, typer.Option(help="Directory of the dataset; the same command resumes it.")],
    n: Annotated[int, typer.Option(help="Accepted cases to deliver; a larger number extends.")] = 8,
    manifest: Annotated[Path | None, typer.Option(help="Prompts table; default: draw from population figures.")] = None,
    engine: Annotated[str | None, typer.Option(help="Named pair of models; see: factory engines.")] = None,
    masks: Annotated[str | None, typer.Option(help="Mask model, e.g. phantom or bank:DATASET.")] = None,
    images: Annotated[str | None, typer.Option(help="Image model, with --masks.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of weights for the engine guidegen.")] = None,
    preset: Annotated[str, typer.Option(help="Resolution: tiny, demo, full or hires.")] = "demo",
    seed: Annotated[int, typer.Option(help="Run seed.")] = 0,
    randomise: Annotated[float, typer.Option(help="0 = as in patients and scanners, 1 = far beyond.")] = 0.0,
    candidates: Annotated[int, typer.Option(help="Drawings allowed for one case.")] = 5,
    workers: Annotated[int, typer.Option(help="Workers, one core each.", rich_help_panel=_EXECUTION)] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one case.", rich_help_panel=_EXECUTION)] = None,
    max_attempts: Annotated[int, typer.Option(help="Workers one case may bring down.")] = 3,
    address: Annotated[str | None, typer.Option(help="Ray cluster.", rich_help_panel=_EXECUTION)] = None,
    gpus_per_worker: Annotated[float, typer.Option(help="GPUs of each worker.", rich_help_panel=_EXECUTION)] = 0.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed cases again.")] = False,
    ungated: Annotated[bool, typer.Option("--ungated", help="Keep what the gate refuses, to judge an engine.")] = False,
    as_json: _Json = False,
) -> None:
    """Build a dataset, or resume or extend one.

    Delivers exactly N accepted cases; exit 1 if it cannot. The same command resumes after any
    interruption, a larger N extends.
    """
    from factory.config import BuildConfig, WorkerConfig  # heavy: numpy, zarr, pandas
    from factory.config import preset as find_preset
    from factory.run import Run

    mask_name, image_name = _engines(engine, masks, images, weights)
    config = BuildConfig(
        out=out,
        n=n,
        manifest=manifest,
        masks=mask_name,
        images=image_name,
        preset=find_preset(preset),
        seed=seed,
        candidates=candidates,
        randomise=randomise,
        ungated=ungated,
        retry_failed=retry_failed,
        workers=WorkerConfig(
            count=workers,
            timeout_s=timeout,
            max_attempts=max_attempts,
            address=address,
            gpus_per_worker=gpus_per_worker,
        ),
    )
    run = Run(config)
    try:
        _drive(run, quiet=as_json)
    except KeyboardInterrupt:
        typer.echo("interrupted: run the same command again to resume", err=True)
    report = run.report()
    typer.echo(json.dumps(report.to_json(), indent=2) if as_json else _summary(report))
    if not report.complete:
        raise typer.Exit(1)


def _engines(engine: str | None, masks: str | None, images: str | None, weights: Path | None = None) -> tuple[str, str]:
    """Names of the two models that the options stand for, each with the argument it needs."""
    from factory.engines.registry import absolute, pair

    if engine is not None and (masks or images):
        raise InvalidValueError(
            "--engine", got="--masks or --images beside it", need="either a pair or its parts", do="Leave one out."
        )
    base = pair(engine or "phantom")
    names = (masks or base[0], images or base[1])
    takers = {"guidegen", "guidegen-slices"}
    if weights is not None and not takers & set(names):
        raise InvalidValueError(
            "--weights", got="no engine that takes weights", need="--engine guidegen", do="Name it, or leave this out."
        )
    mask_name, image_name = (f"{name}:{weights}" if weights and name in takers else name for name in names)
    return absolute(mask_name), absolute(image_name)


def _drive(run: "Run", *, quiet: bool) -> None:
    """Work through a run, with a bar on a terminal."""
    from tqdm import tqdm

    with tqdm(total=run.config.n, unit="case", disable=quiet or None, dynamic_ncols=True) as bar:
        counts = {"accepted": 0, "rejected": 0, "failed": 0}
        for outcome in run:
            counts[outcome.record.status] += 1
            if bar.disable:
                continue
            bar.initial = bar.initial or run.filled - counts["accepted"]
            bar.n = run.filled
            bar.set_postfix(counts, refresh=False)
            bar.refresh()


def _summary(report: "RunReport") -> str:
    """The report in a few lines."""
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.stage_seconds.items())
    lines = [
        f"{report.dataset}: {report.accepted} of {report.requested} cases accepted"
        + ("" if report.complete else f", INCOMPLETE ({report.ended})"),
        f"  this run: {report.made} made, {report.rejected} rejected, {report.failed} failed"
        f" in {report.wall_seconds:.1f} s",
        f"  {report.cases_per_hour:.0f} cases/hour, workers busy {100 * report.busy_fraction:.0f} %,"
        f" {report.stored_bytes / 1e6:.1f} MB",
        f"  seconds of work: {stages or 'none'}",
    ]
    lines += [f"  {count} x {reason}" for reason, count in report.reasons.items()]
    lines += [f"  case {gap.index} unfilled: {'; '.join(gap.reasons)}" for gap in report.unfilled[:20]]
    if report.unfilled:
        lines.append("  give more drawings with --candidates, or correct these prompts; --retry-failed tries failures")
    return "\n".join(lines)


@app.command("reproduce")
def reproduce_command(
    dataset: Path,
    case_id: str,
    masks: Annotated[str | None, typer.Option(help="Where its mask model finds its sources: bank:DATASET.")] = None,
    images: Annotated[str | None, typer.Option(help="The same for its image model: guidegen:FOLDER.")] = None,
    as_json: _Json = False,
) -> None:
    """Make a case again and compare hashes.

    Works from the record of the case alone, and from the sources if it was drawn from some; exit 1
    where a hash differs.
    """
    from factory.reproduce import reproduce

    found = reproduce(dataset, case_id, masks=masks, images=images)
    same = "identical" if found.identical else "DIFFERENT"
    text = "\n".join([f"{case_id}: {same}", *(f"  {name}: {note}" for name, note in found.layers.items())])
    typer.echo(json.dumps({"case_id": case_id, **asdict(found), "identical": found.identical}) if as_json else text)
    if not found.identical:
        raise typer.Exit(1)


@app.command("doctor")
def doctor_command(
    dataset: Annotated[Path | None, typer.Argument(help="A dataset to look at as well.")] = None,
    n: Annotated[int, typer.Option(help="Cases planned, for the estimate of disk space.")] = 100,
    preset: Annotated[str, typer.Option(help="Resolution planned.")] = "demo",
    as_json: _Json = False,
) -> None:
    """Look for what would stop a build.

    Looks at this machine and, where given, at a dataset; exit 1 where something would fail.
    """
    from factory.config import preset as find_preset
    from factory.doctor import diagnose

    findings = diagnose(find_preset(preset), n, dataset)
    if as_json:
        typer.echo(
            json.dumps({"ok": all(f.level != "bad" for f in findings), "findings": [asdict(f) for f in findings]})
        )
    else:
        for found in findings:
            typer.echo(f"{found.level:5} {found.subject}: {found.message}")
    if any(found.level == "bad" for found in findings):
        raise typer.Exit(1)


@app.command("engines")
def engines_command(as_json: _Json = False) -> None:
    """List the installed models and their pairs."""
    from factory.engines.registry import IMAGE_GROUP, MASK_GROUP, engine_names, pair_names

    found: dict[str, Any] = {"masks": engine_names(MASK_GROUP), "images": engine_names(IMAGE_GROUP)}
    found["pairs"] = pair_names()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for kind, names in found.items():
            typer.echo(f"{kind}: {', '.join(names)}")


def _build_for_transfer(request: "BuildRequest") -> "Callable[[bool], None]":
    """Check what `factory bench transfer` wants built; what is returned builds it, or the rest of it.

    Raises:
        InputError: for a request that no build could satisfy.
        WorkerError: from the call, if not all cases came out.
    """
    from factory.config import BuildConfig, WorkerConfig
    from factory.config import preset as find_preset

    config = BuildConfig(
        out=request.out,
        n=request.n,
        preset=find_preset(request.preset),
        seed=request.seed,
        randomise=request.randomise,
        workers=WorkerConfig(count=request.workers),
    )

    def build(quiet: bool) -> None:
        from factory.run import Run

        run = Run(config)
        _drive(run, quiet=quiet)
        report = run.report()
        if not report.complete:
            raise WorkerError(
                f"dataset {config.out}",
                got=f"{report.accepted} of {report.requested} cases ({report.ended})",
                need="all of them",
                do="Run the same command again, or ask for fewer with --n.",
            )

    return build


def _spread(
    work: "Callable[[Any], Any]", items: "Sequence[Any]", parallel: int, gpus: bool
) -> "Iterator[tuple[Any, Any]]":
    """Call a function with many items side by side, for the trainings of `factory bench usability`."""
    from factory.config import WorkerConfig
    from factory.spread_ray import spread

    return spread(work, items, WorkerConfig(count=parallel, gpus_per_worker=float(gpus)))


app.registered_commands += [*manifests.cli.app.registered_commands, *downstream.cli.app.registered_commands]
app.add_typer(prompts.cli.app, name="prompts")
app.add_typer(downstream.cli.export_app, name="export")
app.add_typer(downstream.cli.bench_app, name="bench")
app.add_typer(factory.training.cli.app, name="train")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(args=arguments, obj=downstream.cli.HandedDown(_build_for_transfer, _spread))
    except FactoryError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature of handlers
    """Stop like Ctrl-C when a scheduler asks to."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
