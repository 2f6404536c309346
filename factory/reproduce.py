"""Making a stored case again from its record alone, and comparing what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from factory.engines.base import Request, as_drawn
from factory.executor import Models
from factory.run import load_models
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, SpecMismatchError
from manifests.identity import array_blake3, rng
from prompts.sampling import complete, default_distribution
from prompts.schema import parse_prompt

__all__ = ["Reproduction", "reproduce"]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How the layers of a case made again compare with its record.

    Attributes:
        layers: "same", or both hashes, for ct, anatomy and lesions.
    """

    layers: dict[str, str]

    @property
    def identical(self) -> bool:
        """Whether every layer is the same, bit by bit."""
        return set(self.layers.values()) == {"same"}


def reproduce(
    root: Path,
    case_id: str,
    load: Callable[[], Models] | None = None,
    *,
    masks: str | None = None,
    images: str | None = None,
) -> Reproduction:
    """Draw and render a delivered case again, and compare hashes with its record; writes nothing.

    Args:
        root: the dataset.
        case_id: one of its delivered cases.
        load: makes the models; None takes the engines that the dataset names.
        masks: the mask model with its argument, where it needs one; a dataset does not say where its sources lie.
        images: the image model with its argument, likewise.

    Raises:
        InvalidValueError: if the case was not delivered, or is real.
        SpecMismatchError: if the installed engines are not those that made it.
        UnknownNameError, LocationError: if there is no such case, engine or dataset.
    """
    dataset = Dataset.open(root)
    record = dataset.record(case_id)
    _require_made_here(record, dataset)
    spec = dataset.spec
    models = load() if load else load_models(masks or spec.mask_model["name"], images or spec.image_model["name"])
    _require_same_makers(dataset, models)
    request = _request(record, spec.randomise)
    drawn = models.masks.draw(request)
    made = {
        "ct": models.images.render(as_drawn(request, drawn), drawn),
        "anatomy": drawn.anatomy,
        "lesions": drawn.lesions,
    }
    layers = {}
    for name, array in made.items():
        stored, now = getattr(record, f"{name}_blake3"), array_blake3(array)
        layers[name] = "same" if stored == now else f"stored {stored}, made {now}"
    return Reproduction(layers)


def _request(record: CaseRecord, randomise: float) -> Request:
    prompt = parse_prompt(record.prompt_json, f"case {record.case_id}")
    subject = complete(prompt, rng(record.case_id, "subject"))
    return Request(record.case_id, prompt, subject, record.grid(), randomise=randomise)


def _require_made_here(record: CaseRecord, dataset: Dataset) -> None:
    if record.status != "accepted" or dataset.spec.kind != "synthetic":
        raise InvalidValueError(
            f"case {record.case_id}",
            got=f"a {record.status} case of a {dataset.spec.kind} dataset",
            need="a delivered synthetic case",
            do="List such cases with `factory info`.",
        )


def _require_same_makers(dataset: Dataset, models: Models) -> None:
    """Refuse to compare what other models, or another distribution of unstated fields, would make."""
    spec = dataset.spec
    now = {
        "mask_model": dict(models.masks.identity),
        "image_model": dict(models.images.identity),
        "completion": default_distribution().distribution_id,
    }
    then = {
        "mask_model": spec.mask_model,
        "image_model": spec.image_model,
        "completion": spec.prompts.get("completion"),
    }
    if changed := [name for name in now if now[name] != then[name]]:
        raise SpecMismatchError(
            f"dataset {dataset.root}",
            got="; ".join(f"{name} = {now[name]}" for name in changed),
            need="; ".join(f"{name} = {then[name]}" for name in changed) + ", as it was built",
            do=f"Install version {spec.factory_version} and the engines that made it.",
        )
