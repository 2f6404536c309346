"""Open local weights first, then take the measures that need them on the cases that the weight-free ones were taken on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from downstream.fidelity.comparison import FidelityOptions, chosen_cases, chosen_spacing_mm
from downstream.fidelity.deep import Sample, fid, fvd, lpips
from downstream.fidelity.embeddings import clip_score, read_embeddings
from downstream.fidelity.encoders import Encoder, NetworkEncoder, PerceptualDistance
from downstream.fidelity.measures import Measurement
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError

__all__ = ["Places", "Weights", "measure_with_weights", "open_weights"]

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of networks and a file of vectors; None for what is not measured."""

    fid: Path | None = None
    fvd: Path | None = None
    lpips: Path | None = None
    ct_clip: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Weights:
    """What was opened. An own `Encoder` can stand here as well."""

    fid: Encoder | None = None
    fvd: Encoder | None = None
    lpips: PerceptualDistance | None = None
    ct_clip: tuple[list[str], Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]] | None = None


def open_weights(places: Places) -> Weights:
    """Open everything that is asked for, before any case is read.

    Raises:
        InputError: what is missing or wrong.
    """
    return Weights(
        None if places.fid is None else NetworkEncoder(places.fid, 2, places.device),
        None if places.fvd is None else NetworkEncoder(places.fvd, 3, places.device),
        None if places.lpips is None else PerceptualDistance(places.lpips, places.device),
        None if places.ct_clip is None else read_embeddings(places.ct_clip),
    )


def measure_with_weights(
    real: Dataset,
    synthetic: Dataset,
    options: FidelityOptions,
    weights: Weights,
    advance: Callable[[], None] = lambda: None,
) -> list[Measurement]:
    """Take the measures whose weights are there; none give no rows.

    Raises:
        InvalidValueError: too few cases, or vectors of other cases than the dataset's.
    """
    records = [chosen_cases(dataset, options.cases) for dataset in (real, synthetic)]
    spacing_mm = chosen_spacing_mm(options.spacing_mm, records)
    first, second = (Sample(data, each, spacing_mm) for data, each in zip((real, synthetic), records, strict=True))
    rows: list[Measurement] = []
    if weights.fid is not None:
        rows += fid(first, second, weights.fid, options.draws, advance)
    if weights.fvd is not None:
        rows.append(fvd(first, second, weights.fvd, options.draws, advance))
    if weights.lpips is not None:
        rows += lpips(first, second, weights.lpips, options.draws)
    if weights.ct_clip is not None:
        rows += _ct_clip(synthetic, weights.ct_clip, options.draws.seed)
    return rows


def _ct_clip(
    synthetic: Dataset, vectors: tuple[list[str], Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]], seed: int
) -> list[Measurement]:
    ids, images, texts = vectors
    if strange := sorted(set(ids) - {record.case_id for record in synthetic.accepted()}):
        raise InvalidValueError(
            "--ct-clip",
            got=f"vectors of {len(strange)} cases that are not in {synthetic.root}, such as {strange[0]}",
            need="vectors of its cases",
            do="Embed the dataset that is judged.",
        )
    found = clip_score(images, texts, seed=seed)
    return [
        Measurement(name, "", value.mean, value.low, value.high, null, _NAN, 0, len(ids))
        for name, value, null in (
            ("ct_clip_score", found.score, found.chance),
            ("ct_clip_first", found.first, 1 / len(ids)),
        )
    ]
