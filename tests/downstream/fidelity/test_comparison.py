"""The weight-free measures on images made for it: each planted difference moves its measure, equal datasets move none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from typer.testing import CliRunner

from downstream.cli import bench_app
from downstream.fidelity import portrait
from downstream.fidelity.comparison import Taking, chosen_spacing_mm
from downstream.fidelity.continuity import continuity
from downstream.fidelity.distances import decibels, histogram_wasserstein_hu, mean_difference, relative_wasserstein
from downstream.fidelity.diversity import ms_ssim, pair_similarities, resampled_pairs
from downstream.fidelity.measures import FEWEST_CASES, measure
from downstream.fidelity.memorisation import neighbours
from downstream.fidelity.portrait import BODY, body_mask, portray
from downstream.fidelity.samples import Draws, estimate
from downstream.fidelity.spectra import spectra
from downstream.results import Results
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import Grid
from manifests.schemes import scheme

GRID = Grid((24, 24, 24), (6.0, 6.0, 6.0))


@pytest.fixture(scope="module", autouse=True)
def _thumbnails_no_larger_than_the_bodies():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portrait, "THUMBNAIL_ZYX", (20, 20, 20))
        yield


WANTED = {"liver": 1}


def scan(seed: int, *, offset=0.0, blur=0.0, bigger=0, level=0.0) -> tuple[np.ndarray, np.ndarray]:
    """A body with a textured organ: CT and labels."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(GRID.shape_zyx) - 11.5
    body = (y / 10) ** 2 + (x / 11) ** 2 < 1
    radius = 5.5 + bigger + 0.7 * rng.random()
    organ = z**2 + (y - rng.normal()) ** 2 + (x + 2) ** 2 < radius**2
    ct = np.where(body, 40 + 60 * organ, -1000) + 15 * rng.standard_normal(GRID.shape_zyx) * body
    ct = gaussian_filter(ct, blur) if blur else ct
    ct = ct + body * (offset + level * rng.standard_normal((24, 1, 1)))
    return np.rint(ct).astype(np.int16), organ.astype(np.uint8)


def portraits(seeds, **changes):
    found = []
    for seed in seeds:
        ct, labels = scan(seed, **changes)
        found.append(portray(f"c{seed}", ct, (labels, WANTED), GRID, 6.0))
    return found


@pytest.fixture(scope="module")
def real():
    return portraits(range(8))


def values(real, synthetic):
    rows = measure(real, synthetic, [BODY, "liver"], Draws(resamples=12), shrink=True)
    return {(row.measure, row.structure): row for row in rows}


PLANTED = {
    "offset": ({"offset": 30.0}, {("hu_wasserstein", "liver"): 20, ("hu_wasserstein", BODY): 15}),
    "blurred": ({"blur": 1.0}, {("image_spectrum", ""): 3, ("noise_spectrum", ""): 3, ("noise_hu", ""): -5}),
    "bigger": ({"bigger": 1}, {("volume_wasserstein", "liver"): 0.2, ("radiomic_frechet_shape_shrunk", "liver"): 10}),
    "jumbled": ({"level": 30.0}, {("z_step_ratio", ""): 0.2}),
}
"""Changes, and by how much measures must differ from those of an equal dataset, with their sign."""


@pytest.fixture(scope="module")
def equal(real):
    return values(real, portraits(range(100, 108)))


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_difference_moves_its_measure_the_right_way(real, equal, fault):
    changes, moves = PLANTED[fault]
    found = values(real, portraits(range(100, 108), **changes))
    for key, least in moves.items():
        difference = found[key].value - equal[key].value
        assert difference * np.sign(least) > abs(least), (key, equal[key], found[key])
        assert found[key].p < 0.1


def test_equal_datasets_differ_as_much_as_chance(equal):
    distances = [row for (name, _), row in equal.items() if name.startswith(("hu_", "volume_", "radiomic", "image"))]
    assert len(distances) == 2 + 1 + 4 + 1
    for row in distances:
        assert row.p > 0.02, row
        assert row.value < 3 * row.null, row
        assert row.low <= row.value <= row.high
    assert equal["copies", ""].value == equal["duplicates", ""].value == 0
    assert abs(equal["ms_ssim", ""].value) < 0.05


