"""nnU-Net's predictor for trainers of ours whose training is finished: the mean of their networks, no mirroring."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from downstream.nnunet_checkpoint import CHECKPOINT

__all__ = ["continued", "predictor_of"]


def predictor_of(*trainers: Any) -> Any:
    """Load the last checkpoints of trainers with one plan and set nnU-Net's sliding-window predictor up with the mean of their networks.

    Windows overlap by half and are weighted by a Gaussian, as nnU-Net does; values are squeezed as in training. Gradients are off in this process from here on.
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from downstream.trainers.averaged import averaged

    for one in trainers:
        one.load_checkpoint(str(Path(one.output_folder) / CHECKPOINT))
        one.set_deep_supervision_enabled(False)
    trainer, network = trainers[0], averaged([one.network for one in trainers])
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=trainer.device.type == "cuda",
        device=trainer.device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        None,
    )
    slide = predictor.predict_sliding_window_return_logits
    patch = trainer.configuration_manager.patch_size
    predictor.predict_sliding_window_return_logits = partial(
        continued, lambda image: slide(trainer.squeeze(image)), patch
    )
    torch.set_grad_enabled(False)
    return predictor


def continued(slide: Callable[[Any], Any], patch: Sequence[int], image: Any) -> Any:
    """Scores (labels, z, y, x) of an image (channels, z, y, x), which is continued by its border where a patch is larger.

    nnU-Net would add zeros, the mean of the foreground: flat tissue, which our trainers never show.
    """
    from torch.nn.functional import pad

    missing = [max(0, least - n) for least, n in zip(patch, image.shape[1:], strict=True)]
    sides = [(add // 2, add - add // 2) for add in missing]
    scores = slide(pad(image[None], [n for pair in sides[::-1] for n in pair], mode="replicate")[0])
    core = (slice(before, before + n) for (before, _), n in zip(sides, image.shape[1:], strict=True))
    return scores[:, *core]
