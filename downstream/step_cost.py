"""Seconds of one training step of a network, on noise: `python -m downstream.step_cost PLAN LABELS DEVICE`.

A process of its own, with the threads and the memory settings that training has, so that the figure is the training's.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from downstream.nnunet_process import machine_variables
from downstream.plain_unet import plain_unet

__all__ = ["measured_step_s"]

_STEPS = 3


def measured_step_s(plan: dict[str, Any], labels: int, device: str) -> float:
    """Time a step of a plan that has `features`, in another process.

    Args:
        plan: a `TransferPlan` as plain data.
        labels: background included.
        device: "cpu" or "cuda".
    """
    command = [sys.executable, "-m", "downstream.step_cost", json.dumps(plan), str(labels), device]
    done = subprocess.run(command, env=os.environ | machine_variables(), capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _main(plan: dict[str, Any], labels: int, device: str) -> float:
    import torch

    from downstream.trainers.autocast import autocast_cpu
    from downstream.trainers.muon import Muon

    place = torch.device(device)
    network = plain_unet(plan["features"], plan["convolutions"], labels, folded=plan["folded"])
    network = network.to(place, memory_format=torch.channels_last_3d)
    optimiser = Muon(network.named_parameters(), plan["learning_rate"], 0.0)
    shape = (plan["batch"], 1, *plan["patch_zyx"])
    images = torch.randn(shape, device=place).contiguous(memory_format=torch.channels_last_3d)
    target = torch.zeros((shape[0], *shape[2:]), dtype=torch.long, device=place)
    seconds = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with autocast_cpu(place):
            scores = network(images)
        torch.nn.functional.cross_entropy(scores.float(), target).backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    sys.stdout.write(f"{_main(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3])}\n")
