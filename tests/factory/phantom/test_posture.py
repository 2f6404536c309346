"""Pose, breath, arms and effusions: one thing of a body is changed, and what follows is measured."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.phantom import draw_build, paint
from factory.engines.phantom.body import Torso
from factory.engines.phantom.space import Space
from manifests.anatomy import structure, structures
from manifests.identity import rng
from prompts.schema import Patient, Prompt

GRID = preset("tiny").grid()
SUBJECT = Prompt(patient=Patient(age_years=58, sex="male", height_cm=176, weight_kg=80))
DRAWN = draw_build(SUBJECT, rng("c21", "phantom"))
PLAIN = replace(
    DRAWN, posture=replace(DRAWN.posture, breath_mm=0.0, turn_deg=(0.0, 0.0, 0.0), arms_down=(False, False))
)


@cache
def painted(effusions_ml=(0.0, 0.0), **posture):
    names = ("pleural_effusion_left", "pleural_effusion_right")
    volumes = {**PLAIN.volumes_ml, **dict(zip(names, effusions_ml, strict=True))}
    return paint(replace(PLAIN, volumes_ml=volumes, posture=replace(PLAIN.posture, **posture)), GRID)


def centre(labels, *names):
    """Centroid (z, y, x) in mm from the first voxel."""
    return np.argwhere(np.isin(labels, [structure(name).id for name in names])).mean(axis=0) * 6.0


def test_breath_moves_the_organs_and_not_the_bones():
    out, full = painted(breath_mm=-15.0), painted(breath_mm=15.0)
    for organ, least, most in (
        ("liver", 15, 34),
        ("spleen", 15, 34),
        ("kidney_left", 8, 30),
        ("urinary_bladder", -6, 6),
    ):
        assert least <= (centre(out, organ) - centre(full, organ))[0] <= most, organ
    for bone in ("vertebrae_L1", "vertebrae_T8", "rib_left_7", "hip_left"):
        assert np.abs(centre(out, bone) - centre(full, bone)).max() < 3, bone
    lungs = [entry.id for entry in structures() if entry.tissue == "lung"]
    assert np.isin(full, lungs).sum() > 1.15 * np.isin(out, lungs).sum()


def test_points_are_led_under_the_diaphragm_and_no_further():
    torso = Torso(Space(PLAIN))
    x, y = np.meshgrid(np.arange(-90.0, 91, 30), np.arange(-60.0, 31, 30))
    points = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 85.0)])
    found = torso.under(points, np.full(x.size, 8.0))
    before, after = (torso.space.value(torso.above, part) for part in (points, found))
    assert (before > 0).sum() > 3, "some lie in the lungs"
    assert after.max() < -7
    np.testing.assert_array_equal(found[before < -8], points[before < -8])


def test_a_roll_turns_the_body_about_its_long_axis():
    straight, rolled = painted(), painted(turn_deg=(0.0, 0.0, 6.0))
    front, back = (centre(rolled, name) - centre(straight, name) for name in ("sternum", "autochthon_left"))
    assert front[2] > 4
    assert back[2] < -1


def test_arms_lie_beside_the_trunk_or_over_the_head():
    up, down = painted(), painted(arms_down=(False, True))
    assert centre(down, "humerus_right")[0] < centre(up, "humerus_right")[0] - 80
    np.testing.assert_allclose(centre(down, "humerus_left"), centre(up, "humerus_left"), atol=3)


def test_effusions_have_their_volume_and_lie_on_the_back():
    wet, dry = painted((150.0, 400.0)), painted()
    for side, volume_ml in (("left", 150.0), ("right", 400.0)):
        found = wet == structure(f"pleural_effusion_{side}").id
        assert found.sum() * GRID.voxel_volume_ml == pytest.approx(volume_ml, rel=0.15)
        assert ndimage.label(found, np.ones((3, 3, 3)))[1] == 1
        lobe = f"lung_lower_lobe_{side}"
        assert centre(wet, f"pleural_effusion_{side}")[1] > centre(wet, lobe)[1] + 15
        lungs = {entry.id for entry in structures() if entry.tissue == "lung" and entry.side == side}
        assert set(np.unique(dry[found])) <= lungs


def test_most_classes_of_totalsegmentator_are_there():
    ids = np.unique(painted())
    assert sum(structure_.totalsegmentator_id is not None and structure_.id in ids for structure_ in structures()) >= 90


def test_the_dial_widens_the_population():
    def spread(randomise):
        people = [draw_build(SUBJECT, rng(f"c{seed}", "phantom"), randomise) for seed in range(120)]
        livers = np.log([person.volumes_ml["liver"] for person in people])
        return np.std([person.moved("stomach") for person in people]), livers.std()

    (near, narrow), (far, broad) = spread(0.0), spread(1.0)
    assert far == pytest.approx(2 * near, rel=0.01)
    assert broad == pytest.approx(1.5 * narrow, rel=0.01)


def test_rare_findings_are_rare_and_told():
    people = [draw_build(SUBJECT, rng(f"c{seed}", "phantom")) for seed in range(600)]
    told = [finding for person in people for finding in person.findings]
    for finding, least, most in (
        ("arms_down", 0.04, 0.11),
        ("scoliosis", 0.005, 0.06),
        ("pleural_effusion_left", 0.02, 0.09),
        ("ascites", 0.015, 0.07),
    ):
        assert least < told.count(finding) / len(people) < most, finding
