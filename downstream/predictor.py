"""nnU-Net's predictor for a trainer of ours whose training is finished: one set of weights, no mirroring."""

from pathlib import Path
from typing import Any

__all__ = ["predictor_of"]


def predictor_of(trainer: Any) -> Any:
    """Load the last checkpoint of a trainer and set nnU-Net's sliding-window predictor up with its network.

    Windows overlap by half and are weighted by a Gaussian, as nnU-Net does. Gradients are off in this process from here on.
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=trainer.device.type == "cuda",
        device=trainer.device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        None,
    )
    torch.set_grad_enabled(False)
    return predictor
