"""How bodies differ: reference volumes, and the direction of every influence."""

import numpy as np
import pytest

from factory.engines.phantom import draw_build
from manifests.anatomy import group, structure
from manifests.errors import InvalidValueError
from manifests.identity import rng
from prompts.schema import Patient, Prompt

ORGANS = ("liver", "spleen", "kidney_left", "pancreas", "heart", "urinary_bladder", "stomach", "small_bowel")
SEEDS = range(300)


def builds(age=55, sex="male", height=176, weight=84, seeds=SEEDS):
    prompt = Prompt(patient=Patient(age_years=age, sex=sex, height_cm=height, weight_kg=weight))
    return [draw_build(prompt, rng(f"c{seed}", "phantom")) for seed in seeds]


@pytest.mark.parametrize(("sex", "height", "weight"), [("male", 176, 80), ("female", 163, 67)])
def test_mean_and_spread_of_volumes_follow_the_table(sex, height, weight):
    people = builds(sex=sex, height=height, weight=weight)
    for name in ORGANS:
        entry = structure(name)
        drawn = np.array([person.volumes_ml[name] for person in people])
        assert drawn.mean() == pytest.approx(entry.volume_ml[sex], rel=0.10), name
        assert drawn.std() / drawn.mean() == pytest.approx(entry.volume_cv, rel=0.35), name


@pytest.mark.parametrize(
    ("measure", "less", "more"),
    [
        (lambda b: b.aorta_mm, {"age": 25}, {"age": 80}),
        (lambda b: b.aorta_mm, {"sex": "female"}, {"sex": "male"}),
        (lambda b: b.habitus.fat_mm, {"weight": 60}, {"weight": 110}),
        (lambda b: b.habitus.fat_mm, {"sex": "male"}, {"sex": "female"}),
        (lambda b: b.habitus.belly, {"weight": 60}, {"weight": 110}),
        (lambda b: b.habitus.belly, {"sex": "female", "weight": 110}, {"sex": "male", "weight": 110}),
        (lambda b: b.bulk, {"age": 85}, {"age": 35}),
        (lambda b: b.bulk, {"sex": "female"}, {"sex": "male"}),
        (lambda b: b.posture.kyphosis_mm, {"age": 30}, {"age": 85}),
        (lambda b: b.habitus.scale_xyz[2], {"height": 155}, {"height": 195}),
        (lambda b: b.volumes_ml["liver"], {"height": 155, "weight": 55}, {"height": 190, "weight": 95}),
        (lambda b: b.volumes_ml["kidney_left"], {"age": 85}, {"age": 30}),
        (lambda b: b.volumes_ml["prostate"], {"age": 30}, {"age": 80}),
        (lambda b: b.habitus.pelvis, {"sex": "male"}, {"sex": "female"}),
    ],
)
def test_influences_have_the_right_sign(measure, less, more):
    low, high = (np.mean([measure(b) for b in builds(**who, seeds=range(40))]) for who in (less, more))
    assert low < high


def test_kidneys_are_alike_within_a_person():
    left, right = np.array([(b.volumes_ml["kidney_left"], b.volumes_ml["kidney_right"]) for b in builds()]).T
    assert np.corrcoef(np.log(left), np.log(right))[0, 1] > 0.5


def test_the_painting_shows_the_build(body):
    slim, stout = body(seed=7), body(seed=7, weight=115)
    assert stout.volume_ml("subcutaneous_fat") > 1.4 * slim.volume_ml("subcutaneous_fat")
    assert stout.volume_ml("visceral_fat") > 1.2 * slim.volume_ml("visceral_fat")
    young, old = body(seed=7, age=25), body(seed=7, age=85)
    assert old.volume_ml("aorta") > 1.2 * young.volume_ml("aorta")
    assert old.volume_ml("autochthon_left") < young.volume_ml("autochthon_left")
    short, tall = body(seed=7, height=155), body(seed=7)
    assert tall.volume_ml("lung_lower_lobe_left") > short.volume_ml("lung_lower_lobe_left")
    assert tall.volume_ml("vertebrae_L3") > 1.1 * short.volume_ml("vertebrae_L3")


@pytest.mark.parametrize(
    "organs", [("liver", "prostate", "aorta", "kidney_left"), ("spleen", "heart", "urinary_bladder")]
)
def test_enlarged_organs_are_larger(body, organs):
    before, after = body(seed=8), body(seed=8, enlarged_organs=organs)
    for organ in organs:
        large = 1.36 * structure(organ).volume_ml["male"]  # an organ large before finds little more room
        assert after.volume_ml(organ) >= min(1.25 * before.volume_ml(organ), large), organ


def test_absent_organs_leave_no_voxel(body):
    organs = ("spleen", "kidney", "gallbladder", "colon", "stomach", "prostate")
    left_out = body(seed=8, absent_organs=organs)
    assert [entry.name for organ in organs for entry in group(organ) if left_out.volume_ml(entry.name)] == []


def test_an_enlargement_that_cannot_be_drawn_is_refused():
    prompt = Prompt(
        patient=Patient(age_years=50, sex="male", height_cm=175, weight_kg=80), enlarged_organs=("vertebrae_L1",)
    )
    with pytest.raises(InvalidValueError, match="vertebrae_L1"):
        draw_build(prompt, rng("c0", "phantom"))


def test_an_incomplete_subject_is_refused():
    with pytest.raises(InvalidValueError, match="height_cm"):
        draw_build(Prompt(patient=Patient(age_years=50, sex="male", weight_kg=80)), rng("c0", "phantom"))