def test_copies_and_repeats_are_counted(real):
    fresh = portraits(range(100, 105))
    found = values(real, [*fresh, *real[:5]])
    assert found["copies", ""].value == 0.5
    assert found["authenticity", ""].value <= 0.5
    once, twice = values(real, fresh), values(real, [*fresh, *fresh])
    assert (once["duplicates", ""].value, twice["duplicates", ""].value) == (0, 1)
    assert twice["ms_ssim", ""].value > once["ms_ssim", ""].value


def test_too_few_cases_for_a_covariance_are_refused_in_the_row(real):
    rows = measure(real, real, ["liver"], Draws(resamples=2))
    row = next(row for row in rows if row.measure == "radiomic_frechet_glcm")
    assert np.isnan(row.value)
    assert row.note == "8 cases; 44 needed for a covariance"


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_wasserstein_distances_equal_scipys(a, b):
    rows = [np.bincount(x, minlength=401)[None] / len(x) for x in (a, b)]
    assert histogram_wasserstein_hu(*rows) == pytest.approx(4 * wasserstein_distance(a, b), abs=1e-9)
    first, second = (np.array(x, float)[:, None] + 1 for x in (a, b))
    assert relative_wasserstein(first, second) == pytest.approx(wasserstein_distance(a, b) / first.mean())


def test_twice_the_amplitude_is_six_decibels():
    power = np.array([[4.0, 2.0, 1.0], [2.0, 1.0, 0.5]])
    assert decibels(power, 4 * power) == pytest.approx(20 * np.log10(2))


def test_white_noise_has_its_standard_deviation_and_a_flat_spectrum():
    rng = np.random.default_rng(0)
    ct = np.rint(100 + 20 * rng.standard_normal((12, 100, 100))).astype(np.int16)
    found = spectra(ct, np.ones(ct.shape, bool), 2.0)
    assert found.noise_hu == pytest.approx(20, rel=0.15)  # the flattest squares: a little below
    np.testing.assert_allclose(found.noise[1:] / found.noise[1:].mean(), 1, atol=0.15)
    np.testing.assert_allclose(found.image[4:] / found.image[4:].mean(), 1, atol=0.3)
    assert found.noise[1:].mean() == pytest.approx(
        found.noise_hu**2 * 4, rel=0.15
    )  # variance = integral of the spectrum


def test_a_ramp_along_z_has_the_ratio_of_its_slopes():
    z, y, x = np.indices((8, 8, 8))
    ct = (30 * z + 10 * y + 10 * x).astype(np.int16)
    found = continuity(ct, np.ones(ct.shape, bool))
    assert found == {"z_step_ratio": 3.0, "z_jump_ratio": 1.0}
    ct[4:] += 300
    assert continuity(ct, np.ones(ct.shape, bool))["z_jump_ratio"] > 5
    assert np.isnan(continuity(ct[:1], np.ones((1, 8, 8), bool))["z_step_ratio"])


def test_similarity_is_one_for_equal_images_and_falls_with_noise():
    rng = np.random.default_rng(0)
    base = gaussian_filter(rng.standard_normal((28, 28, 28)), 2) * 2000
    images = [(base + sd * rng.standard_normal(base.shape)).astype(np.int16) for sd in (0, 50, 400)]
    assert ms_ssim(images[0], images[0]) == pytest.approx(1, abs=1e-5)
    assert 1 > ms_ssim(images[0], images[1]) > ms_ssim(images[0], images[2]) > 0
    assert ms_ssim(images[0], images[2]) == pytest.approx(ms_ssim(images[2], images[0]))
    pairs = pair_similarities([images[0], images[0], images[0]])
    same, _, difference = resampled_pairs(pairs, pair_similarities(images), seed=0, resamples=20)
    assert (same.mean, same.low) == (pytest.approx(1, abs=1e-5),) * 2
    assert difference.mean < 0


def test_neighbours_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    real, synthetic = ([rng.integers(-400, 400, (4, 6, 8)).astype(np.int16) for _ in range(n)] for n in (5, 4))
    synthetic[1] = real[3]
    found = neighbours(real, synthetic)
    blocks = [[v.reshape(2, 2, 3, 2, 4, 2).mean((1, 3, 5)) for v in part] for part in (real, synthetic)]
    brute = np.array([[np.sqrt(((s - r) ** 2).mean()) for r in blocks[0]] for s in blocks[1]])
    np.testing.assert_allclose(found.nearest_real_hu, brute.min(1), atol=1e-4)
    assert found.copy.tolist() == [False, True, False, False]
    assert not found.duplicate.any()


