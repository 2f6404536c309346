"""What varies between patients and scans: timing and dose, the dial, slices, noise by path, artefacts, implants."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from factory.engines.base import Masks, Request
from factory.engines.texture import Texture
from factory.engines.texture.appearance import Appearance
from factory.engines.texture.artefacts import harden, radiate
from factory.engines.texture.enhancement import base_hu, enhancement_hu, phase_shown
from factory.engines.texture.noise import Paths, add_noise
from factory.engines.texture.organs import paint_pancreas
from factory.engines.texture.protocol import Protocol
from factory.engines.texture.randomising import tone_curve
from factory.engines.texture.scanner import slice_matrices
from factory.engines.texture.scene import Scene
from factory.engines.texture.subject import Subject
from factory.engines.texture.trees import Tree, rasterise
from manifests.anatomy import PHASES, structure, structures
from manifests.geometry import Grid
from prompts.schema import Patient, Prompt, Study

Ask = Callable[..., Request]
SECONDS = {"arterial": 35.0, "portal_venous": 75.0, "delayed": 240.0}


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def bases(phase: str, dial: float = 0.0, count: int = 80) -> np.ndarray:
    """Mean HU of every structure in many patients of 55 years and 75 kg."""
    rng, subject = generator(), Subject(55.0, 75.0, phase)
    return np.stack([base_hu(subject, Appearance.draw(subject, dial, rng), rng) for _ in range(count)])


@pytest.mark.parametrize("phase", SECONDS)
def test_curves_pass_through_the_table(phase: str) -> None:
    for entry in structures():
        assert enhancement_hu(entry, SECONDS[phase]) == pytest.approx(entry.hu[phase] - entry.hu["native"], abs=0.01)
    assert enhancement_hu(structure("aorta"), 0.0) == 0.0


def test_arteries_fill_before_veins_and_parenchyma() -> None:
    share = {
        name: enhancement_hu(structure(name), 24.0) / enhancement_hu(structure(name), 75.0)
        for name in ("aorta", "portal_vein_and_splenic_vein", "liver")
    }
    assert share["aorta"] > 2
    assert share["portal_vein_and_splenic_vein"] < 0.6
    assert share["liver"] < 0.4


@pytest.mark.parametrize("phase", PHASES)
def test_a_scan_shows_the_phase_that_was_asked_however_far_the_dial_is_turned(phase: str) -> None:
    for dial in (0.0, 1.0):
        assert {phase_shown(table) for table in bases(phase, dial, 40)} == {phase}


@pytest.mark.parametrize("phase", PHASES)
def test_the_population_keeps_the_table_and_the_dial_its_middle(phase: str) -> None:
    for dial, slack in ((0.0, 8.0), (1.0, 22.0)):
        mean = bases(phase, dial).mean(axis=0)
        for name in ("liver", "spleen", "kidney_left", "pancreas", "skeletal_muscle", "visceral_fat"):
            entry = structure(name)
            assert abs(mean[entry.id] - entry.hu[phase]) < slack + 0.06 * abs(entry.hu[phase]), name


def test_fatty_livers_are_as_frequent_as_in_adults() -> None:
    """Boyce 2010: 58.8 ± 10.8 HU, 6.2 % at most 40 HU."""
    rng, subject = generator(), Subject(55.0, 75.0, "native")
    loss = np.array([Appearance.draw(subject, 0.0, rng).liver_loss_hu for _ in range(3000)])
    liver = 61 - loss + 0.6 * structure("liver").hu_sd * rng.standard_normal(loss.size)
    assert 0.035 < (liver <= 40).mean() < 0.11
    assert 9 < liver.std() < 14
    assert liver.min() < 12


def test_a_pancreas_grows_fatty_with_age_and_weight() -> None:
    """As chosen: a quarter of adults at 55 have a tenth of fat or more, few have a third, old and heavy ones have more."""
    rng = generator()

    def fat(age: float, kg: float) -> np.ndarray:
        subject = Subject(age, kg, "native")
        return np.array([Appearance.draw(subject, 0.0, rng).pancreas_fat for _ in range(2000)])

    usual = fat(55.0, 75.0)
    assert 0.18 < (usual > 0.1).mean() < 0.33
    assert (usual > 0.33).mean() < 0.03
    assert np.median(fat(30.0, 75.0)) < np.median(usual) < np.median(fat(80.0, 75.0))
    assert np.median(fat(55.0, 110.0)) > np.median(usual)


@pytest.mark.parametrize("phase", ["native", "portal_venous"])
def test_fat_of_a_pancreas_takes_its_share_of_hu(phase: str) -> None:
    names = ("visceral_fat", "pancreas")
    fat, gland = (structure(name).id for name in names)
    anatomy = np.full((24, 40, 60), fat, np.uint8)
    anatomy[6:18, 10:30, 8:52] = gland
    grid = Grid(anatomy.shape, (2.5, 2.5, 2.5))
    subject = Subject(60.0, 80.0, phase)
    look = Appearance.draw(subject, 0.0, generator())
    base = base_hu(subject, look, generator(2))
    patient = Patient(age_years=60, sex="male", height_cm=175, weight_kg=80)
    prompt = Prompt(patient=patient, study=Study(contrast_phase=phase, region="torso"))
    masks = Masks(anatomy, np.zeros(anatomy.shape, np.uint8), ())
    means = []
    for share in (0.0, 0.2, 0.4):
        own = replace(look, pancreas_fat=share)
        scene = Scene(Request("c0", prompt, prompt, grid), masks, subject, own, base, base[anatomy])
        paint_pancreas(scene)
        means.append(scene.hu[anatomy == gland].mean())
        np.testing.assert_array_equal(scene.hu[anatomy == fat], base[fat])
    np.testing.assert_allclose(-np.diff(means) / (base[gland] - base[fat]), 0.2, atol=0.04)


def test_a_dose_brightens_all_vessels_together_and_the_dial_parts_them() -> None:
    pair = [structure(name).id for name in ("aorta", "portal_vein_and_splenic_vein")]
    near, far = (bases("portal_venous", dial)[:, pair] for dial in (0.0, 1.0))
    assert np.corrcoef(near.T)[0, 1] > 0.5
    assert np.corrcoef(far.T)[0, 1] < np.corrcoef(near.T)[0, 1] - 0.15


def test_the_dial_widens_every_organ_but_keeps_the_order_of_tissues() -> None:
    near, far = bases("portal_venous", 0.0), bases("portal_venous", 1.0)
    for name in ("liver", "spleen", "skeletal_muscle", "visceral_fat", "aorta", "pancreas"):
        id = structure(name).id
        assert far[:, id].std() > 1.8 * near[:, id].std(), name
    ids = [structure(name).id for name in ("lung_lower_lobe_left", "visceral_fat", "skeletal_muscle", "hip_left")]
    ordered = (np.diff(far[:, ids], axis=1) > 0).all(axis=1)
    assert ordered.mean() > 0.9


@pytest.mark.parametrize("seed", range(20))
def test_tone_curves_rise_and_leave_air_alone(seed: int) -> None:
    nodes, values = tone_curve(1.0, generator(seed))
    assert (np.diff(values) >= 0).all()
    np.testing.assert_array_equal(values[:3], nodes[:3])
    np.testing.assert_allclose(tone_curve(0.0, generator(seed))[1], nodes, atol=1e-3)


def protocol(**changes: float) -> Protocol:
    plain = Protocol(psf_mm=1.2, edge=0.0, slice_mm=1.0, increment_mm=1.0, noise_hu=10.0, peak_per_mm=0.12)
    return replace(plain, **changes)


@pytest.mark.parametrize("slice_mm", [3.0, 5.0])
def test_thick_slices_blur_as_much_as_they_are_thick(slice_mm: float) -> None:
    """An edge along z, scanned in slices of 3 or 5 mm and interpolated back: a ramp with the variance of its boxes."""
    edge = (np.arange(200) > 97.4).astype(np.float32)
    profile, between = slice_matrices(200, 1.0, protocol(slice_mm=slice_mm, increment_mm=slice_mm))
    assert between is not None
    line = between @ (profile @ edge)
    weight = np.diff(line)
    place = np.arange(199)
    spread = (weight * (place - (weight * place).sum()) ** 2).sum()
    # at least a box of the slice with soft edges; at most the triangle of linear interpolation on top of it
    assert slice_mm**2 / 12 + 0.1 < spread < slice_mm**2 / 12 + 0.3 + slice_mm**2 / 6
    np.testing.assert_allclose(between @ (profile @ np.ones(200, np.float32)), 1, atol=1e-5)


@pytest.mark.parametrize("count", range(30, 38))
def test_the_end_of_the_field_is_scanned_wherever_the_last_slice_falls(count: int) -> None:
    profile, between = slice_matrices(count, 1.0, protocol(slice_mm=8.0, increment_mm=8.0))
    assert between is not None
    np.testing.assert_allclose(between @ (profile @ np.ones(count, np.float32)), 1, atol=1e-5)


def cylinder(radius_mm: float) -> np.ndarray:
    y, x = (np.arange(160) - 79.5) * 3.0, (np.arange(180) - 89.5) * 3.0
    inside = (y[:, None] / radius_mm) ** 2 + (x / radius_mm) ** 2 < 1
    return np.repeat(np.where(inside, 0, -1000).astype(np.float32)[None], 6, axis=0)


def test_noise_grows_with_the_path_through_the_body() -> None:
    """A water cylinder of 240 mm has the protocol's noise in its middle; 360 mm has e^(mu d / 4) times as much."""
    spacing, middle = (3.0, 3.0, 3.0), (slice(None), slice(70, 90), slice(80, 100))
    found = []
    for radius in (120.0, 180.0):
        water = cylinder(radius)
        noisy = water.copy()
        add_noise(noisy, spacing, protocol(), generator())
        found.append((noisy - water)[middle].std())
    assert found[0] == pytest.approx(10.0, rel=0.12)
    assert found[1] / found[0] == pytest.approx(np.exp(0.0195 * 120 / 4), rel=0.15)
    paths = Paths.through(cylinder(120.0), spacing)
    assert paths.lateral_mm[3, 80] == pytest.approx(240.0, rel=0.05)


