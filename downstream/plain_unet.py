"""nnU-Net's plain U-Net, built without a plan: what built-in weights belong to, and what a step of training is measured with."""

from collections.abc import Sequence
from typing import Any

__all__ = ["plain_unet"]


def plain_unet(features: Sequence[int], convolutions: Sequence[int], labels: int, *, folded: bool) -> Any:
    """Build a U-Net for one channel, randomly initialised; each resolution halves the one before.

    Args:
        features: channels of each resolution.
        convolutions: of each resolution on the way down, and of all but the lowest on the way up.
        labels: channels of the answer, background included.
        folded: compute at half the image's resolution (`trainers/folded.py`).
    """
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    from downstream.trainers.folded import FOLD, Folded

    stages, factor = len(features), FOLD if folded else 1
    network = PlainConvUNet(
        input_channels=factor,
        n_stages=stages,
        features_per_stage=list(features),
        conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        n_conv_per_stage=list(convolutions),
        num_classes=factor * labels,
        n_conv_per_stage_decoder=list(convolutions)[-2::-1],
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    return Folded(network) if folded else network
