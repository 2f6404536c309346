"""Fluid, cysts, resections and obstruction: where they lie, how large they are, and what they leave whole."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.phantom import draw_build, paint
from factory.engines.phantom.rates import RATES
from factory.engines.phantom.variants import Variants, draw_variants
from factory.engines.phantom.varying import vary
from manifests.anatomy import group, structure
from manifests.identity import rng
from prompts.schema import Patient, Prompt, Tumour

GRID = preset("tiny").grid()


def subject(**stated) -> Prompt:
    return Prompt(patient=Patient(age_years=60, sex="male", height_cm=172, weight_kg=76), **stated)


def painted(variants: Variants, ascites_ml: float = 0.0) -> np.ndarray:
    build = draw_build(subject(), rng("v5", "phantom"))
    build = replace(build, volumes_ml={**build.volumes_ml, "ascites": ascites_ml})
    return paint(vary(build, variants), GRID)


def mask(labels: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(labels, [entry.id for name in names for entry in group(name)])


def resected(name: str) -> np.ndarray:
    rate = RATES[name]
    return painted(Variants(present=frozenset({name}), removed=frozenset(rate.removes)))


@pytest.fixture(scope="module")
def wet() -> np.ndarray:
    """A body with 1.2 l of ascites and two hepatic cysts."""
    return painted(Variants(liver_cysts=((0.3, 0.5, 14.0), (0.7, 0.4, 20.0))), 1200.0)


def test_ascites_has_its_volume_and_gathers_in_the_pelvis_and_around_the_liver(wet):
    fluid, ml = mask(wet, "ascites"), GRID.voxel_volume_ml
    assert fluid.sum() * ml == pytest.approx(1200, rel=0.25)
    z = np.array(GRID.origin_mm_xyz[2] + np.arange(GRID.shape_zyx[0]) * GRID.spacing_mm_zyx[0])
    near = ndimage.binary_dilation(mask(wet, "liver"), iterations=2)
    assert (fluid & near).sum() * ml > 80
    assert fluid[z < -170].sum() * ml > 80
    lung = mask(wet, "lung")
    both = lung.any(axis=0) & fluid.any(axis=0)
    highest = len(fluid) - 1 - fluid[::-1].argmax(axis=0)
    assert (lung.argmax(axis=0) > highest)[both].mean() > 0.97
    # the retroperitoneum stays dry: nothing behind the front of the spine near the midline
    spine = np.argwhere(mask(wet, "vertebrae_L3"))
    front = int(spine[:, 1].min())
    assert not fluid[spine[:, 0].min() : spine[:, 0].max(), front:, spine[:, 2].min() : spine[:, 2].max()].any()


def test_hepatic_cysts_lie_in_the_liver_with_their_size(wet):
    cysts = mask(wet, "liver_cyst")
    volume = cysts.sum() * GRID.voxel_volume_ml
    whole = 4 / 3 * np.pi * (1.4**3 + 2.0**3)
    assert 0.4 * whole < volume < 1.25 * whole
    shell = ndimage.binary_dilation(cysts) & ~cysts
    assert (mask(wet, "liver") & shell).sum() > 0.5 * shell.sum()


@pytest.mark.parametrize(
    ("name", "gone"), [("right_hemicolectomy", "colon_ascending"), ("sigmoid_resection", "colon_sigmoid")]
)
def test_a_resected_colon_is_still_one_tube(name, gone):
    labels = resected(name)
    assert not mask(labels, gone).any()
    assert mask(labels, "rectum", "colon_transverse").any()
    assert ndimage.label(mask(labels, "colon"), np.ones((3, 3, 3)))[1] == 1


def test_an_obstructing_tumour_widens_the_colon_before_it_alone():
    tumour = Tumour(organ="colon", site="colon_sigmoid", count=1, size_mm=45.0)
    drawn = [draw_variants(subject(tumours=(tumour,)), rng(f"o{seed}", "variants")) for seed in range(400)]
    obstructed = [one for one in drawn if "obstructed_colon" in one.present]
    assert 0.09 < len(obstructed) / len(drawn) < 0.24
    for one in obstructed:
        assert min(one.factors[name] for name in ("colon_ascending", "colon_descending")) > 1.0
        assert "rectum" not in one.factors
    small = subject(tumours=(tumour.model_copy(update={"size_mm": 12.0}),))
    assert not any(
        "obstructed_colon" in draw_variants(small, rng(f"o{seed}", "variants")).present for seed in range(60)
    )


def test_a_resected_liver_ends_at_its_cut():
    whole, right = painted(Variants()), resected("right_hepatectomy")
    x, cut = (np.percentile(np.argwhere(mask(labels, "liver"))[:, 2], 1) for labels in (whole, right))
    assert cut > x + 4
    assert not mask(right, "gallbladder").any()
    assert structure("gallbladder").id in whole
