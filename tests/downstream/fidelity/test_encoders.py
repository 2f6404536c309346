"""Measures with weights, on small weights that the tests make: fixed windows, refusals, and no fault of published code."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from downstream.cli import bench_app
from downstream.fidelity import deep, portrait
from downstream.fidelity.deep import Sample, fid, fvd, lpips
from downstream.fidelity.embeddings import clip_score, read_embeddings
from downstream.fidelity.encoders import Encoder, EncoderConfig, NetworkEncoder, PerceptualDistance
from downstream.fidelity.samples import Draws
from downstream.weight_folder import read_config
from manifests.errors import FileFormatError, InvalidValueError, LocationError

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

RESNET = {
    "kind": "resnet",
    "dimensions": 2,
    "blocks": [1, 1],
    "width": 4,
    "bottleneck": True,
    "window_hu": [-160, 240],
    "size": [16, 16],
    "mean": [0.5],
    "sd": [0.25],
}
LPIPS = {"kind": "lpips", "width": 4, "window_hu": [-160, 240], "size": [32, 32]}


class Moments(Encoder):
    """Mean, spread and largest step of an image: an encoder whose answers can be told."""

    def __init__(self, dimensions):
        self.dimensions = dimensions

    def encode(self, images_hu):
        flat = images_hu.reshape(len(images_hu), -1).astype(np.float32)
        return np.stack([flat.mean(1), flat.std(1), np.abs(np.diff(flat)).mean(1)], 1)


@pytest.fixture
def folder(tmp_path):
    """Write weights of a configuration to a folder."""
    from downstream.fidelity.networks import Lpips, ResNet

    def write(config, name="net", extra=()):
        place = tmp_path / name
        place.mkdir()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if config["kind"] == "lpips":
                network = Lpips(64 // config["width"])
                for parameter in network.parameters():
                    parameter.data.abs_()
            else:
                names = ("dimensions", "blocks", "width", "bottleneck")
                dimensions, blocks, width, bottleneck = (config[key] for key in names)
                network = ResNet(dimensions, len(config["mean"]), blocks, width, bottleneck)
        state = network.state_dict() | {key: torch.zeros(2) for key in extra}
        safetensors.save_file(state, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config))
        return place

    return write


def test_encoders_see_a_fixed_window_of_hu(folder):
    """What lies outside the window changes nothing, an offset inside it does: nothing is scaled per volume."""
    encoder = NetworkEncoder(folder(RESNET, extra=("fc.weight", "fc.bias")), 2)
    rng = np.random.default_rng(0)
    images = rng.integers(-100, 200, (3, 20, 24)).astype(np.int16)
    images[:, :3], images[:, 3:6] = -500, 900
    vectors = encoder.encode(images)
    assert vectors.shape == (3, 8 * 4)
    outside = images.copy()
    outside[:, :3], outside[:, 3:6] = -1024, 3000
    np.testing.assert_array_equal(encoder.encode(outside), vectors)
    assert np.abs(encoder.encode(images + 20) - vectors).max() > 1e-3
    np.testing.assert_allclose(encoder.encode(images[1:2]), vectors[1:2], rtol=1e-4, atol=1e-5)


def test_published_names_of_weights_are_kept(folder):
    state = safetensors.load_file(folder(RESNET) / "model.safetensors")
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "layer2.0.downsample.0.weight"} <= set(state)
    state = safetensors.load_file(folder(LPIPS, "lpips") / "model.safetensors")
    convolutions = [name for name in state if name.startswith("features.") and name.endswith("weight")]
    assert sorted(int(name.split(".")[1]) for name in convolutions) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert "lin4.model.1.weight" in state


def test_a_residual_network_in_three_dimensions(folder):
    config = RESNET | {"dimensions": 3, "size": [16, 16, 16], "bottleneck": False}
    vectors = NetworkEncoder(folder(config), 3).encode(np.zeros((2, 9, 10, 11), np.int16))
    assert vectors.shape == (2, 8)
    with pytest.raises(InvalidValueError, match="a resnet in 2 dimensions"):
        NetworkEncoder(folder(config, "again"), 2)


def test_perceptual_distance_is_0_for_equal_images_and_symmetric(folder):
    distance = PerceptualDistance(folder(LPIPS))
    a, b = np.random.default_rng(0).integers(-160, 240, (2, 3, 40, 40)).astype(np.int16)
    assert distance.between(a, a) == 0
    assert distance.between(a, b) == pytest.approx(distance.between(b, a))
    assert distance.between(a, b) > distance.between(a, (0.9 * a + 0.1 * b).astype(np.int16)) > 0


def test_wrong_weights_are_one_clear_error(folder, tmp_path):
    with pytest.raises(LocationError, match=r"config\.json"):
        read_config(tmp_path / "nothing", EncoderConfig)
    place = folder(RESNET)
    (place / "config.json").write_text(json.dumps(RESNET | {"blocks": [1, 2]}))
    with pytest.raises(FileFormatError, match="weights missing"):
        NetworkEncoder(place, 2)
    (place / "config.json").write_text(json.dumps(RESNET | {"window_hu": [240, -160]}))
    with pytest.raises(FileFormatError, match="window_hu"):
        NetworkEncoder(place, 2)


@pytest.fixture
def samples(box_dataset):
    datasets = box_dataset(6, "real"), box_dataset(7, "synthetic", prompts=3)
    return [Sample(dataset, dataset.accepted(), 5.0) for dataset in datasets]


def test_fid_in_three_planes_is_small_for_equal_populations_and_sees_an_offset(samples):
    real, synthetic = samples
    rows = fid(real, synthetic, Moments(2), Draws(resamples=10))
    assert [row.measure for row in rows] == ["fid_axial", "fid_coronal", "fid_sagittal", "fid_2_5d"]
    assert rows[3].value == pytest.approx(np.mean([row.value for row in rows[:3]]))

    class Brighter(Moments):
        """Adds 30 HU to every image of the second dataset, after the six cases of the first."""

        calls = 0

        def encode(self, images_hu):
            self.calls += 1
            return super().encode(images_hu + 30 * (self.calls > 3 * 6))

    for row, other in zip(fid(real, synthetic, Brighter(2), Draws(resamples=10)), rows, strict=True):
        assert other.value < 100
        assert row.value == pytest.approx(900, abs=150)


def test_video_distance_needs_as_many_cases_as_a_covariance_does(samples):
    real, synthetic = samples
    row = fvd(real, synthetic, Moments(3), Draws(resamples=5))
    assert np.isfinite(row.value)
    few = Sample(real.dataset, real.records[:5], 5.0)
    row = fvd(few, synthetic, Moments(3), Draws(resamples=5))
    assert np.isnan(row.value)
    assert row.note == "5 vectors of 3 features; 6 needed, of 5 cases"


def test_perceptual_pairs_are_those_of_one_prompt(samples, folder, monkeypatch):
    """The box datasets share prompts p0 to p2; half of the cases behind them are the same."""
    monkeypatch.setattr(deep, "MOST_PAIRS", 6)
    real, synthetic = samples
    paired, variety = lpips(real, synthetic, PerceptualDistance(folder(LPIPS)), Draws())
    assert paired.note == ""
    assert paired.value > 0
    assert variety.note.startswith("real 0.")
    alone = Sample(real.dataset, [record.model_copy(update={"prompt_id": "x"}) for record in real.records], 5.0)
    assert np.isnan(lpips(alone, synthetic, PerceptualDistance(folder(LPIPS, "b")), Draws())[0].value)


def test_clip_score_tells_own_texts_from_others(tmp_path):
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(40, 16))
    images = texts + 0.3 * rng.normal(size=texts.shape)
    own, shuffled = clip_score(images, texts, seed=0), clip_score(np.roll(images, 1, 0), texts, seed=0)
    assert own.score.low > 0.8
    assert abs(own.chance) < 0.1
    assert own.first.mean > 0.9
    assert shuffled.score.high < 0.3
    assert shuffled.first.mean < 0.1
    path = tmp_path / "vectors.safetensors"
    stored = {
        f"{kind}.c{i}": torch.from_numpy(rows[i])
        for kind, rows in (("image", images), ("text", texts))
        for i in range(6)
    }
    safetensors.save_file(stored, path)
    ids, read, _ = read_embeddings(path)
    np.testing.assert_array_equal(read, images[:6])
    assert ids == [f"c{i}" for i in range(6)]
    safetensors.save_file({name: value for name, value in stored.items() if name != "text.c3"}, path)
    with pytest.raises(FileFormatError, match="11 tensors"):
        read_embeddings(path)
    with pytest.raises(InvalidValueError, match="4 cases"):
        clip_score(images[:4], texts[:4], seed=0)


def test_the_command_takes_measures_with_local_weights(box_dataset, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(portrait, "THUMBNAIL_ZYX", (20, 20, 20))
    real, synthetic = box_dataset(5, "real"), box_dataset(5, "synthetic", prompts=2)
    vectors = {
        f"{kind}.{record.case_id}": torch.ones(3) for kind in ("image", "text") for record in synthetic.accepted()
    }
    safetensors.save_file(vectors, tmp_path / "clip.safetensors")
    asked = ["fidelity", str(synthetic.root), "--real", str(real.root), "--resamples", "3", "--scheme", "kits"]
    asked += ["--structures", "kidney", "--fid", str(folder(RESNET)), "--ct-clip", str(tmp_path / "clip.safetensors")]
    data = json.loads(CliRunner().invoke(bench_app, [*asked, "--json"]).stdout)
    found = {row["measure"]: row for row in data["measures"]}
    assert found["fid_axial"]["value"] is None or found["fid_axial"]["value"] >= 0
    assert found["ct_clip_score"]["value"] == pytest.approx(1)