def test_streaks_run_from_side_to_side_only_through_broad_bodies() -> None:
    wide = np.zeros((8, 60, 180), np.float32)
    wide[:, :8] = wide[:, -8:] = -1000
    quiet, loud = wide.copy(), wide.copy()
    for image, strength in ((quiet, 0.0), (loud, 1.0)):
        add_noise(image, (3.0, 3.0, 3.0), protocol(streaks=strength), generator())
    streak = (loud - quiet)[:, 20:40]
    assert streak.std() > 1
    along, across = np.diff(streak, axis=2).std(), np.diff(streak, axis=1).std()
    assert across > 4 * along


def test_bands_darken_what_lies_between_two_bones_and_nothing_else() -> None:
    hu = np.zeros((3, 80, 160), np.float32)
    hu[:, 36:44, 30:45] = hu[:, 36:44, 115:130] = 1000
    hu[:, 4:12, 70:90] = 1000
    before = hu.copy()
    harden(hu, (3.0, 2.0, 2.0), 1.3)
    change = hu - before
    assert change[1, 40, 80] == pytest.approx(-1.3 * 30 * 0.85, rel=0.5)
    assert abs(change[1, 8, 20]) < 2
    assert abs(change[1, 40, 10]) < 3


def test_streaks_radiate_from_metal_and_fade() -> None:
    hu = np.zeros((3, 90, 90), np.float32)
    hu[1, 42:49, 42:49] = 3000
    before = hu.copy()
    radiate(hu, (3.0, 2.0, 2.0), generator())
    change = hu - before
    assert not change[0].any()
    assert not change[1, 42:49, 42:49].any()
    near, far = change[1, 35:40, 35:55].std(), change[1, :8, 35:55].std()
    assert near > 2 * far > 0


