"""Identity is content: canonical JSON, content hashes, and a seed for each random stage.

A `prompt_id` hashes what is asked. A `case_id` hashes what is asked, who draws it, on which
grid and the how-manieth drawing it is, so a case is the same whatever the batch size, the
number of workers, their order, or how often the run was interrupted.
"""

import hashlib
import json
from typing import Any

import numpy as np
from blake3 import blake3
from jaxtyping import Shaped

from manifests.errors import InvalidValueError

__all__ = ["array_blake3", "canonical_json", "content_hash", "is_identifier", "make_case_id", "rng", "stage_seed"]

_DIGEST_BYTES = 10


def canonical_json(value: Any) -> str:
    """Serialise to the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        InvalidValueError: if the value holds NaN, infinity or a type JSON lacks.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            "value to hash", got=str(error), need="finite JSON data", do="Remove NaN, infinity and custom objects."
        ) from error


def content_hash(value: Any) -> str:
    """Hash a JSON value to 20 hexadecimal characters (80 bits of BLAKE2b)."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def make_case_id(*, prompt_id: str, spec: Any, index: int, candidate: int) -> str:
    """Name a case by everything that decides its voxels.

    Args:
        prompt_id: identity of the prompt.
        spec: JSON value with the engines, their weights, the grid and the run seed.
        index: position of the case in the run, from 0.
        candidate: number of earlier candidates for this position that were refused.

    Returns:
        "c" and 20 hexadecimal characters.
    """
    return "c" + content_hash({"prompt": prompt_id, "spec": spec, "index": index, "candidate": candidate})


def is_identifier(text: str) -> bool:
    """Tell whether a text may name a case: letters, digits, `_`, `-`, `.`; no path, not hidden."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    return 0 < len(text) <= 128 and text[0] not in ".-" and set(text) <= allowed


def stage_seed(case_id: str, stage: str) -> int:
    """Seed of one random stage of one case: 128 bits hashed from both names."""
    digest = hashlib.blake2b(f"{case_id}\0{stage}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big")


def rng(case_id: str, stage: str) -> np.random.Generator:
    """Make the random generator of one stage of one case."""
    return np.random.Generator(np.random.PCG64(stage_seed(case_id, stage)))


def array_blake3(array: Shaped[np.ndarray, "..."]) -> str:
    """Hash an array's dtype, shape and C-order bytes with BLAKE3; independent of codec and chunks.

    BLAKE3 because hashing every voxel with SHA-256 takes as long as compressing them.
    """
    digest = blake3(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return digest.update(little.reshape(-1).view(np.uint8).data).hexdigest()
