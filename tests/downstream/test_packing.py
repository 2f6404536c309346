"""A finished transfer, packed: the network, its normalisation and its scores arrive in the segmenter that opens the folder."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from downstream.cli import bench_app
from downstream.results import Result, Results
from downstream.segmenter import open_segmenter
from manifests.errors import FileFormatError, InvalidValueError, LocationError

pytest.importorskip("nnunetv2")
torch = pytest.importorskip("torch")

from downstream.packing import pack_transfer  # noqa: E402  the package must be there
from downstream.plain_unet import plain_unet  # noqa: E402
from downstream.trainers.squeeze import squeeze  # noqa: E402

SIZE = {
    "spacing_mm": 5.0,
    "patch_zyx": [8, 8, 8],
    "features": [4, 8],
    "convolutions": [1, 1],
    "folded": True,
    "squeezed": True,
    "scales": [1.0],
}
MEASURED = {"percentile_00_5": -200.0, "percentile_99_5": 300.0, "mean": 50.0, "std": 100.0}
DICE = {"mean": 0.7, "low": 0.6, "high": 0.8, "n": 2}


@pytest.fixture
def run(box_dataset, tmp_path):
    """What `factory bench transfer` leaves, its weights random."""
    run, name = tmp_path / "run", "Dataset900_Synthetic"
    raw, prepared = run / "raw" / name, run / "preprocessed" / name
    for folder in (raw, prepared):
        folder.mkdir(parents=True)
    job = {
        "folder": str(raw),
        "plan": SIZE | {"iterations": 7},
        "options": {"plan": "nano", "scheme": "btcv13", "seed": 3, "largest": True},
        "targets": {"synthetic": {"dataset": str(box_dataset(4).root), "cases": ["s"]}, "real": {"cases": ["a", "b"]}},
    }
    files = {
        run / "job.json": job,
        run / "results.json": {"labels": [{"label": "liver", "dice": DICE}]},
        raw / "splits_final.json": [{"train": ["p", "q", "r"], "val": ["s"]}],
        prepared / "dataset.json": {"labels": {"background": 0, "liver": 2, "spleen": 1}},
        prepared / "factoryPlans.json": {"foreground_intensity_properties_per_channel": {"0": MEASURED}},
    }
    for path, data in files.items():
        path.write_text(json.dumps(data))
    rows = [Result("s", "liver", "dice", 0.91, "synthetic"), Result("a", "liver", "dice", 0.7, "real")]
    Results(rows).write(run / "scores.csv")
    return run, _trained(run, 0)


def _trained(run, member):
    """A random network, where a training leaves it."""
    plan = f"factoryPlans{member + 1 if member else ''}"
    folder = run / "results" / "Dataset900_Synthetic" / f"nnUNetTrainerTransfer__{plan}__3d_fullres" / "fold_0"
    with torch.random.fork_rng():
        torch.manual_seed(member)
        network = plain_unet(SIZE["features"], SIZE["convolutions"], 3, folded=True).eval()
    folder.mkdir(parents=True)
    torch.save({"network_weights": network.state_dict()}, folder / "checkpoint_final.pth")
    return network


def test_a_packed_transfer_is_the_network_that_was_trained(run, tmp_path):
    folder, network = run
    answer = CliRunner().invoke(bench_app, ["pack", str(folder), "--out", str(tmp_path / "packed"), "--json"])
    assert answer.exit_code == 0, answer.output
    config = json.loads(answer.stdout)
    assert (config["labels"], config["mean_hu"], config["clip_hu"]) == (["spleen", "liver"], 50.0, [-200.0, 300.0])
    opened = open_segmenter(f"builtin:{tmp_path / 'packed'}")
    assert opened.card.held_out_dice == {"liver": 0.91}
    tile = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        seen = squeeze(MEASURED)(torch.from_numpy(tile))
        expected = network(seen[None, None])[0].numpy()
    np.testing.assert_allclose(opened._scores(tile), expected, atol=0.02)  # weights of 11 bits
    card = (tmp_path / "packed" / "README.md").read_text()
    assert "3 of 4 cases" in card
    assert "HU reach it with soft tissue spread" in card
    assert "| liver | 0.910 | 0.700 (0.600 to 0.800) | 2 |" in card
    assert "| spleen |  |  |  |" in card


def test_several_networks_are_packed_as_their_mean(run, tmp_path):
    folder, first = run
    second = _trained(folder, 1)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | {"plan": job["plan"] | {"members": 2}}))
    assert pack_transfer(folder, tmp_path / "packed").members == 2
    tile = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        seen = squeeze(MEASURED)(torch.from_numpy(tile))[None, None]
        one, other = (network(seen)[0].numpy() for network in (first, second))
    assert np.abs(one - other).max() > 0.1
    scores = open_segmenter(f"builtin:{tmp_path / 'packed'}")._scores(tile)
    np.testing.assert_allclose(scores, (one + other) / 2, atol=0.02)
    card = (tmp_path / "packed" / "README.md").read_text()
    assert "The mean of 2 plain U-Nets" in card
    assert "with seeds 6 and 7 (`factory bench transfer --members 2`" in card


def test_the_same_networks_make_the_same_file(run, tmp_path):
    folder, _ = run
    pack_transfer(folder, tmp_path / "one")
    pack_transfer(folder, tmp_path / "two")
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_what_cannot_be_packed_is_refused_before_anything_is_written(run, tmp_path):
    folder, _ = run
    out = tmp_path / "packed"
    with pytest.raises(LocationError, match=r"results\.json"):
        pack_transfer(tmp_path, out)
    (checkpoint,) = folder.glob("results/*/*/*/checkpoint_final.pth")
    torch.save({"network_weights": {}}, checkpoint)
    with pytest.raises(FileFormatError, match="its plan"):
        pack_transfer(folder, out)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | {"plan": SIZE | {"features": []}}))
    with pytest.raises(InvalidValueError, match="network of ours"):
        pack_transfer(folder, out)
    assert not out.exists()
