"""Networks in bfloat16 on processors that multiply it (AMX or AVX512-BF16): 2 to 4 times as fast; elsewhere as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["autocast_cpu"]

_THIN = 3  # voxels: volumes with fewer along a side are convolved in single precision


class _ThinInFull(TorchFunctionMode):  # type: ignore[misc]
    """Convolve thin volumes in single precision, whatever autocast says.

    Over volumes of two slices oneDNN's bfloat16 gradient of a kernel of three has, at times, numbers in it that nothing computed, of 1e28
    and more (torch 2.13, AVX512-BF16; tests/downstream/test_trainer_parts.py). Such volumes cost nothing.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        if func is torch.conv3d and min(args[0].shape[2:]) < _THIN:
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def autocast_cpu(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 on a CPU that has instructions for it; elsewhere nothing changes."""
    probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    if device.type == "cpu" and any(probe() for probe in probes if probe):
        with torch.autocast("cpu", dtype=torch.bfloat16), _ThinInFull():
            yield
    else:
        yield
