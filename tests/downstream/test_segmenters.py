"""Segmenters on small weights that the tests make, and the DSC of images against their masks."""

import json
import math
import pickle

import numpy as np
import pytest
from typer.testing import CliRunner

from downstream import segmenter_totalsegmentator
from downstream.cli import bench_app
from downstream.image_mask import compare_masks, summarise_masks, tidy_masks
from downstream.segmenter import Segmenter, SegmenterCard, open_segmenter, scheme_of
from downstream.sliding import sliding_scores, tile_weight
from manifests.anatomy import structure
from manifests.errors import (
    FileFormatError,
    InvalidValueError,
    LocationError,
    MissingDependencyError,
    UnknownNameError,
)
from manifests.geometry import Grid
from manifests.schemes import scheme

KIDNEYS = (structure("kidney_left").id, structure("kidney_right").id)


class Threshold(Segmenter):
    """Calls kidney what is brighter than 100 HU, moved along x by some voxels."""

    card = SegmenterCard("threshold", {"kidney": 7}, {"kidney": 0.93}, "five phantoms")

    def __init__(self, moved: int = 0) -> None:
        self.moved = moved

    def segment(self, ct, grid):
        return np.roll(np.where(ct > 100, 7, 0).astype(np.uint8), self.moved, axis=2)


def test_dsc_falls_where_images_and_masks_part_and_the_ceiling_stands_beside_it(box_dataset):
    dataset = box_dataset(6)
    right, moved = (list(compare_masks(dataset, Threshold(step), "kits")) for step in (0, 2))
    good, bad = (summarise_masks(cases, Threshold(), seed=0) for cases in (right, moved))
    (row,) = good.labels
    assert (row.label, row.ceiling, good.ceiling_on, row.misses) == ("kidney", 0.93, "five phantoms", 0)
    assert row.dice.mean == 1.0
    # six voxels wide, moved by two: 2 * 4 / 12, and tumours are kidney neither here nor there
    assert 0.6 < bad.mean.mean < 0.7
    assert bad.mean.high < good.mean.low
    assert good.breakdown.keys() == {"sex=male"}
    measured = summarise_masks(right, Threshold(), seed=0, ceiling=moved)
    assert measured.ceiling == pytest.approx(bad.labels[0].dice.mean)
    assert len(tidy_masks(right, "a")) == 6


def test_a_segmenter_that_finds_nothing_scores_0_and_counts_as_misses(box_dataset):
    class Blind(Threshold):
        def segment(self, ct, grid):
            return np.zeros(ct.shape, np.uint8)

    summary = summarise_masks(list(compare_masks(box_dataset(3), Blind(), "kits")), Blind(), seed=0)
    assert (summary.labels[0].dice.mean, summary.labels[0].misses) == (0.0, 3)


def test_labels_find_their_scheme_or_are_refused():
    assert scheme_of(SegmenterCard("a", {"kidneys": 1, "lungs": 2})).name == "guidegen20"
    assert scheme_of(SegmenterCard("a", {"vertebrae_L1": 1, "liver": 2})).name == "totalsegmentator"
    assert scheme_of(SegmenterCard("a", {"skeletal_muscle": 1})).name == "full"
    assert scheme_of(SegmenterCard("a", {"kidney": 1}), "kits").name == "kits"
    with pytest.raises(InvalidValueError, match="got pineal"):
        scheme_of(SegmenterCard("a", {"pineal": 1, "liver": 2}))
    with pytest.raises(InvalidValueError, match="got liver"):
        scheme_of(SegmenterCard("a", {"liver": 1}), "kits")


