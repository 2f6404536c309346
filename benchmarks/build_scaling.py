"""What a build costs on this machine: wall time of `build --n 8`, speed of two workers, busy workers.

    python benchmarks/build_scaling.py [--preset demo] [--cases 8] [--busy-cases 100] [--out FOLDER]

Prints one JSON object. One run after another, each in a process of its own through the command
line, as a user runs it. Ray's start-up is part of the wall time of `two_workers` but not of
`speed_ratio`, which compares the rate of accepted cases while workers are ready.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TARGETS = {"build_8_seconds": 60.0, "speed_ratio": 1.8, "busy_fraction": 0.95}


def build(out: Path, n: int, preset: str, *options: str) -> dict[str, Any]:
    """Run one build; its report, with the wall time of the whole process."""
    command = [sys.executable, "-m", "factory.cli", "build", "--out", str(out), "--n", str(n), "--preset", preset]
    started = time.perf_counter()
    done = subprocess.run([*command, *options, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout) | {"process_seconds": time.perf_counter() - started}


def ready_seconds(report: dict[str, Any]) -> float:
    """Mean time that workers were ready."""
    return sum(report["stage_seconds"].values()) / report["busy_fraction"] / report["workers"]


def measure(folder: Path, preset: str, cases: int, busy_cases: int) -> dict[str, Any]:
    """All figures of one run of this benchmark."""
    eight = build(folder / "eight", 8, preset)
    one = build(folder / "one", cases, preset, "--timeout", "600")  # one Ray worker, so that only the number differs
    two = build(folder / "two", cases, preset, "--workers", "2")
    many = build(folder / "many", busy_cases, preset, "--workers", "2") if busy_cases else two
    return {
        "preset": preset,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "build_8_seconds": eight["process_seconds"],
        "cases": cases,
        "one_worker_seconds": ready_seconds(one),
        "two_workers_seconds": ready_seconds(two),
        "speed_ratio": ready_seconds(one) / ready_seconds(two),
        "speed_ratio_with_start": one["process_seconds"] / two["process_seconds"],
        "busy_cases": busy_cases or cases,
        "busy_fraction": many["busy_fraction"],
        "cases_per_hour_two_workers": many["cases_per_hour"],
        "accepted_of_drawn": many["made"] / (many["made"] + many["rejected"] + many["failed"]),
        "bytes_per_case": many["stored_bytes"] / many["made"],
        "stage_seconds_per_case": {name: value / many["made"] for name, value in many["stage_seconds"].items()},
        "targets": TARGETS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--busy-cases", type=int, default=100)
    parser.add_argument("--out", type=Path, help="keep the datasets here; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(options.out or Path(scratch), options.preset, options.cases, options.busy_cases)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
