"""How variants change a body: its target volumes, what it lacks, and what the case's record says of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from factory.engines.phantom.population import Build
from factory.engines.phantom.variants import Variants
from manifests.anatomy import structure

__all__ = ["variant_notes", "vary"]

_LIMITS_ML = {"urinary_bladder": (22.0, 750.0), "stomach": (50.0, 1250.0), "gallbladder": (7.0, 130.0)}
_LARGE = 1.25
"""An enlarged organ has at least this times the mean of its sex."""


def vary(build: Build, variants: Variants) -> Build:
    """Give a body its variants."""
    volumes = dict(build.volumes_ml)
    for name, factor in variants.factors.items():
        volumes[name] *= factor
    for name in variants.enlarged:
        volumes[name] = max(volumes[name], _LARGE * structure(name).volume_ml.get(build.sex, 0.0))
    for name, limits in _LIMITS_ML.items():
        volumes[name] = float(np.clip(volumes[name], *limits))
    return replace(build, volumes_ml=volumes, absent=build.absent | variants.removed, variants=variants)


def variant_notes(variants: Variants, findings: Iterable[str] = ()) -> Mapping[str, str]:
    """Name the variants of a body, and other findings, for its record; nothing where there is none."""
    names = sorted({*variants.present, *findings})
    names += [f"renal_cysts_{side}" for side in ("left", "right") if any(cyst[0] == side for cyst in variants.cysts)]
    names += ["hepatic_cysts"] if variants.liver_cysts else []
    return {"variants": ", ".join(names)} if names else {}