@pytest.mark.parametrize("shape", [(4, 5, 6), (9, 12, 7), (8, 8, 8)])
def test_tiles_give_back_what_a_network_without_context_says(shape):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tiles = []

    def network(tile):
        tiles.append(tile.shape)
        return np.stack([tile, 2 * tile])

    found = sliding_scores(network, volume, (8, 8, 8))
    np.testing.assert_allclose(found, np.stack([volume, 2 * volume]), rtol=1e-5, atol=1e-6)
    assert set(tiles) == {(8, 8, 8)}
    assert len(tiles) == math.prod(1 + max(0, math.ceil((n - 8) / 4)) for n in shape)
    assert tile_weight((8, 8, 8)).min() > 0


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("nonsense", UnknownNameError, "totalsegmentator, nnunet:FOLDER or builtin"),
        ("nnunet", InvalidValueError, "nnunet:FOLDER"),
        ("nnunet:", InvalidValueError, "nnunet:FOLDER"),
        ("totalsegmentator:x", InvalidValueError, "totalsegmentator"),
        ("nnunet:/nowhere/at/all", LocationError, "trained nnU-Net folder"),
        ("builtin:/nowhere/at/all", LocationError, "no config.json"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_error(text, error, words):
    pytest.importorskip("nnunetv2")
    with pytest.raises(error, match=words):
        open_segmenter(text)


def test_totalsegmentator_says_what_to_install_and_what_to_download(monkeypatch, tmp_path):
    monkeypatch.setattr(segmenter_totalsegmentator, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install TotalSegmentator"):
        open_segmenter("totalsegmentator")
    monkeypatch.setattr(segmenter_totalsegmentator, "find_spec", lambda name: name)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    with pytest.raises(LocationError, match="totalseg_download_weights"):
        open_segmenter("totalsegmentator")


def test_built_in_weights_are_read_by_path_and_work_on_the_scans_own_grid(tmp_path):
    pytest.importorskip("nnunetv2")
    torch = pytest.importorskip("torch")
    from downstream.segmenter_builtin import BuiltinConfig, builtin_network, write_builtin

    config = BuiltinConfig(
        name="tiny",
        labels=("kidneys", "liver"),
        spacing_mm=5.0,
        patch_zyx=(8, 8, 8),
        clip_hu=(-200, 300),
        mean_hu=50,
        sd_hu=100,
        features=(4, 8),
        convolutions=(1, 1),
        largest=False,
        held_out_dice={"liver": 0.5},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = builtin_network(config).eval()
    write_builtin(tmp_path, network, config, "# Tiny\n")
    opened = open_segmenter(f"builtin:{tmp_path}")
    assert opened.card.labels == {"kidneys": 1, "liver": 2}
    assert opened.card.held_out_dice == {"liver": 0.5}
    ct = np.random.default_rng(0).integers(-100, 200, (10, 9, 12)).astype(np.int16)
    grid = Grid(ct.shape, (5.0, 5.0, 5.0))
    labels = opened.segment(ct, grid)
    with torch.inference_mode():  # what the network says of a tile in the middle, where one tile alone reaches
        tile = (ct[:8, :8, :8].clip(-200, 300).astype(np.float32) - 50) / 100
        expected = network(torch.from_numpy(tile)[None, None])[0].argmax(0).numpy()
    assert labels.shape == ct.shape
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert (labels[:3, :3, :3] == expected[:3, :3, :3]).mean() > 0.9
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(FileFormatError, match=r"model\.safetensors"):
        open_segmenter(f"builtin:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(config.model_dump_json()) | {"patch_zyx": [8, 8, 7]}))
    with pytest.raises(FileFormatError, match="divisible by 2"):
        open_segmenter(f"builtin:{tmp_path}")


UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
IMPORTS = ["conv_op", "norm_op", "dropout_op", "nonlin"]
KWARGS = {
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 2,
    "strides": [[1, 1, 1], [2, 2, 2]],
    "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
CONFIGURATION = {
    "data_identifier": "p_3d_fullres",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [8, 8, 8],
    "spacing": [5.0, 5.0, 5.0],
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
    "architecture": {"network_class_name": UNET, "arch_kwargs": KWARGS, "_kw_requires_import": IMPORTS},
}
RESAMPLED = {"order": 1, "order_z": 0, "force_separate_z": None}
for kind in ("data", "seg", "probabilities"):
    CONFIGURATION[f"resampling_fn_{kind}"] = "resample_data_or_seg_to_shape"
    CONFIGURATION[f"resampling_fn_{kind}_kwargs"] = RESAMPLED | {"is_seg": kind == "seg"}
MEASURED = {"mean": 50.0, "std": 100.0, "percentile_00_5": -200.0, "percentile_99_5": 300.0}
PLANS = {
    "dataset_name": "Dataset001_T",
    "plans_name": "p",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "image_reader_writer": "SimpleITKIO",
    "configurations": {"3d_fullres": CONFIGURATION},
    "foreground_intensity_properties_per_channel": {"0": MEASURED},
}
LABELS = {"background": 0, "kidneys": 1, "liver": 2}
DESCRIPTION = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii.gz", "numTraining": 1}


@pytest.fixture
def nnunet_folder(tmp_path):
    """A trained model folder as nnU-Net leaves it, its weights random."""
    pytest.importorskip("nnunetv2")
    torch = pytest.importorskip("torch")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network = get_network_from_plans(UNET, KWARGS, IMPORTS, 1, 3, deep_supervision=False)
    validation = tmp_path / "fold_0" / "validation"
    validation.mkdir(parents=True)
    (tmp_path / "plans.json").write_text(json.dumps(PLANS))
    (tmp_path / "dataset.json").write_text(json.dumps(DESCRIPTION))
    summary = {"mean": {"1": {"Dice": 0.75}, "2": {"Dice": float("nan")}}}
    (validation / "summary.json").write_text(json.dumps(summary))
    stored = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
        "_best_ema": np.float64(0.5),
        "logging": {"train_losses": [np.float32(1.0)]},
    }
    torch.save(stored, tmp_path / "fold_0" / "checkpoint_final.pth")
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_trained_nnunet_folder_segments_and_brings_its_ceiling(nnunet_folder):
    from downstream.segmenter_nnunet import NnunetSegmenter

    opened = open_segmenter(f"nnunet:{nnunet_folder}")
    assert opened.card.labels == {"kidneys": 1, "liver": 2}
    assert opened.card.held_out_dice == {"kidneys": 0.75}
    ct = np.random.default_rng(0).integers(-100, 200, (10, 9, 12)).astype(np.int16)
    grid = Grid(ct.shape, (5.0, 5.0, 5.0))
    labels = opened.segment(ct, grid)
    assert labels.shape == ct.shape
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert len(np.unique(labels)) > 1
    turned = NnunetSegmenter(nnunet_folder, orientation="RAS")
    flipped = np.ascontiguousarray(ct[:, ::-1, ::-1])
    np.testing.assert_array_equal(turned.segment(flipped, grid), labels[:, ::-1, ::-1])


def test_code_in_a_checkpoint_is_never_run(nnunet_folder):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    (nnunet_folder / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps({"network_weights": Evil()}))
    with pytest.raises(FileFormatError, match="data alone"):
        open_segmenter(f"nnunet:{nnunet_folder}")


def test_the_command_prints_dsc_beside_the_ceiling(box_dataset, monkeypatch, tmp_path):
    monkeypatch.setattr("downstream.segmenter.open_segmenter", lambda *_: Threshold())
    asked = ["alignment", str(box_dataset(6).root), "--segmenter", "builtin", "--scheme", "kits"]
    text = CliRunner().invoke(bench_app, [*asked, "--out", str(tmp_path)])
    assert text.exit_code == 0, text.output
    assert "DSC of threshold" in text.stdout
    assert "five phantoms" in text.stdout
    assert (tmp_path / "cases.csv").is_file()
    data = json.loads(CliRunner().invoke(bench_app, [*asked, "--json"]).stdout)
    assert data["image_mask"]["labels"][0]["ceiling"] == 0.93
    assert data["mask_prompt"]["matrix"]["columns"][-1] == "none"


def test_the_scheme_of_totalsegmentator_has_the_numbers_of_its_classes():
    labels = scheme("totalsegmentator").labels
    assert (labels["spleen"], labels["liver"], labels["costal_cartilages"]) == (1, 5, 117)
