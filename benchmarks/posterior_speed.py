"""One categorical sampling step: ours, linear in the classes, against the sum over all pairs of classes.

    python benchmarks/posterior_speed.py [--classes 20] [--side 48] [--repeats 5]

The pairwise form is the one of the published code (OvO1111/GuideGen, cdpm.py, after Doorenbos et
al.): q(x_s | x_t, x_0) for every x_0, then a sum over x_0 under the network's distribution, then a
draw. Ours draws x_0 from the network's distribution and x_s given both; `posterior` is ours where
the whole distribution is wanted. Memory is what a step allocates beyond its inputs, at its peak.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from tensor_memory import peak_bytes

from factory.diffusion.categorical import Categorical
from factory.diffusion.schedule import cosine

JUMP = (500, 499)


def pairwise(process: Categorical, x_t: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Distribution of x_s by a table of [x_s, x_0] at each voxel."""
    n = process.classes
    table = process.alpha_bar.float()
    alpha, kept_s = table[JUMP[0]] / table[JUMP[1]], table[JUMP[1]]
    p = logits.softmax(1)
    one_hot = torch.nn.functional.one_hot(x_t, n).movedim(-1, 1).float()
    a = alpha * one_hot + (1 - alpha) / n
    b = kept_s * torch.eye(n) + (1 - kept_s) / n
    joint = a[:, :, None] * b[None, :, :, None, None, None]
    joint = joint / joint.sum(1, keepdim=True)
    return torch.einsum("bkdzyx,bdzyx->bkzyx", joint, p)


def drawn(q: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One class a voxel."""
    flat = q.movedim(1, -1).reshape(-1, q.shape[1])
    return torch.multinomial(flat, 1, generator=generator).view(q.shape[0], *q.shape[2:])


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Median CPU time."""
    step()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        found.append(time.process_time() - start)
    return statistics.median(found)


def main() -> None:
    """Print both, and the ratios."""
    options = argparse.ArgumentParser()
    options.add_argument("--classes", type=int, default=20)
    options.add_argument("--side", type=int, default=48)
    options.add_argument("--repeats", type=int, default=5)
    told = options.parse_args()
    torch.manual_seed(0)
    process = Categorical(told.classes, cosine(1000))
    x_t = torch.randint(0, told.classes, (1, told.side, told.side, told.side))
    logits = torch.randn(1, told.classes, told.side, told.side, told.side)
    one = torch.Generator().manual_seed(0)
    t, s = (torch.tensor([step]) for step in JUMP)
    steps: dict[str, Callable[[], object]] = {
        "pairwise": lambda: drawn(pairwise(process, x_t, logits), one),
        "ours, distribution": lambda: process.posterior(x_t, logits.softmax(1), t, s),
        "ours, draw": lambda: process.draw(x_t, logits, JUMP, [one]),
    }
    off = (pairwise(process, x_t, logits) - process.posterior(x_t, logits.softmax(1), t, s)).abs().max()
    with torch.inference_mode():
        found = {
            name: {"seconds": seconds(step, told.repeats), "bytes": peak_bytes(step)} for name, step in steps.items()
        }
    base = found["pairwise"]
    for row in found.values():
        row |= {f"{unit}_ratio": base[unit] / row[unit] for unit in ("seconds", "bytes")}
    print(
        json.dumps(
            {"classes": told.classes, "side": told.side, "largest_difference": float(off), "steps": found}, indent=1
        )
    )


if __name__ == "__main__":
    main()
