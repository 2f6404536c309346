"""Lessons for what reads the text: texts, what they say in numbers, and stages that learn from them first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_lowercase
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from factory.engines.guidegen.config import Config
from factory.engines.guidegen.networks import Told
from factory.models.condition import Conditioner
from factory.models.facts import SCALES, Facts
from factory.training.loop import Stage
from factory.training.texts import UNTOLD, text_for
from manifests.anatomy import PHASES, SEX_ORGANS, group, sites, structures
from manifests.errors import InvalidValueError
from prompts.sampling import default_distribution
from prompts.schema import Prompt, parse_prompt, tumour_organs

__all__ = ["Lessons", "Said", "TextStage", "facts_loss", "lessons_for", "said_of", "teach"]

PROMPTS, WORDINGS = 10_000, 4
"""Prompts to learn from, and texts of each."""
RARE = 0.3
"""Share of prompts whose first tumour lies in any organ there is, and of those with one more organ absent: some are rare in the population."""
STRANGE = 0.3
"""Share of texts with words that mean nothing between theirs."""
BATCH = 64
"""Texts read at each step."""
WARM_STEPS, WARM_RATE = 5000, 1e-3
"""Steps on texts alone before the first case, and their learning rate."""
_ABSENT = ("gallbladder", "kidney_left", "kidney_right", "prostate", "spleen", "uterus")
"""What surgeons take out whole."""
C = TypeVar("C", bound=Config)


class TextStage(Stage, Generic[C]):
    """A stage whose network reads text by a `Conditioner`: taught by texts alone, then fixed, as a pretrained one would be.

    Attributes:
        config: of the stage.
        told: how texts become token numbers.
    """

    config: C
    told: Told

    def warm_up(self, steps: int) -> None:
        """Teach what texts say."""
        steps = min(2 * steps, WARM_STEPS)
        teach(self.network.conditioner, self.told, lessons_for(self.config, steps), steps)

    def settle(self) -> None:
        """Leave the reading of texts as it was taught."""
        self.network.conditioner.settle()


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """What texts say: chance of each class to be there, to bear a tumour, to be enlarged; phase (-1 = unsaid), numbers (NaN = unsaid)."""

    present: Float[Tensor, "b k"]
    tumour: Float[Tensor, "b k"]
    enlarged: Float[Tensor, "b k"]
    phase: Int64[Tensor, " b"]
    numbers: Float[Tensor, "b n"]


@dataclass(frozen=True, eq=False, slots=True)
class Lessons:
    """Texts and what they say."""

    texts: Sequence[str]
    said: Said

    def some(self, generator: torch.Generator, device: torch.device) -> tuple[list[str], Said]:
        """Draw a batch."""
        rows = torch.randint(len(self.texts), (BATCH,), generator=generator)
        said = self.said
        parts = (said.present, said.tumour, said.enlarged, said.phase, said.numbers)
        return [self.texts[row] for row in rows.tolist()], Said(*(part[rows].to(device) for part in parts))


def lessons_for(config: Config, steps: int) -> Lessons:
    """Draw prompts from the population that ships, half of them with even tumour sites, and texts for each, for some steps.

    What is said is all of the prompt, whether the text tells it or not: the encoder learns what to expect.
    """
    table = config.class_of_id()
    classes = {entry.name: int(table[entry.id]) for entry in structures() if entry.id in config.anatomy_ids}
    prompts, texts = _written(min(PROMPTS, BATCH * steps // WORDINGS))
    return Lessons(texts, said_of(prompts, classes, config.classes))


@cache
def _written(count: int) -> tuple[list[Prompt], list[str]]:
    """Texts and the prompt of each; written once a process, for that takes a minute."""
    random, source = np.random.default_rng(0), default_distribution()
    drawn = [*source.sample(count - count // 2, 1, "balanced"), *source.sample(count // 2, 1, "match")]
    prompts = [prompt for one in drawn for prompt in [_with_rare(one, random)] * WORDINGS]
    return prompts, [_among_strange(text_for(prompt, random), random) for prompt in prompts]


def _with_rare(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """The same prompt, or with its first tumour in any organ, or with one more organ absent; what contradicts itself stays as it is."""
    data = prompt.model_dump(exclude_none=True)
    if prompt.tumours and random.random() < RARE:
        organ = str(random.choice(tumour_organs()))
        kept = {name: value for name, value in data["tumours"][0].items() if name in ("count", "size_mm")}
        data["tumours"] = [kept | {"organ": organ, "site": str(random.choice(sites(organ)))}, *data["tumours"][1:]]
    if random.random() < RARE:
        data["absent_organs"] = sorted({*data["absent_organs"], str(random.choice(_ABSENT))})
    try:
        return parse_prompt(data)
    except InvalidValueError:
        return prompt


def _among_strange(text: str, random: np.random.Generator) -> str:
    """The same text, or with one to three made-up words in it: free texts have words that no lesson had."""
    if random.random() >= STRANGE:
        return text
    words = text.split(" ")
    for _ in range(int(random.integers(1, 4))):
        strange = "".join(random.choice(list(ascii_lowercase), int(random.integers(3, 10))))
        words.insert(int(random.integers(len(words) + 1)), strange)
    return " ".join(words)


def teach(conditioner: Conditioner, told: Told, lessons: Lessons, steps: int) -> None:
    """Train a text encoder on texts alone, before any volume is seen."""
    device = next(conditioner.parameters()).device
    one = torch.Generator().manual_seed(len(lessons.texts))
    optimiser = torch.optim.Adam(conditioner.parameters(), WARM_RATE)
    for step in range(steps):
        for parameters in optimiser.param_groups:
            parameters["lr"] = WARM_RATE * min(1.0, (step + 1) / 50, (steps - step) / steps * 2)
        texts, said = lessons.some(one, device)
        optimiser.zero_grad()
        keep = torch.rand(len(texts), generator=one).to(device) >= UNTOLD
        facts_loss(conditioner.read(told(texts).to(device), keep), said).backward()
        optimiser.step()
    optimiser.zero_grad()


def said_of(prompts: Sequence[Prompt], classes: Mapping[str, int], wide: int) -> Said:
    """What prompts say; a site left open is shared by all that are possible, an open sex is one half."""
    present, (tumour, enlarged) = torch.ones(len(prompts), wide), torch.zeros(2, len(prompts), wide)
    for row, prompt in enumerate(prompts):
        for sex, name in SEX_ORGANS.items():
            if name in classes:
                present[row, classes[name]] = 0.5 if prompt.patient.sex is None else float(prompt.patient.sex == sex)
        for said, value, names in ((present, 0, prompt.absent_organs), (enlarged, 1, prompt.enlarged_organs)):
            said[row, [classes[entry.name] for name in names for entry in group(name) if entry.name in classes]] = value
        for one in prompt.tumours:
            possible = [classes[name] for name in one.possible_sites() if name in classes]
            tumour[row, possible] = tumour[row, possible].clamp_min(1 / max(1, len(possible)))
    phases = [PHASES.index(one.study.contrast_phase) if one.study.contrast_phase else -1 for one in prompts]
    numbers = torch.tensor([_numbers(prompt) for prompt in prompts])
    middle, unit = torch.tensor(SCALES).T
    return Said(present, tumour, enlarged, torch.tensor(phases), (numbers - middle) / unit)


def _numbers(prompt: Prompt) -> list[float]:
    first = prompt.tumours[0] if prompt.tumours else None
    said = (
        math.log2(sum(one.count or 1 for one in prompt.tumours)) if first else None,
        math.log(first.size_mm) if first and first.size_mm else None,
        prompt.patient.age_years,
        prompt.patient.height_cm,
        prompt.patient.weight_kg,
    )
    return [float("nan") if value is None else value for value in said]


def facts_loss(facts: Facts, said: Said) -> Float[Tensor, ""]:
    """Cross-entropies of all chances and of the phase, and squared errors of the numbers; what is unsaid has no part."""
    entropy = functional.binary_cross_entropy_with_logits
    pairs = ((facts.present, said.present), (facts.tumour, said.tumour), (facts.enlarged, said.enlarged))
    chances = sum((entropy(*pair) for pair in pairs), torch.zeros(()))
    phase = functional.cross_entropy(facts.phase, said.phase.clamp_min(0), reduction="none")
    stated = said.phase >= 0
    known = ~said.numbers.isnan()
    off = torch.where(known, facts.numbers - said.numbers.nan_to_num(), 0.0).square()
    classes = facts.present.shape[1]
    return (
        classes * chances / 4
        + (phase * stated).sum() / stated.sum().clamp_min(1)
        + 2 * off.sum() / known.sum().clamp_min(1)
    )
