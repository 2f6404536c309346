"""How many threads of a process compute while it trains."""

import os

import torch

from factory.training.distributed import joined


def test_alone_a_training_takes_all_cores_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    with joined():
        assert torch.get_num_threads() == len(os.sched_getaffinity(0))
    with joined(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
