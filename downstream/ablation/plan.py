"""The commands behind an ablation, in the order of their needs: trainings, packings, builds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from downstream.ablation.arms import ARMS
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, LocationError
from manifests.identity import content_hash

__all__ = ["Inputs", "Options", "Step", "check_inputs", "parse_steps", "plan"]

STAGES = ("masks", "autoencoder", "latents")


@dataclass(frozen=True, slots=True)
class Options:
    """How an ablation is run.

    Attributes:
        arms: names, the full one first.
        preset: size of networks and recipes.
        build_preset: resolution of what is drawn.
        n: prompts of the held-out dataset to draw for.
        steps: optimiser steps of each stage; an empty mapping takes the preset's.
        seed: of trainings and builds.
        weights: packed weights that stand for every training without switches; None trains them too.
    """

    arms: tuple[str, ...]
    preset: str = "tiny"
    build_preset: str = "tiny"
    n: int = 24
    steps: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The two datasets: what is trained on, and what is held out, prompts and images."""

    train: Dataset
    held_out: Dataset

    @property
    def key(self) -> str:
        """Identity of their content."""
        hashes = [[record.case_id for record in one.accepted()] for one in (self.train, self.held_out)]
        return content_hash(hashes)


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        name: of what it makes, a path below the work folder.
        kind: "masks", "autoencoder", "latents", "pack", "draw masks", "draw images" or "errors", for estimates.
        arguments: of `factory`.
        key: hash of the command, the inputs, and all it builds on.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    key: str


def parse_steps(text: str) -> dict[str, int]:
    """Read "300,300,600", optimiser steps of the three stages; nothing for an empty text.

    Raises:
        InvalidValueError: if it is neither.
    """
    words = text.split(",") if text else []
    if not words:
        return {}
    if len(words) != len(STAGES) or not all(word.strip().isdigit() and int(word) for word in words):
        need = f"three numbers above 0, for {', '.join(STAGES)}"
        raise InvalidValueError("--steps", got=repr(text), need=need, do="Correct the option.")
    return dict(zip(STAGES, map(int, words), strict=True))


def check_inputs(train: Path, held_out: Path, options: Options) -> Inputs:
    """Open both datasets and see whether they do.

    Raises:
        LocationError, FileFormatError: if one is no dataset, or there are no weights where some should be.
        InvalidValueError: if they share cases, are not generated, or have too few.
    """
    found = Inputs(Dataset.open(train), Dataset.open(held_out))
    ids = [{record.case_id for record in one.accepted()} for one in (found.train, found.held_out)]
    fault = ""
    if ids[0] & ids[1]:
        fault = f"{len(ids[0] & ids[1])} cases in both"
    elif len(ids[0]) < 2:
        fault = f"{len(ids[0])} cases to train on"
    elif len(ids[1]) < options.n:
        fault = f"{len(ids[1])} held-out cases for --n {options.n}"
    elif not found.held_out.prompts_path.is_file():
        fault = "no prompts in the held-out dataset"
    if options.weights is not None and not (options.weights / "package.json").is_file():
        raise LocationError(
            f"--weights {options.weights}",
            got="no package.json in it",
            need="a folder that `factory train pack` wrote",
            do="Check the path.",
        )
    if fault:
        raise InvalidValueError(
            f"datasets {train} and {held_out}",
            got=fault,
            need="two builds of different seeds, with enough cases",
            do="Build the held-out one with `factory build --seed`, or lower --n.",
        )
    return found


def plan(inputs: Inputs, options: Options, out: Path) -> tuple[Step, ...]:
    """All steps, each once, those that others build on first."""
    steps: dict[str, Step] = {}
    for name in options.arms:
        for step in _of_arm(name, inputs, options, (out, steps)):
            steps.setdefault(step.name, step)
    return tuple(steps.values())


def _of_arm(name: str, inputs: Inputs, options: Options, have: tuple[Path, Mapping[str, Step]]) -> Iterator[Step]:
    """The steps of one arm; `have` is the work folder and the steps before."""
    out, before = have
    arm, made = ARMS[name], dict(before)

    def step(product: str, kind: str, arguments: Sequence[str], needs: Sequence[str] = ()) -> Step:
        header: list[Any] = [product, [_placeless(word, options, out) for word in arguments], inputs.key]
        made[product] = Step(product, kind, tuple(arguments), content_hash([*header, *(made[n].key for n in needs)]))
        return made[product]

    runs = {stage: f"runs/{arm.run(stage)}" for stage in STAGES}
    given = {} if options.weights is None else {f"runs/{stage}": str(options.weights) for stage in STAGES}
    for stage, run in runs.items():
        if run in given:
            made[run] = Step(run, stage, (), _packed_key(Path(given[run])))
            continue
        words = ["train", stage, "--data", str(inputs.train.root), "--preset", options.preset]
        words += ["--seed", str(options.seed), "--out", str(out / run), "--json", *getattr(arm, stage)]
        words += ["--steps", str(options.steps[stage])] if stage in options.steps else []
        coder = stage == "latents"
        words += ["--autoencoder", given.get(runs["autoencoder"], str(out / runs["autoencoder"]))] if coder else []
        yield step(run, stage, words, [runs["autoencoder"]] if coder else [])
    weights = f"weights/{name}"
    packed = dict.fromkeys(given.get(run, str(out / run)) for run in runs.values())
    pack = ["train", "pack", *packed, "--out", str(out / weights)]
    yield step(weights, "pack", [*pack, "--json", *arm.sampling], list(runs.values()))
    build = ["build", "--manifest", str(inputs.held_out.prompts_path), "--n", str(options.n), "--ungated", "--json"]
    build += ["--preset", options.build_preset, "--seed", str(options.seed)]
    engine = f"guidegen:{out / weights}"
    if arm.draws_masks:
        product = f"data/{name}-masks"
        words = [*build, "--masks", engine, "--images", "texture", "--out", str(out / product)]
        yield step(product, "draw masks", words, [weights])
    if arm.draws_images:
        product = f"data/{name}-images"
        words = [*build, "--masks", "phantom", "--images", engine, "--out", str(out / product)]
        yield step(product, "draw images", words, [weights])
    if arm.autoencoder or name == options.arms[0]:
        product = f"errors/{arm.run('autoencoder')}.json"
        words = ["train", "errors", str(out / weights), "--data", str(inputs.held_out.root), "--json"]
        yield step(product, "errors", [*words, "--out", str(out / product)], [weights])


def _packed_key(weights: Path) -> str:
    """Identity of packed weights: what their `package.json` says of each stage."""
    return content_hash((weights / "package.json").read_text(encoding="utf-8"))


def _placeless(word: str, options: Options, out: Path) -> str:
    """A word without the places of work folder and weights, which may be moved."""
    return json.dumps(word).replace(str(out), "OUT").replace(str(options.weights), "WEIGHTS")