def test_cold_blood_of_the_legs_meets_that_of_the_kidneys(masks: Masks, ask: Ask) -> None:
    cava = ndimage.binary_erosion(masks.anatomy == structure("inferior_vena_cava").id)
    differences = []
    for case in ("c0", "c1"):
        ct = Texture().render(ask(case=case, phase="arterial"), masks)
        differences.append(ct[30:][cava[30:]].mean() - ct[:14][cava[:14]].mean())
    assert np.mean(differences) > 15


def test_the_dial_changes_the_image_and_stays_in_range(masks: Masks, ask: Ask) -> None:
    liver = ndimage.binary_erosion(masks.anatomy == structure("liver").id)
    wild = [Texture().render(replace(ask(case=f"c{i}"), randomise=1.0), masks) for i in range(4)]
    assert np.std([ct[liver].mean() for ct in wild]) > 15
    assert all(ct.min() >= -1024 and ct.max() <= 3071 for ct in wild)
    again = Texture().render(replace(ask(case="c3"), randomise=1.0), masks)
    np.testing.assert_array_equal(again, wild[3])


def test_stones_lie_where_the_notes_say(masks: Masks, ask: Ask) -> None:
    ill = replace(masks, notes={"variants": "kidney_stones"})
    kidney = ndimage.binary_erosion(masks.anatomy == structure("kidney_left").id, iterations=2)
    kidney |= ndimage.binary_erosion(masks.anatomy == structure("kidney_right").id, iterations=2)
    well, stony = (
        max(int(Texture().render(ask(case=case, phase="native"), each)[kidney].max()) for case in ("c0", "c1"))
        for each in (replace(masks, notes={"variants": "none"}), ill)
    )
    assert stony > well + 60


def test_a_thick_tube_is_covered_as_if_every_voxel_asked_for_its_distance() -> None:
    """The stamped cover equals brute force over all voxels, on an oblong grid too."""
    points = np.array([[12.0, 9.0, 6.0], [14.0, 21.0, 33.0]])
    tree, spacing = Tree(points, np.array([-1, 0]), np.full(2, 4.0)), (2.0, 1.5, 1.0)
    share = rasterise(tree, (16, 24, 44), spacing)
    span = points[1] - points[0]
    place = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip((16, 24, 44), spacing, strict=True)), indexing="ij"), -1
    )
    along = np.clip((place - points[0]) @ span / (span @ span), 0, 1)
    gap = np.linalg.norm(place - points[0] - along[..., None] * span, axis=-1)
    expected = np.clip(0.5 + (4.0 - gap) / np.cbrt(3.0), 0, 1)
    assert np.abs(share - expected).mean() < 0.01
