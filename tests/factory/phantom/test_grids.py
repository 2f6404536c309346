"""The same body on every grid: regions, resolutions, repetition, variety."""

import numpy as np
import pytest

from factory.config import REGION_Z_MM, preset
from factory.engines.base import Request
from factory.engines.phantom import Phantom, paint
from manifests.anatomy import structure
from prompts.schema import Patient, Prompt, Study, Tumour


def test_equal_seeds_paint_equal_bodies(body):
    first = body(seed=9)
    again = paint(first.build, preset("tiny").grid())
    np.testing.assert_array_equal(first.labels, again)


def test_seeds_paint_different_bodies(body):
    a, b = body(seed=8), body(seed=9)
    for name in ("liver", "stomach", "small_bowel", "colon_transverse"):
        first, second = a.mask(name), b.mask(name)
        assert 2 * (first & second).sum() < 0.95 * (first.sum() + second.sum()), name


@pytest.mark.parametrize("region", [name for name in REGION_Z_MM if name != "torso"])
def test_a_region_is_a_part_of_the_torso(body, region):
    whole = body(seed=8)  # one whose bowel is one piece, which no edge parts
    grid = preset("tiny").grid(region)
    part = paint(whole.build, grid)
    first = round((grid.origin_mm_xyz[2] - preset("tiny").grid().origin_mm_xyz[2]) / 6.0)
    same = part == whole.labels[first : first + grid.shape_zyx[0]]
    assert same.mean() > 0.992  # what the edge cuts off from its organ is tidied away


def test_resolutions_agree_on_volumes(body):
    coarse = body(seed=9)
    grid = preset("demo").grid("abdomen")
    fine, coarse_part = paint(coarse.build, grid), paint(coarse.build, preset("tiny").grid("abdomen"))
    for name in ("liver", "spleen", "kidney_left", "stomach", "heart", "vertebrae_L2", "skeletal_muscle"):
        id = structure(name).id
        volumes = [(labels == id).sum() * size for labels, size in ((fine, 0.027), (coarse_part, 0.216))]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.12), name


def test_the_model_places_what_the_prompt_asks():
    patient = Patient(age_years=60, sex="female", height_cm=165, weight_kg=70)
    tumour = Tumour(organ="liver", site="liver", count=1, size_mm=45.0)
    prompt = Prompt(patient=patient, study=Study(contrast_phase="portal_venous", region="torso"), tumours=(tumour,))
    request = Request("c1", prompt, prompt, preset("tiny").grid())
    masks = Phantom().draw(request)
    assert len(masks.lesion_records) == 1
    assert set(np.unique(masks.anatomy[masks.lesions > 0])) == {structure("liver").id}
