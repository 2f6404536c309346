"""Variants: at their rates, never against the prompt, whole when painted, and known to the gate."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.base import Request, as_drawn
from factory.engines.phantom import SCATTERED, Phantom, draw_build, paint
from factory.engines.phantom.rates import RATES, cyst_rate
from factory.engines.phantom.skeleton import disc_mm
from factory.engines.phantom.variants import Variants, draw_variants
from factory.engines.phantom.varying import vary
from factory.quality import assess
from manifests.anatomy import structure, structures
from manifests.case import Arrays
from manifests.identity import rng
from prompts.schema import Patient, Prompt, Study, Tumour

GRID = preset("tiny").grid()
COLON = ("colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum")


def subject(sex: str = "male", age: float = 60, **stated) -> Prompt:
    return Prompt(patient=Patient(age_years=age, sex=sex, height_cm=172, weight_kg=76), **stated)


def drawn(seed: int, prompt: Prompt, widen: float = 0.0) -> Variants:
    return draw_variants(prompt, rng(f"v{seed}", "variants"), widen)


def painted(seed: int, prompt: Prompt, variants: Variants) -> np.ndarray:
    return paint(vary(draw_build(prompt, rng(f"v{seed}", "phantom")), variants), GRID)


def mask(labels: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(labels, [structure(name).id for name in names])


def lowest_mm(labels: np.ndarray, name: str) -> float:
    return float(np.flatnonzero(mask(labels, name).any(axis=(1, 2)))[0] * GRID.spacing_mm_zyx[0])


@pytest.mark.parametrize("sex", ["male", "female"])
def test_variants_come_at_their_rates(sex):
    people = [drawn(seed, subject(sex)) for seed in range(1500)]
    for name, rate in RATES.items():
        chance = rate.chance(60.0, sex == "female")
        slack = 4 * np.sqrt(max(chance * (1 - chance), 1e-4) / len(people)) + 0.15 * chance  # some exclude others
        assert np.mean([name in one.present for one in people]) == pytest.approx(chance, abs=slack), name
    cysts = np.mean([bool(one.cysts) for one in people])
    assert cysts == pytest.approx(cyst_rate(60.0, sex == "female"), abs=0.06)


def test_the_prompt_wins():
    prompt = subject(
        "female",
        tumours=(Tumour(organ="kidney", site="kidney_left", side="left", count=1, size_mm=20.0),),
        absent_organs=("gallbladder",),
        enlarged_organs=("liver",),
    )
    for seed in range(1500):
        variants = drawn(seed, prompt)
        assert not variants.removed & {"kidney_left", "gallbladder", "liver"}
        assert not {*variants.factors} & {"liver", "gallbladder"}


def test_each_draw_uses_the_generator_alike():
    states = set()
    for prompt in (subject(), subject("female", 80), subject(absent_organs=("kidney",))):
        generator = np.random.default_rng(3)
        draw_variants(prompt, generator)
        states.add(float(generator.random()))
    assert len(states) == 1


@pytest.mark.parametrize(("seed", "sex", "widen"), [(1, "male", 0.0), (2, "female", 0.0), (3, "male", 1.0)])
def test_bodies_of_every_shape_are_whole(seed, sex, widen):
    labels = painted(seed, subject(sex), drawn(seed, subject(sex), widen))
    for entry in structures():
        where = labels == entry.id
        if where.any() and entry.name not in SCATTERED and entry.name != "spleen":
            assert ndimage.label(where, np.ones((3, 3, 3)))[1] == 1, entry.name
    for tubes in (COLON, ("esophagus", "stomach", "duodenum"), ("aorta", "iliac_artery_left", "iliac_artery_right")):
        assert ndimage.label(mask(labels, *tubes), np.ones((3, 3, 3)))[1] == 1, tubes


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return painted(5, subject(), Variants())


def test_a_ptotic_kidney_lies_low_and_a_riedel_lobe_reaches_down(plain):
    labels = painted(5, subject(), Variants(present=frozenset({"ptotic_kidney_right", "riedel_lobe"})))
    assert lowest_mm(labels, "kidney_right") < lowest_mm(plain, "kidney_right") - 24
    assert lowest_mm(labels, "liver") < lowest_mm(plain, "liver") - 24
    assert lowest_mm(labels, "kidney_left") == pytest.approx(lowest_mm(plain, "kidney_left"), abs=7)


def test_a_horseshoe_kidney_is_one_organ_across_the_midline(plain):
    labels = painted(5, subject(), Variants(present=frozenset({"horseshoe_kidney"})))
    both = ("kidney_left", "kidney_right")
    assert ndimage.label(mask(plain, *both), np.ones((3, 3, 3)))[1] == 2
    assert ndimage.label(mask(labels, *both), np.ones((3, 3, 3)))[1] == 1


def test_one_kidney_grows_where_the_other_is_gone(plain):
    rate = RATES["nephrectomy_left"]
    gone = Variants(removed=frozenset(rate.removes), factors={"kidney_right": 1.4})
    labels = painted(5, subject(), gone)
    assert not mask(labels, "kidney_left").any()
    assert mask(labels, "kidney_right").sum() > 1.25 * mask(plain, "kidney_right").sum()


@pytest.mark.parametrize(
    ("level", "published"), [("T10", 5.4), ("L1", 7.9), ("L4", 12.0), ("L5", 11.1)]
)  # Fletcher 2016, front; Mansur 2021, middle
def test_discs_are_as_thick_as_published_and_thinner_with_age(level, published):
    def heights(age):
        build = draw_build(subject(age=age), rng("discs", "phantom"))
        return np.array([disc_mm(vary(build, drawn(seed, subject(age=age))), level) for seed in range(300)])

    young, old = heights(35), heights(85)
    assert young.mean() == pytest.approx(published, rel=0.1)
    assert young.std() == pytest.approx(0.16 * published, rel=0.3)
    assert 0.8 < old.mean() / young.mean() < 0.97
    assert np.percentile(old, 5) < np.percentile(young, 5), "some are worn down"


def test_thick_discs_take_their_height_from_the_vertebrae():
    thin, thick = (painted(5, subject(), Variants(traits={"discs": value})) for value in (-2.0, 2.0))
    lumbar = [f"vertebrae_L{n}" for n in range(1, 6)]
    grown = (thick == structure("intervertebral_discs").id).sum() / (thin == structure("intervertebral_discs").id).sum()
    assert 1.25 < grown < 1.9
    assert 0.85 < mask(thick, *lumbar).sum() / mask(thin, *lumbar).sum() < 0.98


def test_cysts_lie_on_their_kidney_and_accessory_spleens_add_to_the_spleen():
    cysts = Variants(cysts=(("left", (0.6, 0.0, 0.8), 11.0),))
    alone, labels = painted(5, subject(), cysts), painted(5, subject(), replace(cysts, spleens=((0.5, 8.0),)))
    assert not mask(labels, "kidney_cyst_right").any()
    near = ndimage.binary_dilation(mask(labels, "kidney_cyst_left"), iterations=1)
    assert (near & mask(labels, "kidney_left")).any()
    added = mask(labels, "spleen").sum() - mask(alone, "spleen").sum()
    assert 0 < added * GRID.voxel_volume_ml < 1.5 * 4 / 3 * np.pi * 0.8**3


def test_the_gate_knows_what_was_drawn():
    prompt = subject("female", 75, study=Study(contrast_phase="portal_venous", region="torso"))
    request = Request("", prompt, prompt, GRID)
    names = (f"g{seed}" for seed in range(1000))
    wanted = next(n for n in names if "gallbladder" in _removed(replace(request, case_id=n)))
    request = replace(request, case_id=wanted)
    masks = Phantom().draw(request)
    assert "cholecystectomy" in masks.notes["variants"]
    full = as_drawn(request, masks)
    arrays = Arrays(GRID, np.zeros(GRID.shape_zyx, np.int16), masks.anatomy, masks.lesions)
    verdict = assess(full, arrays)
    assert not any("gallbladder" in reason or reason.startswith("organ-") for reason in verdict.reasons)
    assert "gallbladder" in verdict.measured.absent_organs
    assert any("gallbladder" in reason for reason in assess(request, arrays).reasons)


def _removed(request: Request) -> frozenset[str]:
    return draw_variants(request.subject, request.rng("variants")).removed
