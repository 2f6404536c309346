"""Time and memory of drawing masks from a bank, beside the embedded phantom, on one core.

    python benchmarks/bank_drawing.py DATASET --preset demo --cases 5

`first_ratio` counts a source that is read and made ready, `ratio` one that is kept from the case
before. Ratios are CPU time over the phantom's in the same process, medians over cases.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from factory.config import preset
from factory.engines.bank import Bank
from factory.engines.phantom import Phantom
from factory.testing import make_request
from prompts.schema import Prompt, Study


def cpu_seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def measure(bank: Path, name: str, cases: int, region: str) -> dict[str, float]:
    grid = preset(name).grid(region)
    prompt = Prompt(study=Study(region=region))
    requests = [make_request(prompt, grid, f"c{number}") for number in range(cases)]
    kept = Bank(str(bank))
    first, again, phantom = [], [], []
    for request in requests:
        first.append(cpu_seconds(lambda request=request: Bank(str(bank)).draw(request)))
        kept.draw(request)
        again.append(cpu_seconds(lambda request=request: kept.draw(request)))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    phantom = [cpu_seconds(lambda request=request: Phantom().draw(request)) for request in requests]
    base = statistics.median(phantom)
    return {
        "voxels": float(grid.shape_zyx[0] * grid.shape_zyx[1] * grid.shape_zyx[2]),
        "phantom_s": base,
        "first_ratio": statistics.median(first) / base,
        "ratio": statistics.median(again) / base,
        "bank_peak_mib": peak_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--region", default="torso")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.bank, arguments.preset, arguments.cases, arguments.region), indent=2))


if __name__ == "__main__":
    main()
