"""A command that trains a stage: the options that all stages have, and what runs behind them.

    @stage_command(app, "masks")
    def train_masks(dials: Dials, spacing: … = None) -> Start: ...

The command has the options of `Dials` and then those of the function.
"""

import inspect
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from factory.config import WorkerConfig
    from factory.training.presets import StagePreset
    from factory.training.recipe import Recipe
    from factory.training.starts import Start

__all__ = ["Dials", "stage_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """The options of every stage."""

    data: Annotated[list[Path], typer.Option("--data", help="Dataset to train on; may be repeated.")]
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command resumes it.")]
    preset: Annotated[str, typer.Option(help="Size: tiny, demo or full.")] = "demo"
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; default: the preset's.")] = None
    batch: Annotated[int | None, typer.Option(help="Cases of one step, over all processes.")] = None
    part: Annotated[
        int | None, typer.Option(help="Cases a process takes at once, the rest is accumulated; default: the preset's.")
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate; default: the preset's.")] = None
    seed: Annotated[int, typer.Option(help="Seed of weights, order, noise and texts.")] = 0
    loaders: Annotated[int, typer.Option(help="Threads that read cases.")] = 1
    threads: Annotated[
        int | None, typer.Option(help="Threads that compute; default: all cores, of several processes one each.", min=1)
    ] = None
    workers: Annotated[int, typer.Option(help="Processes, on Ray where there are several.")] = 1
    gpus_per_worker: Annotated[float, typer.Option(help="GPUs of each process, on Ray.")] = 0.0
    address: Annotated[str | None, typer.Option(help="Ray cluster; default: this machine.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False

    def sized(self, stage: str) -> "StagePreset":
        """The preset of a stage.

        Raises:
            UnknownNameError: listing the presets there are.
        """
        from factory.training.presets import stage_preset

        return stage_preset(stage, self.preset)

    def recipe(self, stage: str) -> "Recipe":
        """The preset's recipe with what the options say.

        Raises:
            InvalidValueError: naming the first option that is out of its range.
            UnknownNameError: as `sized`.
        """
        from pydantic import ValidationError

        from factory.training.recipe import Recipe
        from manifests.errors import InvalidValueError

        names = ("steps", "batch", "part", "learning_rate", "seed", "loaders")
        said = {name: value for name in names if (value := getattr(self, name)) is not None}
        try:
            return Recipe.model_validate(self.sized(stage).recipe.model_dump() | said)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).replace("_", "-")
            raise InvalidValueError(
                f"--{name}", got=str(first["input"]), need=first["msg"], do="Correct the option."
            ) from error

    def team(self) -> "WorkerConfig | None":
        """Who trains, on Ray; None for this process, or those that torchrun started.

        Raises:
            InvalidValueError: for a number that no team can have.
        """
        from factory.config import WorkerConfig

        found = WorkerConfig(count=self.workers, gpus_per_worker=self.gpus_per_worker, address=self.address)
        return found if found.separate else None


def stage_command(app: typer.Typer, stage: str) -> Callable[[Callable[..., "Start"]], Callable[..., "Start"]]:
    """Make a command out of a function of `Dials` and options of its own that says how to start its stage."""

    def register(function: Callable[..., "Start"]) -> Callable[..., "Start"]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = list(inspect.signature(Dials).parameters.values())

        @app.command(stage, help=inspect.getdoc(function))
        def train_stage(**said: Any) -> None:  # its options are those of the signature below
            said = {name: _absolute(value) for name, value in said.items()}
            dials = Dials(**{one.name: said.pop(one.name) for one in shared})
            team = dials.team()
            if team is None:
                found = _train(dials, dials.recipe(stage), function(dials, **said))
            else:
                function(dials, **said)  # what is wrong with the options is told before anything starts
                found = _on_ray(partial(_train_anew, stage, dials, function, said), team)
            if found is not None:
                typer.echo(json.dumps(found) if dials.as_json else _text(found))

        options = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*shared[:-1], *own, shared[-1])]
        train_stage.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        train_stage.__annotations__ = {one.name: one.annotation for one in options}
        return function

    return register


def _absolute(value: Any) -> Any:
    """Paths as any process finds them."""
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    return value.absolute() if isinstance(value, Path) else value


def _on_ray(task: Callable[[], Any], team: "WorkerConfig") -> Any:
    try:
        from factory.training.team_ray import train_on_ray
    except ImportError as error:
        from manifests.errors import MissingDependencyError

        raise MissingDependencyError(
            "--workers", got=str(error), need="the package ray", do="pip install 'ct-factory[ray]', or use torchrun."
        ) from error
    return train_on_ray(task, team)


def _train_anew(stage: str, dials: Dials, function: Callable[..., "Start"], said: dict[str, Any]) -> Any:
    """The same from the options alone, in a process of its own: options travel, what they start does not."""
    return _train(dials, dials.recipe(stage), function(dials, **said))


def _train(dials: Dials, recipe: "Recipe", start: "Start") -> dict[str, Any] | None:
    """Train until the recipe's steps are done, with a bar and event files; the leader's summary."""
    from tqdm import tqdm

    from factory.training.distributed import joined
    from factory.training.events import Events
    from factory.training.loop import Step, train
    from factory.training.runs import begin

    with joined(dials.threads) as team, ExitStack() as held:
        stage, config = start(team)
        if team.leads:
            held.enter_context(begin(dials.out, config, recipe))
        team.wait()
        events = Events(dials.out / "logs") if team.leads else None
        last: Step | None = None
        seconds = stalled = 0.0
        quiet = True if dials.as_json or not team.leads else None
        with tqdm(total=recipe.steps, unit="step", disable=quiet, dynamic_ncols=True) as bar:
            for last in train(stage, recipe, dials.out, team):
                seconds, stalled = seconds + last.seconds, stalled + last.stalled
                bar.update(last.number - bar.n)
                bar.set_postfix(loss=f"{last.losses['loss']:.4g}", stalled=f"{stalled / seconds:.0%}", refresh=False)
                if last.scores and quiet is None:
                    bar.write("\n".join([f"step {last.number}", *_scored(last.scores)]), sys.stderr)
                if events:
                    events.scalars(last.number, _named(last.losses, "train") | _named(last.scores, "held_out"))
    if not team.leads:
        return None
    found: dict[str, Any] = {"out": str(dials.out), "steps": recipe.steps, "losses": last.losses if last else {}}
    found |= {"scores": last.scores if last else {}, "seconds": round(seconds, 1)}
    return found | {"stalled": round(stalled / seconds, 4) if seconds else 0.0}


def _text(found: dict[str, Any]) -> str:
    first = f"{found['out']}: {found['steps']} steps" + ("" if found["losses"] else ", done before")
    return "\n".join([first, *_scored(found["scores"])])


def _scored(scores: dict[str, float]) -> list[str]:
    return [f"  held out: {name} {value:.4g}" for name, value in scores.items()]


def _named(values: dict[str, float], group: str) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
