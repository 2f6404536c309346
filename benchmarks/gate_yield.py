"""How many of the cases that are drawn the gate accepts, and why it refuses the others.

    python benchmarks/gate_yield.py [DATASET ...] [--draw 48] [--randomise 0.5] [--preset tiny] [--first 0]

Counts the commits of datasets that `factory build` made, refusals included. Without a dataset it draws, renders and
judges `--draw` cases of the default distribution and stores none. Prints one JSON object: the yield with its exact
95 % interval, refused cases by reason code, and each reason with its subject, most frequent first. A case that is
refused for two reasons counts once in the yield and once under each of the two.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scipy.stats import binomtest

from factory.config import BuildConfig, preset
from factory.engines.base import as_drawn
from factory.run import load_models, plan_spec
from manifests.case import Arrays
from manifests.dataset import Dataset


def stored(folder: Path) -> Iterator[tuple[str, ...]]:
    """Reasons against each case that a dataset was drawn for; empty for an accepted one."""
    for record in Dataset.open(folder).records():
        if record.status in ("accepted", "rejected"):
            yield tuple(record.reasons)


def drawn(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """The same for cases that are drawn now."""
    models = load_models("phantom", "texture")
    config = BuildConfig(out=Path("unused"), n=options.draw, preset=preset(options.preset), randomise=options.randomise)
    plan, _ = plan_spec(config, models)
    for index in range(options.first, options.first + options.draw):
        request = plan.job(index).request()
        masks = models.masks.draw(request)
        request = as_drawn(request, masks)
        ct = models.images.render(request, masks)
        yield models.assess(request, Arrays(request.grid, ct, masks.anatomy, masks.lesions)).reasons


def kind(reason: str) -> str:
    """A reason without its figures: code and subject."""
    code, _, words = reason.partition(": ")
    return reason if code == "contrast-phase" else f"{code}: {words.partition(':')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="*")
    parser.add_argument("--draw", type=int, default=48)
    parser.add_argument("--first", type=int, default=0, help="number of the first case that is drawn")
    parser.add_argument("--randomise", type=float, default=0.0)
    parser.add_argument("--preset", default="tiny")
    options = parser.parse_args()
    found = [case for folder in options.datasets for case in stored(folder)] or list(drawn(options))
    refused = [case for case in found if case]
    accepted = len(found) - len(refused)
    interval = binomtest(accepted, len(found)).proportion_ci(method="exact")
    codes = Counter(code for case in refused for code in {text.partition(":")[0] for text in case})
    figures = {
        "drawn": len(found),
        "accepted": accepted,
        "yield": round(accepted / len(found), 3),
        "interval_95": [round(interval.low, 3), round(interval.high, 3)],
        "refused_by_code": dict(codes.most_common()),
        "reasons": dict(Counter(kind(text) for case in refused for text in case).most_common()),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
