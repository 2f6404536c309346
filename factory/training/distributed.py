"""The processes of one training: alone, or as many as torchrun or Ray started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed

__all__ = ["Team", "joined"]


@dataclass(frozen=True, slots=True)
class Team:
    """Who computes: this process's number, how many there are, and on which device.

    Attributes:
        half: whether bfloat16 is fast there.
    """

    rank: int
    size: int
    device: torch.device
    half: bool

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Values averaged over all processes."""
        if self.size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()


@contextmanager
def joined(threads: int | None = None) -> Iterator[Team]:
    """Join the processes that torchrun or Ray started (variables RANK, WORLD_SIZE, LOCAL_RANK), if it did.

    Args:
        threads: that compute on the CPU in this process; None = one in each of several, and alone as many as there are cores for it.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or (_cores() if size == 1 else 1))
    try:
        yield Team(rank, size, device, _half_is_fast(device))
    finally:
        torch.set_num_threads(before)
        if size > 1:
            torch.distributed.destroy_process_group()


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _half_is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
