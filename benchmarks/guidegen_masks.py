"""What GuideGen's raw masks have of what was asked, before any quality gate sees them.

    python benchmarks/guidegen_masks.py [--weights FOLDER] [--n 60] [--first 0] [--seed 7] [--steps 32] [--gate] [--absent] [--each FILE]
    python benchmarks/guidegen_masks.py --sentences tests/prompts/short_sentences.csv

Draws masks at 6 mm for prompts of the population that ships, tumour sites in turn (`balanced`), with a seed that no
training used; what a prompt leaves open is drawn first, as in a build. Or for short free sentences, which the text encoder reads as they
stand, without any extraction. Prints one JSON object: shares with their exact 95 % intervals.

    present    a case with a tumour asked for has one, in any place
    position   a tumour asked for is at its site (sides included), else it counts as missed
    count      number of tumours within one of what was asked
    sex        prostate or uterus as the sex has it, unless asked absent
    absent     a structure asked absent has no voxel
    gate       with an image of the texture model the quality gate would pass it (--gate; its reasons are counted, too)
    organ      of a sentence: the largest tumour lies in the organ that it names
"""

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

from downstream.tumours import measure_tumours
from factory.config import preset
from factory.engines.base import Masks, Request
from factory.engines.guidegen import GuideGenMasks
from factory.engines.texture import Texture
from factory.quality import assess
from manifests.anatomy import SEX_ORGANS, group, structure
from manifests.case import Arrays
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.render import render
from prompts.sampling import complete, default_distribution
from prompts.schema import Prompt

PRESET = preset("tiny")
_ABSENT_AMONG = 12
"""More prompts than there are for each that asks for a structure to be absent."""


def arrays(masks: Masks, grid: Grid) -> Arrays:
    return Arrays(grid, np.zeros(grid.shape_zyx, np.int16), masks.anatomy, masks.lesions)


def judged(subject: Prompt, masks: Masks, grid: Grid) -> dict[str, list[bool]]:
    """Hits of one case by measure."""
    found = [tumour.site for tumour in measure_tumours(arrays(masks, grid))]
    asked = [(set(one.possible_sites()), one.count or 1) for one in subject.tumours]
    there = {name: bool((masks.anatomy == structure(name).id).any()) for name in SEX_ORGANS.values()}
    gone = {entry.name for name in subject.absent_organs for entry in group(name)}
    hits: dict[str, list[bool]] = {"absent": [not (masks.anatomy == structure(name).id).any() for name in gone]}
    if subject.patient.sex:
        own = SEX_ORGANS[subject.patient.sex]
        hits["sex"] = [all(there[name] == (name == own and own not in gone) for name in there)]
    if asked:
        hits["present"] = [bool(found)]
        hits["count"] = [abs(len(found) - sum(count for _, count in asked)) <= 1]
        left = list(found)
        hits["position"] = []
        for sites, count in asked:
            for _ in range(count):
                match = next((site for site in left if site in sites), None)
                hits["position"].append(match is not None)
                if match is not None:
                    left.remove(match)
    else:
        hits["none where none is asked"] = [not found]
    return hits


def passed(model: GuideGenMasks, request: Request, masks: Masks, reasons: Counter[str]) -> bool:
    """Whether the gate passes the masks with an image of the texture model; why not is counted by code, and by organ where that is one."""
    ct = Texture().render(request, masks)
    verdict = assess(request, replace(arrays(masks, request.grid), ct=ct), model.unlabelled)
    reasons.update({one.partition(":")[0] for one in verdict.reasons})
    reasons.update(
        ": ".join(one.split(": ")[:2]) for one in verdict.reasons if one.startswith(("volume", "connectivity"))
    )
    return verdict.accepted


def drawn(model: GuideGenMasks, options: argparse.Namespace, reasons: Counter[str]) -> Iterator[dict[str, list[bool]]]:
    last = options.first + options.n
    prompts = default_distribution().sample(_ABSENT_AMONG * last if options.absent else last, options.seed, "balanced")
    if options.absent:
        prompts = [prompt for prompt in prompts if prompt.absent_organs]
    for number, prompt in enumerate(prompts[options.first : last], options.first):
        case_id = f"benchmark-{options.seed}-{number}"
        subject = complete(prompt, rng(case_id, "subject"))
        grid = PRESET.grid(subject.study.region)
        masks = model.draw_text(render(subject), grid, torch.Generator().manual_seed(number), options.steps)
        gate = (
            {"gate": [passed(model, Request(case_id, prompt, subject, grid), masks, reasons)]} if options.gate else {}
        )
        yield judged(subject, masks, grid) | gate


def read(model: GuideGenMasks, options: argparse.Namespace) -> Iterator[dict[str, list[bool]]]:
    with options.sentences.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        grid = PRESET.grid()
        masks = model.draw_text(row["text"], grid, torch.Generator().manual_seed(number), options.steps)
        found = measure_tumours(arrays(masks, grid))
        largest = structure(max(found, key=lambda one: one.size_mm).site).organ if found else None
        yield {"present": [bool(found)], "organ": [largest == row["organ"]]}


def written(hits: Iterable[dict[str, list[bool]]], file: Path | None) -> Iterator[dict[str, list[bool]]]:
    """The same, each appended to a file as it comes: long runs may end early, and two runs can be compared in pairs."""
    for one in hits:
        if file:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(one) + "\n")
        yield one


def shares(hits: Sequence[dict[str, list[bool]]]) -> dict[str, dict[str, float]]:
    table = {}
    for name in dict.fromkeys(name for one in hits for name in one):
        values = [value for one in hits for value in one.get(name, [])]
        if values:
            interval = binomtest(sum(values), len(values)).proportion_ci()
            share = {"share": sum(values) / len(values), "low": interval.low, "high": interval.high}
            table[name] = {key: round(value, 3) for key, value in share.items()} | {"n": len(values)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler; default: those of the weights")
    parser.add_argument("--gate", action="store_true", help="ask the quality gate, too")
    parser.add_argument("--absent", action="store_true", help="only prompts that ask for a structure to be absent")
    parser.add_argument("--each", type=Path, help="a line of JSON for each case is appended here, as it comes")
    parser.add_argument("--sentences", type=Path, help="table with columns text and organ")
    options = parser.parse_args()
    model = GuideGenMasks(options.weights)
    started = time.perf_counter()
    reasons: Counter[str] = Counter()
    cases = read(model, options) if options.sentences else drawn(model, options, reasons)
    hits = list(written(cases, options.each))
    seconds = (time.perf_counter() - started) / len(hits)
    refused = {"cases_refused_for": dict(reasons.most_common())} if options.gate else {}
    print(json.dumps(shares(hits) | {"cases": len(hits), "seconds_a_case": round(seconds, 2)} | refused, indent=1))


if __name__ == "__main__":
    main()
