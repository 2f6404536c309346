"""The engine with random weights: the contract of engines, identity by weights, and mixing with other engines."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from factory.config import BuildConfig
from factory.engines.base import ImageModel, MaskModel
from factory.engines.registry import image_model, mask_model, pair
from factory.run import Run, load_models
from factory.testing import TOY_PRESET, EngineSuite, ToyImages, ToyMasks, make_request, toy_prompts
from manifests.errors import LocationError
from manifests.geometry import Grid
from prompts.schema import Patient, Prompt, Tumour
from prompts.table import write_prompts

GRID = Grid((8, 12, 16), (24.0, 24.0, 24.0), (-180.0, -150.0, -100.0))


class TestGuideGen(EngineSuite):
    """All of the suite but what only trained weights can keep."""

    grid = GRID
    prompts = (Prompt(patient=Patient(age_years=61)), Prompt(tumours=(Tumour(organ="liver", count=1, size_mm=40),)))
    test_every_prompted_tumour_is_drawn = None
    test_images_keep_their_contract = None
    test_organs_have_their_density = None

    @pytest.fixture(autouse=True)
    def _weights(self, weights: Path) -> None:
        self.folder = weights

    def make_masks(self) -> MaskModel:
        return mask_model(f"guidegen:{self.folder}")

    def make_images(self) -> ImageModel:
        return image_model(f"guidegen:{self.folder}")


def test_the_text_is_read(weights: Path) -> None:
    one, other = (
        mask_model(f"guidegen:{weights}").draw(make_request(Prompt(patient=Patient(sex=sex, age_years=40)), GRID))
        for sex in ("male", "female")
    )
    assert not np.array_equal(np.stack([one.anatomy, one.lesions]), np.stack([other.anatomy, other.lesions]))


def test_identity_is_that_of_the_weights(weights: Path, other_weights: Path) -> None:
    for make in (mask_model, image_model):
        same, different = make(f"guidegen:{weights}").identity, make(f"guidegen:{other_weights}").identity
        assert same["weights_sha256"] != different["weights_sha256"]
        assert same["weights_sha256"] == make(f"guidegen:{weights}").identity["weights_sha256"]


def test_slices_are_drawn_by_their_masks_and_case(weights: Path) -> None:
    one, other = (make_request(Prompt(patient=Patient(age_years=50)), GRID, case_id) for case_id in ("c1", "c2"))
    masks, model = ToyMasks().draw(one), image_model(f"guidegen-slices:{weights}")
    ct = model.render(one, masks)
    assert np.array_equal(ct, image_model(f"guidegen-slices:{weights}").render(one, masks))
    assert not np.array_equal(ct, model.render(other, masks))
    assert not np.array_equal(ct, model.render(one, replace(masks, anatomy=masks.anatomy[::-1].copy())))


def test_it_mixes_with_other_engines(weights: Path) -> None:
    request = make_request(Prompt(tumours=(Tumour(organ="liver", count=1, size_mm=60),)), GRID)
    there = mask_model(f"guidegen:{weights}").draw(request)
    assert ToyImages().render(request, there).shape == request.grid.shape_zyx
    toy = ToyMasks().draw(request)
    assert image_model(f"guidegen:{weights}").render(request, toy).shape == request.grid.shape_zyx


def test_a_build_keeps_the_weights_on_record(weights: Path, tmp_path: Path) -> None:
    """Random weights draw no patient: the gate refuses each, and the records say of which weights it was."""
    prompts = tmp_path / "prompts.parquet"
    write_prompts(prompts, toy_prompts((50,)))
    name = f"guidegen:{weights}"
    config = BuildConfig(
        out=tmp_path / "set", n=1, manifest=prompts, preset=TOY_PRESET, candidates=1, masks=name, images=name
    )
    run = Run(config, partial(load_models, name, name))
    outcomes = list(run)
    assert [one.record.status for one in outcomes] == ["rejected"]
    package = json.loads((weights / "package.json").read_text())
    assert outcomes[0].record.weights_sha256.count("+") == 2
    assert outcomes[0].record.mask_model == "guidegen 2"
    assert set(package["stages"]) == {"masks", "autoencoder", "latents", "slices"}


def test_a_folder_without_weights_says_how_to_get_some() -> None:
    assert pair("guidegen") == ("guidegen", "guidegen")
    for make in (mask_model, image_model):
        with pytest.raises(LocationError, match=r"package\.json"):
            make("guidegen:/nowhere")
