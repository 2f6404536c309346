"""How much of the machine a training uses: each stage's share of the measured convolution peak, and the time it waits for data.

    python benchmarks/training_throughput.py DATASET [--preset tiny] [--steps 6] [--threads 1] [--loaders 1]

The peak is the best rate of a 3 x 3 x 3 convolution, forward and backward, among some widths, in the type that trainings compute in here
(bfloat16 where the device is fast at it, else single precision). Operations of a step are counted by torch's counter (convolutions,
products of matrices and attention; a product and a sum are two). Stalled is the share of a step that waits for loader threads, after the first
step, which nobody could read ahead. Seconds are wall time: run it on a quiet machine.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean

import torch
from torch.utils.flop_counter import FlopCounterMode

from factory.training.distributed import Team, joined
from factory.training.loop import Stage, train
from factory.training.presets import stage_preset
from factory.training.recipe import Recipe
from factory.training.runs import begin
from factory.training.starts import (
    AutoencoderChoice,
    LatentsChoice,
    Start,
    TextChoice,
    start_autoencoder,
    start_latents,
    start_masks,
)


def peak(team: Team) -> dict[str, float]:
    """Operations a second of a convolution by width."""
    found = {}
    for width in (32, 64, 128):
        side = 24
        layer = torch.nn.Conv3d(width, width, 3, padding=1).to(team.device)
        x = torch.randn(1, width, side, side, side, device=team.device, requires_grad=True)
        best = float("inf")
        for _ in range(4):
            started = time.perf_counter()
            with torch.autocast(team.device.type, torch.bfloat16, enabled=team.half):
                layer(x).sum().backward()
            best = min(best, time.perf_counter() - started)
        found[str(width)] = 3 * 2 * 27 * width**2 * side**3 / best
    return found


def operations(stage: Stage, recipe: Recipe, team: Team) -> int:
    """Operations of one optimiser step, without the optimiser."""
    parts = [stage.fetch(case % stage.count, case) for case in range(recipe.batch)]
    stage.train()
    with FlopCounterMode(display=False) as counter:
        for part in parts:
            with torch.autocast(team.device.type, torch.bfloat16, enabled=team.half):
                loss = stage(stage.collate([part]))["loss"]
            loss.backward()
    stage.zero_grad()
    return int(counter.get_total_flops())


def measured(start: Start, recipe: Recipe, out: Path, team: Team) -> dict[str, float]:
    """Seconds, operations and stall of a step; the training is left before its last step."""
    stage, _ = start(team)
    flops = operations(stage, recipe, team)
    steps = train(stage, recipe.model_copy(update={"steps": recipe.steps + 2}), out, team)
    taken = [next(steps) for _ in range(recipe.steps + 1)][1:]
    steps.close()
    seconds = fmean(one.seconds for one in taken)
    stalled = sum(one.stalled for one in taken) / sum(one.seconds for one in taken)
    return {"step_s": seconds, "operations": flops, "rate": flops / seconds, "stalled": stalled}


def main() -> None:
    """Print the peak, and each stage beside it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dataset", type=Path)
    options.add_argument("--preset", default="tiny")
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--loaders", type=int, default=1)
    told = options.parse_args()
    torch.set_num_threads(told.threads)
    data = [told.dataset]

    def recipe(stage: str, steps: int) -> Recipe:
        changes = {"steps": steps, "loaders": told.loaders, "save_every": 10**9, "validate_every": 10**9}
        return stage_preset(stage, told.preset).recipe.model_copy(update=changes)

    with tempfile.TemporaryDirectory() as folder, joined() as team:
        place = Path(folder)
        coder, short = place / "coder", recipe("autoencoder", 1)
        starts: dict[str, Start] = {
            "masks": start_masks(data, stage_preset("masks", told.preset), recipe("masks", 1), (None, TextChoice())),
            "autoencoder": start_autoencoder(
                data, stage_preset("autoencoder", told.preset), short, AutoencoderChoice()
            ),
            "latents": start_latents(
                data,
                stage_preset("latents", told.preset),
                recipe("latents", 1),
                LatentsChoice(coder, place / "latents"),
            ),
        }
        stage, config = starts["autoencoder"](team)
        with begin(coder, config, short):
            list(train(stage, short, coder, team))
        rates = peak(team)
        best = max(rates.values())
        found = {}
        for name, start in starts.items():
            row = measured(start, recipe(name, told.steps), place / f"{name}-run", team)
            found[name] = row | {"of_peak": row["rate"] / best}
        print(
            json.dumps(
                {"preset": told.preset, "bfloat16": team.half, "threads": told.threads, "peak": rates, "stages": found},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
