"""Discriminators of the autoencoder: one looks at slices along a random axis, one at the volume.

Both see original and reconstruction through the same window as the reconstruction loss does. One
backward pass trains both sides: the autoencoder's term meets the critics' weights as constants, and
the critics' term meets the reconstruction as one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Critics"]

_SLICES = 4

Volume = Float[Tensor, "b one z y x"]


class Critics(nn.Module):
    """Two patch discriminators of MONAI, `width` channels wide, normalised per instance."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        from monai.networks.nets import PatchDiscriminator  # takes seconds, and is optional

        self.slices, self.volumes = (
            PatchDiscriminator(spatial_dims=dims, channels=width, in_channels=1, num_layers_d=2, norm="INSTANCE")
            for dims in (2, 3)
        )

    def forward(self, ct: Volume, axis: int) -> list[Tensor]:
        """Maps of scores, positive for what looks real: of a few slices across `axis` (0 = z), and of the volume."""
        every = max(1, ct.shape[2 + axis] // _SLICES)
        slices = ct.movedim(2 + axis, 1)[:, ::every].flatten(0, 1)
        return [self.slices(slices)[-1], self.volumes(ct)[-1]]

    def judge(self, real: Volume, made: Volume, axis: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Hinge losses (Lim and Ye 2017): the autoencoder's, and the critics' own."""
        fixed = {name: tensor.detach() for name, tensor in self.named_parameters()}
        deceived = torch.func.functional_call(self, fixed, (made, axis))
        own = zip(self(real, axis), self(made.detach(), axis), strict=True)
        found = [torch.relu(1 - yes).mean() + torch.relu(1 + no).mean() for yes, no in own]
        return -sum(score.mean() for score in deceived) / 2, sum(found) / 2
