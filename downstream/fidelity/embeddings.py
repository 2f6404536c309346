"""CT-CLIP score from vectors that were computed elsewhere: does an image match its own text more than another's?

CT-CLIP (Hamamci et al. 2024, arXiv:2403.17834) needs its own image encoder, text encoder and preprocessing. They run where they are
installed; what is read here is a safetensors file with `image.<case_id>` and `text.<case_id>` for each case.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from downstream.stats import Interval, bootstrap_mean
from manifests.errors import FileFormatError, InvalidValueError, MissingDependencyError

__all__ = ["ClipScore", "clip_score", "read_embeddings"]

FEWEST = 5


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Agreement of images and texts.

    Attributes:
        score: mean cosine of an image and its own text, with its interval over cases.
        chance: mean cosine of an image and the other cases' texts.
        first: share of images whose own text is the nearest of all.
    """

    score: Interval
    chance: float
    first: Interval


def read_embeddings(path: Path) -> tuple[list[str], Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]]:
    """Read case ids, image vectors and text vectors.

    Raises:
        FileFormatError: no safetensors file, a case without one of the two, or vectors of several lengths.
        MissingDependencyError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingDependencyError(
            "safetensors", got="no such package", need="it to read vectors", do="pip install safetensors"
        ) from error
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileFormatError(
            str(path), got=str(error).splitlines()[0], need="a safetensors file of vectors", do="Check the path."
        ) from error
    ids = sorted({name.partition(".")[2] for name in stored})
    wanted = [f"{kind}.{case}" for kind in ("image", "text") for case in ids]
    lengths = {vector.shape for vector in stored.values()}
    if not ids or set(wanted) != set(stored) or len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise FileFormatError(
            str(path),
            got=f"{len(stored)} tensors of shapes {sorted(lengths)}",
            need="image.<case_id> and text.<case_id> of one length for each case",
            do="Write both vectors of every case.",
        )
    images, texts = (np.array([stored[f"{kind}.{case}"] for case in ids], np.float64) for kind in ("image", "text"))
    return ids, images, texts


def clip_score(images: Float64[np.ndarray, "n d"], texts: Float64[np.ndarray, "n d"], *, seed: int) -> ClipScore:
    """Compare every image with every text, row by row the same case.

    Raises:
        InvalidValueError: fewer than five cases, or a vector of length 0.
    """
    norms = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts)]
    if len(images) < FEWEST or min(norm.min() for norm in norms) == 0:
        raise InvalidValueError(
            "CT-CLIP score",
            got=f"{len(images)} cases" if len(images) < FEWEST else "a vector of length 0",
            need=f"at least {FEWEST} cases with vectors",
            do="Embed more cases.",
        )
    cosines = (images / norms[0]) @ (texts / norms[1]).T
    own = np.diag(cosines)
    others = cosines[~np.eye(len(own), dtype=bool)]
    nearest = (cosines.argmax(1) == np.arange(len(own))).astype(float)
    return ClipScore(bootstrap_mean(own, seed=seed), float(others.mean()), bootstrap_mean(nearest, seed=seed))
