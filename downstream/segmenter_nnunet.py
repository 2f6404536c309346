"""Any trained nnU-Net v2 model as a segmenter, opened once and kept in memory.

The network is built from the plan in the folder. nnU-Net's own opening searches all its trainers by name, and with them
imports packages that are not needed; a trainer that builds another network than its plan says is not supported.
Checkpoints are read without running code from them (torch's `weights_only`).
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int16, Shaped, UInt8

from downstream.nnunet_layout import require_nnunet
from downstream.segmenter import Segmenter, SegmenterCard
from manifests.errors import FileFormatError, LocationError
from manifests.geometry import Grid

__all__ = ["NnunetSegmenter", "Orientation"]

CHECKPOINT = "checkpoint_final.pth"

Orientation = Literal["LPS", "RAS"]
"""Where x and y of the arrays grow that the network was trained on: Left and Posterior (our exports), or Right and Anterior."""


class NnunetSegmenter(Segmenter):
    """One fold of a trained model folder."""

    def __init__(self, folder: Path, device: str = "cpu", orientation: Orientation = "LPS") -> None:
        require_nnunet()
        self._orientation = orientation
        plans, dataset_json = (_read_json(folder / name) for name in ("plans.json", "dataset.json"))
        fold = _fold(folder)
        self.card = SegmenterCard(
            folder.resolve().name,
            _labels(folder, dataset_json["labels"]),
            _validation_dice(fold, dataset_json["labels"]),
            f"validation cases of {fold.name}",
        )
        self._predictor = _predictor(plans, dataset_json, fold / CHECKPOINT, device)

    def segment(self, ct: Int16[np.ndarray, "z y x"], grid: Grid) -> UInt8[np.ndarray, "z y x"]:
        """Label a CT, resampled there and back as nnU-Net does; see `Segmenter`."""
        image: Float32[np.ndarray, "1 z y x"] = self._turned(ct)[None].astype(np.float32)
        labels = self._predictor.predict_single_npy_array(image, {"spacing": list(grid.spacing_mm_zyx)})
        return np.ascontiguousarray(self._turned(labels).astype(np.uint8))

    def _turned(self, array: Shaped[np.ndarray, "z y x"]) -> Shaped[np.ndarray, "z y x"]:
        """Swap between our orientation and the network's; the same both ways."""
        return array if self._orientation == "LPS" else np.ascontiguousarray(array[:, ::-1, ::-1])


def _predictor(plans: dict[str, Any], dataset_json: dict[str, Any], checkpoint: Path, device: str) -> Any:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    stored = _load(checkpoint)
    manager = PlansManager(plans)
    configuration = manager.get_configuration(stored["init_args"]["configuration"])
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        determine_num_input_channels(manager, configuration, dataset_json),
        manager.get_label_manager(dataset_json).num_segmentation_heads,
        deep_supervision=False,
    )
    try:
        network.load_state_dict(stored["network_weights"])
    except RuntimeError as error:
        raise FileFormatError(
            str(checkpoint),
            got=str(error).splitlines()[0],
            need="weights of the network in plans.json",
            do="Give the folder of one training; trainers that build a network of their own are not supported.",
        ) from error
    axes = stored.get("inference_allowed_mirroring_axes")
    on_gpu = device.startswith("cuda")
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=on_gpu, device=torch.device(device), allow_tqdm=False
    )
    weights = [network.state_dict()]
    name = stored.get("trainer_name", "")
    predictor.manual_initialization(network, manager, configuration, weights, dataset_json, name, axes)
    return predictor


def _load(checkpoint: Path) -> dict[str, Any]:
    import torch

    # numbers that trainers log: what numpy pickles them by, and their types
    rebuild = [np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]]
    plain = [*rebuild, np.dtype, np.ndarray, *(type(np.dtype(kind)) for kind in (np.float32, np.float64, int))]
    try:
        with torch.serialization.safe_globals(plain):
            stored: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's and its own
        raise FileFormatError(
            str(checkpoint),
            got=str(error).splitlines()[0],
            need="a checkpoint of nnU-Net that is data alone",
            do="Check the file; code in checkpoints is never run here.",
        ) from error
    return stored


def _fold(folder: Path) -> Path:
    """The first fold with a finished checkpoint."""
    folds = sorted(path.parent for path in folder.glob(f"fold_*/{CHECKPOINT}"))
    if not folds:
        raise LocationError(
            str(folder),
            got=f"no fold_*/{CHECKPOINT}",
            need="a trained nnU-Net folder, results/DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION",
            do="Check the path, or finish the training.",
        )
    return folds[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocationError(str(path), got="no such file", need="a trained nnU-Net folder", do="Check it.") from error
    except ValueError as error:
        raise FileFormatError(str(path), got=str(error), need="valid JSON", do="Copy the folder again.") from error
    return data


def _labels(folder: Path, labels: dict[str, Any]) -> dict[str, int]:
    """Foreground labels; regions, which are lists of labels, are refused."""
    if regions := sorted(name for name, value in labels.items() if not isinstance(value, int)):
        raise FileFormatError(
            str(folder), got=f"regions: {', '.join(regions)}", need="one value a label", do="Train with plain labels."
        )
    return {name: value for name, value in labels.items() if value and name != "ignore"}


def _validation_dice(fold: Path, labels: dict[str, Any]) -> dict[str, float]:
    """DSC of nnU-Net's own final validation by label; empty where it was not run."""
    path = fold / "validation" / "summary.json"
    if not path.is_file():
        return {}
    means = _read_json(path)["mean"]
    found = {name: means.get(str(value), {}).get("Dice") for name, value in labels.items() if value != 0}
    return {name: float(dice) for name, dice in found.items() if dice is not None and dice == dice}