def test_a_difference_has_an_interval_around_it_and_a_p_value():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (60, 1)), rng.normal(1, 1, (60, 1))
    found = estimate(a, b, mean_difference, Draws(200), distance=False)
    spread = 1.96 * np.sqrt((a.var() + b.var()) / 60)
    assert (found.low, found.high) == (
        pytest.approx(found.value - spread, abs=0.1),
        pytest.approx(found.value + spread, abs=0.1),
    )
    assert found.p == pytest.approx(1 / 201)
    assert abs(found.null) < 0.05


def test_the_body_is_the_largest_piece_with_its_lungs():
    ct = np.full((3, 9, 9), -1000, np.int16)
    ct[:, 1:7, 1:7] = 30
    ct[:, 3:5, 3:5] = -850
    ct[:, 8, 8] = 200
    body = body_mask(ct)
    assert body.sum() == 3 * 36
    assert not body_mask(np.full((2, 2, 2), -1000, np.int16)).any()


def test_what_the_end_of_a_scan_cuts_has_no_volume():
    ct, labels = scan(0)
    whole = portray("a", ct, (labels, WANTED), GRID, 6.0)
    cut = portray("b", ct[10:], (labels[10:], WANTED), Grid((14, 24, 24), (6.0,) * 3), 6.0)
    assert whole.volumes_ml["liver"] == pytest.approx(labels.sum() * 0.216)
    assert "liver" not in cut.volumes_ml
    assert cut.histograms["liver"].sum() == pytest.approx(1)


def test_a_copy_is_found_wherever_the_body_lies_in_the_scan():
    ct, labels = scan(0)
    moved = np.full((24, 30, 30), -1000, np.int16)
    moved[:, 5:29, 4:28] = ct
    grid = Grid(moved.shape, GRID.spacing_mm_zyx)
    first = portray("a", ct, (labels, WANTED), GRID, 6.0).thumbnail
    second = portray("b", moved, (np.zeros(moved.shape, np.uint8), WANTED), grid, 6.0).thumbnail
    assert np.abs(first.astype(int) - second).mean() < 40


def test_the_command_compares_prints_and_writes(box_dataset, tmp_path):
    real, synthetic = box_dataset(5, "real"), box_dataset(6, "synthetic", prompts=3)
    asked = ["fidelity", str(synthetic.root), "--real", str(real.root), "--resamples", "2", "--scheme", "kits"]
    text = CliRunner().invoke(bench_app, [*asked, "--out", str(tmp_path / "out")])
    assert text.exit_code == 0, text.output
    assert "6 cases of" in text.stdout
    assert "radiomic_frechet_glcm" in text.stdout
    rows = Results.read(tmp_path / "out" / "cases.csv")
    assert len(rows.where(structure="kidney", metric="hu_mean", arm="synthetic")) == 6
    assert (tmp_path / "out" / "measures.csv").read_text().startswith("measure,structure,value,low,high,null,p")
    data = json.loads(CliRunner().invoke(bench_app, [*asked, "--json"]).stdout)
    assert data["facts"]["spacing_mm"] == 5.0
    found = {(row["measure"], row["structure"]): row for row in data["measures"]}
    assert found["hu_wasserstein", "kidney"]["value"] < 5
    assert found["radiomic_frechet_glcm", "kidney"]["value"] is None


def test_bad_input_is_refused_before_any_case_is_read(box_dataset):
    few, enough = box_dataset(FEWEST_CASES - 1, "few"), box_dataset(FEWEST_CASES, "enough")
    for arguments, message in (
        ([str(few.root), "--real", str(enough.root)], "4 cases to compare"),
        ([str(enough.root), "--real", str(enough.root), "--spacing", "2"], "finer than the data"),
        ([str(enough.root), "--real", str(enough.root), "--structures", "spleen", "--scheme", "kits"], "got spleen"),
        ([str(enough.root), "--real", str(enough.root), "--fid", str(few.root / "no")], "no config.json"),
    ):
        error = CliRunner().invoke(bench_app, ["fidelity", *arguments]).exception
        assert message in str(error)
    with pytest.raises(InvalidValueError):
        chosen_spacing_mm(1.0, [few.accepted()])
    with pytest.raises(UnknownNameError):
        Taking(scheme("kits"), 5.0, ("heart",))
