"""Run an ablation: what is missing of its trainings, packings and builds, then measure every arm.

Each step is a process of its own, `factory …`, and is kept once finished; the same call goes on after any interruption, and more
arms add to what is there.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.ablation.measure import Measured, Measuring, measured
from downstream.ablation.plan import Inputs, Options, Step, plan
from downstream.ledger import writing
from downstream.nnunet_process import Progress, command_environment, run_module
from downstream.steps import Steps, alone
from manifests.durable import replace
from manifests.errors import LocationError
from manifests.identity import content_hash

__all__ = ["Ablation", "ablate", "check_work_folder", "finished"]

_FOLDERS = ("runs", "weights", "data", "errors", "logs", "rows")


@dataclass(frozen=True, slots=True)
class Ablation:
    """What came out: the work folder, measured arms by name, and of what they were made."""

    out: Path
    arms: Mapping[str, Measured]
    facts: dict[str, Any]


def check_work_folder(out: Path) -> None:
    """Make sure that a work folder is new, or from an earlier call.

    Raises:
        LocationError: if it holds something else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "steps").is_dir())):
        raise LocationError(str(out), got="something else", need="a new folder", do="Choose another --out.")


def ablate(
    inputs: Inputs, options: Options, out: Path, measuring: Measuring, on_progress: Progress = lambda *_: None
) -> Ablation:
    """Train, draw and measure all arms.

    Args:
        inputs: both datasets.
        options: which arms, and how large.
        out: work folder.
        measuring: what else is measured than geometry.
        on_progress: called with a stage, what is done of it, and the total.

    Raises:
        WorkerError: if a command fails; what was finished before stays.
        BusyError: if another call works in the same folder.
    """
    check_work_folder(out)
    with writing(out):
        for folder in ("", "steps", *_FOLDERS):
            (out / folder).mkdir(parents=True, exist_ok=True)
    with alone(out, "an ablation"):
        steps = plan(inputs, options, out)
        for number, step in enumerate(steps):
            on_progress(step.name.replace(" ", "-"), number, len(steps))
            if not finished(step, out):
                _run(step, out)
        on_progress("trained", len(steps), len(steps))
        arms = _measured(inputs, options, (out, steps), measuring, on_progress)
    facts = {
        "options": {**asdict(options), "weights": str(options.weights) if options.weights else None},
        "datasets": {"train": inputs.train.spec.spec_id, "held_out": inputs.held_out.spec.spec_id},
        "train_cases": len(inputs.train.accepted()),
        "content_hash": inputs.key,
        "measuring": measuring.facts(),
    }
    return Ablation(out, arms, facts)


def finished(step: Step, out: Path) -> bool:
    """Whether a step has been done from just this."""
    done = out / "steps" / f"{_file(step)}.done"
    return done.is_file() and done.read_text(encoding="utf-8") == step.key and (out / step.name).exists()


def _run(step: Step, out: Path) -> None:
    product = out / step.name
    steps = Steps(out, {})
    steps.claim(_file(step), step.key, (product,))
    if step.kind == "pack":  # whole or not there at all, but not marked: pack it again
        shutil.rmtree(product, ignore_errors=True)
    started = time.monotonic()
    log = out / "logs" / f"{_file(step)}.txt"
    run_module("factory.cli", step.arguments, command_environment(), log, lambda *_: None)
    with writing(out):
        replace(out / "steps" / f"{_file(step)}.seconds", f"{time.monotonic() - started:.1f}".encode())
    steps.finish(_file(step), step.key)


def _file(step: Step) -> str:
    return step.name.replace("/", "-")


def _measured(
    inputs: Inputs,
    options: Options,
    made: tuple[Path, tuple[Step, ...]],
    measuring: Measuring,
    on_progress: Callable[[str, int, int], object],
) -> dict[str, Measured]:
    out, steps = made
    keys = {step.name: step.key for step in steps}
    found = {}
    for number, name in enumerate(options.arms):
        on_progress(f"measure-{name}", number, len(options.arms))
        products = [f"data/{name}-masks", f"data/{name}-images", f"weights/{name}"]
        key = content_hash([[keys.get(product) for product in products], measuring.facts(), options.seed])
        folder = out / "rows" / name
        kept = Measured.read(folder, key)
        if kept is None:
            kept = measured(name, inputs, out, measuring)
            kept.write(folder, key)
        found[name] = kept
    return found
