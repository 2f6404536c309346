"""The weights that ship: whole, small, of no patient, and what the engine takes when it is told of no others."""

import numpy as np
import torch

from factory.engines.base import check_masks
from factory.engines.guidegen import GuideGenMasks
from factory.engines.guidegen.weights import SHIPPED, Package
from factory.engines.registry import image_model, mask_model
from manifests.geometry import Grid

GRID = Grid((36, 17, 24), (18.0, 18.0, 18.0), (-207.0, -157.0, -309.0))
"""The whole torso, coarse."""


def test_they_are_whole_and_small() -> None:
    package = Package.open(SHIPPED)
    assert set(package.stages) == {"masks", "autoencoder", "latents"}
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 10e6
    assert "No patient was in the training data" in (SHIPPED / "README.md").read_text(encoding="utf-8")


def test_an_engine_told_of_no_weights_takes_them() -> None:
    package = Package.open(SHIPPED)
    assert mask_model("guidegen").identity["weights_sha256"] == package.sha256("masks")
    assert package.sha256("latents") in image_model("guidegen").identity["weights_sha256"]


def test_they_draw_a_body_in_air_and_the_same_again() -> None:
    model = GuideGenMasks()
    one, again = (model.draw_text("a man with liver cancer", GRID, torch.Generator().manual_seed(3), 2) for _ in (0, 1))
    check_masks(one, GRID)
    assert np.array_equal(one.anatomy, again.anatomy)
    inside = one.anatomy > 0
    assert 0.2 < inside.mean() < 0.95
    assert inside[:, 4:12, 8:16].mean() > 0.9
    assert inside[:, 0, 0].mean() < 0.2
