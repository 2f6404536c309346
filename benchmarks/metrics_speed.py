"""Time of DSC and HD95 of 20 labels on 256^3: ours against medpy's and MONAI's, in one run.

    python benchmarks/metrics_speed.py [--size 256] [--labels 20] [--repeats 3] [--threads 1] [--json FILE]

medpy and MONAI are timed where they can be imported. The figures are checked against each other as well. The
masks are deformed ellipsoids between a gallbladder's and a liver's size; the prediction is the reference under
another deformation, so that it is off by some 2 mm, with one label in four cut in half.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from downstream.metrics import LabelledPair, score_labels

SPACING = (1.5, 1.0, 1.0)
PERCENT = 95


def warp(size: int, rng: np.random.Generator, voxels: float) -> np.ndarray:
    """Smooth displacement of the given root mean square in voxels, one component per axis."""
    coarse = gaussian_filter(rng.standard_normal((3, size // 8, size // 8, size // 8)), (0, 1.5, 1.5, 1.5))
    field = np.stack([zoom(component, 8, order=1) for component in coarse])
    return voxels * field / field.std()


def label_map(size: int, labels: int, displacement: np.ndarray, cut: bool) -> np.ndarray:
    """Ellipsoids on a lattice, pushed by the displacement; `cut` takes half of each fourth one away."""
    rng = np.random.default_rng(7)
    side = int(np.ceil(labels ** (1 / 3)))
    places = np.argwhere(np.ones((side,) * 3))[:labels]
    grid = np.indices((size,) * 3, dtype=np.float32) + displacement.astype(np.float32)
    out = np.zeros((size,) * 3, np.uint8)
    for value, place in enumerate(places, start=1):
        centre = (place + 0.5) * size / side
        radius = rng.uniform(0.2, 0.48, 3) * size / side
        inside = sum(((grid[axis] - centre[axis]) / radius[axis]) ** 2 for axis in range(3)) < 1
        if cut and value % 4 == 0:
            inside &= grid[0] < centre[0]
        out[inside] = value
    return out


def ours(predicted: np.ndarray, reference: np.ndarray, labels: int, threads: int) -> np.ndarray:
    names = {str(value): value for value in range(1, labels + 1)}
    scores = score_labels(
        LabelledPair("case", predicted, reference, SPACING), names, tolerance_mm=None, workers=threads
    )
    return np.array([(score.dice, score.hd95_mm, score.hd95_pooled_mm) for score in scores.values()])


def ours_complete(predicted: np.ndarray, reference: np.ndarray, labels: int, threads: int) -> None:
    names = {str(value): value for value in range(1, labels + 1)}
    score_labels(LabelledPair("case", predicted, reference, SPACING), names, workers=threads)


def medpy(predicted: np.ndarray, reference: np.ndarray, labels: int) -> np.ndarray:
    from medpy.metric import binary

    rows = []
    for value in range(1, labels + 1):
        mask, truth = predicted == value, reference == value
        rows.append((binary.dc(mask, truth), np.nan, binary.hd95(mask, truth, voxelspacing=SPACING)))
    return np.array(rows)


def monai(predicted: np.ndarray, reference: np.ndarray, labels: int) -> np.ndarray:
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance
    from monai.networks.utils import one_hot

    pair = [one_hot(torch.from_numpy(a)[None, None], labels + 1, dtype=torch.bool) for a in (predicted, reference)]
    dice = compute_dice(*pair, include_background=False)[0].numpy()
    hd95 = compute_hausdorff_distance(*pair, percentile=PERCENT, spacing=SPACING)[0].numpy()
    return np.stack([dice, hd95, np.full(labels, np.nan)], 1)


def best(call: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    """Least wall and CPU seconds of some calls, and what the last returned."""
    walls, cpus, value = [], [], None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        value = call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus), value


def report(name: str, wall: float, cpu: float, base: float | None) -> None:
    ratio = "" if base is None else f"   {wall / base:6.1f} x ours"
    print(f"{name:40} {wall:8.2f} s wall {cpu:8.2f} s CPU{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="ours and MONAI's")
    parser.add_argument("--without", nargs="*", default=[], choices=["medpy", "monai"])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    reference = label_map(asked.size, asked.labels, warp(asked.size, rng, 3.0), cut=False)
    predicted = label_map(
        asked.size, asked.labels, warp(asked.size, np.random.default_rng(0), 3.0) + warp(asked.size, rng, 1.5), cut=True
    )
    print(f"{asked.labels} labels on {asked.size}^3, {SPACING} mm, {asked.threads} thread(s)")
    wall, cpu, mine = best(lambda: ours(predicted, reference, asked.labels, asked.threads), asked.repeats)
    report("ours, DSC + HD95", wall, cpu, None)
    measured = {"ours": wall}
    complete, cpu, _ = best(lambda: ours_complete(predicted, reference, asked.labels, asked.threads), asked.repeats)
    report("ours, with NSD, mean distance, volume", complete, cpu, wall)
    measured["ours, all"] = complete
    peers = {"monai": (monai, asked.repeats), "medpy": (medpy, 1)}
    for name, (run, repeats) in peers.items():
        if name in asked.without:
            continue
        try:
            __import__(name)
        except ImportError:
            print(f"{name}: not installed, not timed")
            continue
        if name == "monai":
            import torch

            torch.set_num_threads(asked.threads)
        seconds, cpu, theirs = best(lambda run=run: run(predicted, reference, asked.labels), repeats)
        report(f"{name}, DSC + HD95", seconds, cpu, wall)
        measured[name] = seconds
        print(f"    largest difference from ours: {np.nanmax(abs(np.asarray(mine) - np.asarray(theirs))):.1e}")
    if asked.json:
        asked.json.write_text(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
