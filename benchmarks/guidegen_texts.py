"""What GuideGen's text encoder alone reads off texts, before anything is drawn.

    python benchmarks/guidegen_texts.py [--weights FOLDER] [--n 300] [--seed 77] [--sentences tests/prompts/short_sentences.csv]

For prompts with a tumour of the population that ships (sites in turn, a seed that no training used), in canonical and in free wording: how often
the likeliest site is one asked for, the sex and the phase; for short sentences, how often the likeliest site is of the organ named. Prints one JSON object
of shares and counts.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.masks import open_package
from factory.engines.guidegen.networks import synthesizer
from factory.models.facts import Facts
from factory.training.facts import said_of
from manifests.anatomy import structure, structures
from prompts.paraphrase import paraphrase
from prompts.render import render
from prompts.sampling import default_distribution
from prompts.schema import Prompt


def shares(facts: Facts, prompts: Sequence[Prompt], classes: dict[str, int]) -> dict[str, float]:
    """Of prompts in one wording."""
    said = said_of(prompts, classes, facts.tumour.shape[1])
    asked = said.tumour.gather(1, facts.tumour.argmax(1)[:, None])[:, 0] > 0
    stated = torch.tensor([prompt.patient.sex is not None for prompt in prompts])
    male = torch.tensor([prompt.patient.sex == "male" for prompt in prompts])
    sex = (facts.present[:, classes["prostate"]] > 0) == male
    phase = facts.phase.argmax(1) == said.phase
    found = {"site": asked, "sex": sex[stated], "phase": phase[said.phase >= 0]}
    return {name: round(float(hits.float().mean()), 3) for name, hits in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--sentences", type=Path, default=Path("tests/prompts/short_sentences.csv"))
    options = parser.parse_args()
    package = open_package(options.weights)
    config = package.config("masks", MasksConfig)
    net, told = synthesizer(config)
    package.load("masks", net)
    net.eval()
    table = config.class_of_id()
    classes = {entry.name: int(table[entry.id]) for entry in structures() if entry.id in config.anatomy_ids}
    names = {number: name for name, number in classes.items()}
    prompts = [one for one in default_distribution().sample(options.n, options.seed, "balanced") if one.tumours]
    wordings = {
        "canonical": [render(one) for one in prompts],
        "free": [paraphrase(one, number) for number, one in enumerate(prompts)],
    }
    with options.sentences.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with torch.inference_mode():
        found: dict[str, object] = {
            name: shares(net.conditioner.read(told(texts)), prompts, classes) for name, texts in wordings.items()
        }
        likeliest = net.conditioner.read(told([row["text"] for row in rows])).tumour.argmax(1).tolist()
    right = [structure(names[site]).organ == row["organ"] for site, row in zip(likeliest, rows, strict=True)]
    print(json.dumps({"prompts": len(prompts), **found, "sentences": f"{sum(right)} of {len(rows)}"}, indent=1))


if __name__ == "__main__":
    main()
