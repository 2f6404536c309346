"""What of the phantom lets a network segment real CT: dial, shapes, texture and number of cases, one changed at a time.

    python benchmarks/transfer_ablation.py REAL OUT [--arms base,n50,...] [--plan quick] [--iterations 1000] [--exclude CASE:LABEL]

REAL is a dataset of labelled real scans. Every arm is built, trained (one plan, as many steps) and scored on them as `factory bench transfer`
does; what is finished is kept, so a repeated call goes on. Arms, of 200 cases at the dial 0.5 but for what they name:

    n50, base, n500    number of cases; 50 are the first of 200, 200 the first of 500
    dial0, dial1       --randomise
    bodies12           twelve bodies alone, each imaged anew for every case
    flat               every structure of one HU; lesions and the scanner as ever

Writes OUT/table.md: DSC of each arm, its mean over the labels of a scan and then over scans, of held-out synthetic cases too, and the difference from `base` with a
bootstrap interval over scans.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Int16

from downstream.results import Results
from downstream.stats import bootstrap_mean
from downstream.transfer import TransferOptions, parse_exclusions, transfer
from downstream.transfer_plans import transfer_plan
from factory.config import BuildConfig, preset
from factory.engines.base import ImageModel, MaskModel, Masks, Request
from factory.engines.phantom import Phantom
from factory.engines.texture import Texture
from factory.engines.texture.appearance import Appearance
from factory.engines.texture.enhancement import base_hu
from factory.engines.texture.lesions import paint_lesions
from factory.engines.texture.scanner import acquire
from factory.engines.texture.scene import Scene
from factory.engines.texture.subject import Subject
from factory.executor import Models
from factory.quality import GATE, assess
from factory.run import build
from manifests.dataset import Dataset
from prompts.sampling import complete, default_distribution

BODIES = 12


class FewBodies(MaskModel):
    """The phantom, but of `BODIES` subjects whatever the prompt; case n is imaged as itself."""

    identity: Mapping[str, str] = MappingProxyType({"name": "few-bodies", "version": "1"})

    def draw(self, request: Request) -> Masks:
        body = int(request.rng("few-bodies").integers(BODIES))
        own = replace(request, case_id=f"body {body}", randomise=request.randomise)
        prompt = default_distribution().draw(0, body)
        return Phantom().draw(replace(own, prompt=prompt, subject=complete(prompt, own.rng("subject"))))


class Flat(ImageModel):
    """Each structure at its HU without any texture; lesions are painted, and the scanner blurs and adds noise."""

    identity: Mapping[str, str] = MappingProxyType({"name": "flat", "version": "1"})

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        subject = Subject.of(request)
        look = Appearance.draw(subject, request.randomise, request.rng("texture/look"))
        base = base_hu(subject, look, request.rng("texture/base"))
        scene = Scene(request, masks, subject, look, base, base[masks.anatomy])
        paint_lesions(scene)
        return acquire(scene)


@dataclass(frozen=True, slots=True)
class Arm:
    """What one training learns from; arms of one `dataset` share it, the larger ones extend it."""

    dataset: str = "cases"
    n: int = 200
    dial: float = 0.5
    masks: Callable[[], MaskModel] = Phantom
    images: Callable[[], ImageModel] = Texture
    ungated: bool = False

    def models(self) -> Models:
        return Models(self.masks(), self.images(), assess, GATE)


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "n50": Arm(n=50),
        "base": Arm(),
        "dial0": Arm("dial0", dial=0.0),
        "dial1": Arm("dial1", dial=1.0),
        "flat": Arm("flat", images=Flat, ungated=True),
        "bodies12": Arm("bodies12", masks=FewBodies, ungated=True),
        "n500": Arm(n=500),
    }
)
"""In the order of work: what extends a dataset comes after what needs it smaller."""


def main(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    options = TransferOptions(
        plan=asked.plan, iterations=asked.iterations, workers=1, exclude=parse_exclusions(asked.exclude)
    )
    scores: dict[str, Results] = {}
    for name, arm in ARMS.items():
        if name not in asked.arms.split(","):
            continue
        place = asked.out / name
        if not (place / "results.json").is_file():
            config = BuildConfig(
                out=asked.out / f"data-{arm.dataset}",
                n=max(4, round(arm.n * asked.share)),
                preset=preset(transfer_plan(asked.plan).preset),
                randomise=arm.dial,
                ungated=arm.ungated,
            )
            build(config, arm.models)
            if (there := len(Dataset.open(config.out).accepted())) != config.n:
                sys.exit(f"{config.out} has {there} cases, arm {name} needs {config.n}: start in a new folder")
            transfer(config.out, asked.real, place, options)
        scores[name] = Results.read(place / "scores.csv")
        (asked.out / "table.md").write_text(table(scores) + "\n", encoding="utf-8")
        print(table(scores), flush=True)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--plan", default="quick")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--exclude", action="append", default=[], metavar="CASE:LABEL")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each arm, for a first look")
    return parser.parse_args(arguments)


def table(scores: Mapping[str, Results]) -> str:
    """One row an arm."""
    rows = ["| arm | DSC, real scans | minus base (95 %) | DSC, held-out synthetic |", "|---|---|---|---|"]
    for name, found in scores.items():
        real, held = (np.mean([np.nanmean(list(labels.values())) for labels in by_case(found, arm).values()])
                      for arm in ("real", "synthetic"))  # fmt: skip
        rows.append(f"| {name} | {real:.3f} | {difference(found, scores.get('base'))} | {held:.3f} |")
    return "\n".join(rows)


def by_case(found: Results, arm: str) -> dict[str, dict[str, float]]:
    """DSC by case and label."""
    cases: dict[str, dict[str, float]] = {}
    for row in found.where(arm=arm, metric="dice"):
        cases.setdefault(row.case_id, {})[row.structure] = row.value
    return cases


def difference(found: Results, base: Results | None) -> str:
    """Mean over scans of the mean difference over the labels of a scan."""
    if base is None or base is found:
        return ""
    theirs = by_case(base, "real")
    means = [
        float(np.nanmean([value - theirs[case][label] for label, value in labels.items()]))
        for case, labels in by_case(found, "real").items()
    ]
    interval = bootstrap_mean(means, seed=0)
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


if __name__ == "__main__":
    sys.exit(main())
