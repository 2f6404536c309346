"""What one case costs on one core: seconds by stage at 3, 1.5 and 1 mm, growth with voxels, memory.

    python benchmarks/case_speed.py [--cases 12] [--spacings 3 1.5 1] [--tree FOLDER]

Prints one JSON object. The field is that of 256 x 256 x 128 voxels at 1.5 mm in the upper abdomen,
where most organs lie, at every spacing; cases are drawn, rendered, judged and stored as a build
does. Each spacing runs in a process of its own with one thread. Seconds are of the processor, so
that other work on the machine disturbs little; `wall` is the clock's. `--tree` measures another
checkout, for ratios.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

TARGETS = {"case_seconds": 4.0, "peak_mb": 2000.0, "exponent": 1.0}
MAISI_SECONDS = {"pair": 8900.0, "pair_with_mask_of_its_bank": 260.0}
"""A MAISI case of the same size on two cores in bf16, as quoted: extrapolated from its steps, not measured here."""
FIELD_MM, CENTRE_Z_MM, FRONT_MM = (192.0, 384.0, 384.0), 18.0, -190.0
_THREADS = ("OMP", "OPENBLAS", "MKL", "BLOSC", "NUMEXPR")


def clocked(seconds: dict[str, float], stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, with its processor time added under a name."""

    def run(*arguments: Any, **named: Any) -> Any:
        started = time.process_time()
        try:
            return call(*arguments, **named)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - started

    return run


def field(spacing_mm: float) -> Any:
    """The grid of the field at a spacing."""
    from manifests.geometry import Grid

    shape = tuple(round(length / spacing_mm) for length in FIELD_MM)
    low_xyz = (-FIELD_MM[2] / 2, FRONT_MM, CENTRE_Z_MM - FIELD_MM[0] / 2)
    return Grid(shape, (spacing_mm,) * 3, tuple(edge + spacing_mm / 2 for edge in low_xyz))  # type: ignore[arg-type]


def measure_here(spacing_mm: float, cases: int, first: int) -> dict[str, Any]:
    """Make cases in this process; rows of seconds by stage. Tumours outside the field skip a case."""
    from factory.config import BuildConfig
    from factory.executor import Models, make_case
    from factory.run import load_models, plan_spec
    from manifests.dataset import Dataset

    seconds: dict[str, float] = {}
    models = load_models("phantom", "texture")

    def judge(*arguments: Any) -> Any:  # the field covers no scan region, which is a reason against it
        return replace(models.assess(*arguments), accepted=True)

    models.masks.draw = clocked(seconds, "masks", models.masks.draw)  # type: ignore[method-assign]
    models.images.render = clocked(seconds, "ct", models.images.render)  # type: ignore[method-assign]
    timed = Models(models.masks, models.images, clocked(seconds, "gate", judge), models.gate)
    grid, index = field(spacing_mm), first
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        plan, spec = plan_spec(BuildConfig(out=Path(folder), n=cases), models)
        dataset = Dataset.create(Path(folder) / "set", spec)
        dataset.save = clocked(seconds, "store", dataset.save)  # type: ignore[method-assign]
        while len(rows) <= cases:
            seconds.clear()
            wall, started = time.perf_counter(), time.process_time()
            outcome = make_case(replace(plan.job(index), grid=grid), dataset, timed)
            total = time.process_time() - started
            index += 1
            if outcome.record.status == "accepted":
                rest = total - sum(seconds.values())
                rows.append({**seconds, "rest": rest, "total": total, "wall": time.perf_counter() - wall})
            elif not any("tumour" in text for text in outcome.record.reasons):
                raise SystemExit(f"case {index - 1}: {outcome.record.reasons}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"shape_zyx": grid.shape_zyx, "rows": rows[1:], "peak_mb": peak}  # the first one fills caches


def measure_apart(tree: Path, spacing_mm: float, cases: int, first: int) -> dict[str, Any]:
    """The same in a fresh process that imports the packages of a checkout."""
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in _THREADS} | {"PYTHONPATH": str(tree)}
    options = ["--here", str(spacing_mm), "--cases", str(cases), "--first", str(first)]
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tree)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Median of each stage."""
    return {stage: round(statistics.median(row[stage] for row in rows), 3) for stage in rows[0]}


def summary(found: dict[float, dict[str, Any]]) -> dict[str, Any]:
    """All figures of the run."""
    figures = {
        f"{spacing:g} mm": {
            "shape_zyx": part["shape_zyx"],
            "seconds": medians(part["rows"]),
            "peak_mb": round(part["peak_mb"]),
        }
        for spacing, part in found.items()
    }
    result: dict[str, Any] = {"load": os.getloadavg()[0], "spacings": figures, "targets": TARGETS}
    coarse, fine = max(found), min(found)
    if coarse > fine:
        total = {spacing: medians(found[spacing]["rows"])["total"] for spacing in found}
        result["exponent"] = round(math.log(total[fine] / total[coarse]) / (3 * math.log(coarse / fine)), 3)
    if 1.5 in found:
        wall = medians(found[1.5]["rows"])["total"]
        result["times_faster_than_maisi_as_quoted"] = {name: round(s / wall) for name, s in MAISI_SECONDS.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--spacings", type=float, nargs="+", default=[3.0, 1.5, 1.0])
    parser.add_argument("--tree", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--here", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure_here(options.here, options.cases, options.first)))
        return
    found = {s: measure_apart(options.tree, s, options.cases, options.first) for s in options.spacings}
    print(json.dumps(summary(found), indent=2))


if __name__ == "__main__":
    main()
