"""The training loop on a stage of one linear layer: resuming, sharing out, and what goes wrong."""

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.training import checkpoint
from factory.training.distributed import Team
from factory.training.loop import Stage, item_seed, train
from factory.training.recipe import Recipe
from manifests.errors import FileFormatError, InvalidValueError, LocationError, StorageError

RECIPE = Recipe(steps=6, batch=2, part=1, save_every=2, validate_every=3, learning_rate=0.1, warmup=2, ema=0.9)


class Line(Stage):
    """Fits y = 3 x + noise of each place; at `broken` the loss is NaN."""

    def __init__(self, broken: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = torch.nn.Linear(1, 1)
        self.count, self.broken = 5, broken
        self.seen: list[int] = []
        self.validated: list[torch.Tensor] = []

    def fetch(self, case: int, seed: int) -> tuple[int, int]:
        return case, seed

    def collate(self, examples: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        return list(examples)

    def forward(self, batch: list[tuple[int, int]]) -> dict[str, torch.Tensor]:
        self.seen += [case for case, _ in batch]
        x = torch.tensor([[float(case)] for case, _ in batch])
        noise = torch.cat([torch.randn(1, 1, generator=torch.Generator().manual_seed(seed)) for _, seed in batch])
        loss = ((self.network(x) - 3 * x - noise) ** 2).mean()
        return {"loss": loss * torch.nan if len(self.seen) == self.broken else loss}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        self.validated.append(self.network.weight.detach().clone())
        return {"weight": float(self.network.weight.detach())}


def team(rank: int = 0, size: int = 1) -> Team:
    return Team(rank, size, torch.device("cpu"), False)


def state(out: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.find(out)
    assert found is not None
    return checkpoint.averages(found, torch.nn.Linear(1, 1))


def test_a_resumed_run_is_the_unbroken_run(tmp_path: Path) -> None:
    whole = Line()
    losses = [step.losses for step in train(whole, RECIPE, tmp_path / "whole", team())]
    broken, resumed = Line(), Line()
    steps = train(broken, RECIPE, tmp_path / "broken", team())
    for _ in range(3):
        next(steps)
    steps.close()  # killed after step 3: the checkpoint of step 2 is what there is
    again = list(train(resumed, RECIPE, tmp_path / "broken", team()))
    assert [step.number for step in again] == [3, 4, 5, 6]
    assert [step.losses for step in again] == losses[2:]
    files = [checkpoint.find(tmp_path / name).path.read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]
    assert list(train(Line(), RECIPE, tmp_path / "broken", team())) == []


def test_every_case_comes_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    stage = Line()
    list(train(stage, RECIPE.model_copy(update={"steps": 5}), tmp_path, team()))
    assert sorted(stage.seen[:5]) == sorted(stage.seen[5:]) == list(range(5))
    assert stage.seen[:5] != stage.seen[5:]


def test_parts_accumulate_to_the_whole_batch(tmp_path: Path) -> None:
    for part in (1, 2):
        list(train(Line(), RECIPE.model_copy(update={"part": part}), tmp_path / str(part), team()))
    torch.testing.assert_close(state(tmp_path / "1"), state(tmp_path / "2"))


def test_validation_sees_the_average_and_leaves_the_weights(tmp_path: Path) -> None:
    stage = Line()
    steps = list(train(stage, RECIPE, tmp_path, team()))
    assert [step.number for step in steps if step.scores] == [3, 6]
    torch.testing.assert_close(stage.validated[-1], state(tmp_path)["weight"])
    assert not torch.equal(stage.validated[-1], stage.network.weight)


def test_a_loss_that_is_not_finite_stops_before_it_harms(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"step 4: got loss = nan.*checkpoint of step 2"):
        list(train(Line(broken=8), RECIPE, tmp_path, team()))
    assert checkpoint.find(tmp_path).step == 2
    assert all(tensor.isfinite().all() for tensor in state(tmp_path).values())


def test_a_batch_that_cannot_be_shared_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="multiple of 4"):
        next(train(Line(), RECIPE.model_copy(update={"part": 4}), tmp_path, team()))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = train(Line(), RECIPE, tmp_path, team())
    for _ in range(2):
        next(steps)
    before = checkpoint.find(tmp_path)
    whole = checkpoint.replace

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".safetensors":
            path.with_name(".tmp-torn").write_bytes(data[:10])
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr(checkpoint, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        list(steps)
    assert checkpoint.find(tmp_path) == before
    monkeypatch.undo()
    assert [step.number for step in train(Line(), RECIPE, tmp_path, team())] == [3, 4, 5, 6]
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("harm", ["truncated", "missing", "unreadable"])
def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path, harm: str) -> None:
    list(train(Line(), RECIPE, tmp_path, team()))
    path = checkpoint.find(tmp_path).path
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "missing":
        path.unlink()
    else:
        (tmp_path / "latest.json").write_text("{")
    longer = RECIPE.model_copy(update={"steps": 8})
    with pytest.raises(LocationError if harm == "missing" else FileFormatError):
        list(train(Line(), longer, tmp_path, team()))


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    list(train(Line(), RECIPE, tmp_path, team()))
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        "step-00000004.safetensors",
        "step-00000006.safetensors",
    ]


def test_seeds_of_places_are_positive_and_differ() -> None:
    seeds = {item_seed(seed, place) for seed in range(3) for place in range(100)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(steps=100, warmup=10, learning_rate=1.0)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert np.argmax(rates) == 9
    assert rates[9:50] == [1.0] * 41
    assert all(a > b for a, b in pairwise(rates[50:]))
    assert rates[-1] > 0.05


def _process(rank: int, out: str, port: int) -> None:
    """One of two processes, as torchrun would start it."""
    from factory.training.distributed import joined

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined() as found:
        losses = [step.losses["loss"] for step in train(Line(), RECIPE, Path(out), found)]
    (Path(out) / f"losses-{rank}.json").write_text(json.dumps(losses))


@pytest.mark.slow  # two processes that import torch
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "two").mkdir()
    torch.multiprocessing.spawn(_process, (str(tmp_path / "two"), port), nprocs=2)
    alone = [step.losses["loss"] for step in train(Line(), RECIPE, tmp_path / "one", team())]
    torch.testing.assert_close(state(tmp_path / "one"), state(tmp_path / "two"))
    both = [json.loads((tmp_path / "two" / f"losses-{rank}.json").read_text()) for rank in (0, 1)]
    assert both[0] == both[1] == pytest.approx(alone)
