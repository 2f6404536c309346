"""Any trained nnU-Net v2 model as a segmenter, opened once and kept in memory.

The network is built from the plan in the folder. nnU-Net's own opening searches all its trainers by name, and with them
imports packages that are not needed; a trainer that builds another network than its plan says is not supported.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int16, Shaped, UInt8

from downstream.nnunet_checkpoint import CHECKPOINT, load_weights, read_checkpoint, read_json
from downstream.nnunet_layout import require_nnunet
from downstream.segmenter import Segmenter, SegmenterCard
from manifests.errors import FileFormatError, LocationError
from manifests.geometry import Grid

__all__ = ["NnunetSegmenter", "Orientation"]

Orientation = Literal["LPS", "RAS"]
"""Where x and y of the arrays grow that the network was trained on: Left and Posterior (our exports), or Right and Anterior."""


class NnunetSegmenter(Segmenter):
    """One fold of a trained model folder."""

    def __init__(self, folder: Path, device: str = "cpu", orientation: Orientation = "LPS") -> None:
        require_nnunet()
        self._orientation = orientation
        plans, dataset_json = (read_json(folder / name) for name in ("plans.json", "dataset.json"))
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

    stored = read_checkpoint(checkpoint)
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
    load_weights(network, stored, checkpoint)
    axes = stored.get("inference_allowed_mirroring_axes")
    on_gpu = device.startswith("cuda")
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=on_gpu, device=torch.device(device), allow_tqdm=False
    )
    weights = [network.state_dict()]
    name = stored.get("trainer_name", "")
    predictor.manual_initialization(network, manager, configuration, weights, dataset_json, name, axes)
    return predictor


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
    means = read_json(path)["mean"]
    found = {name: means.get(str(value), {}).get("Dice") for name, value in labels.items() if value != 0}
    return {name: float(dice) for name, dice in found.items() if dice is not None and dice == dice}
