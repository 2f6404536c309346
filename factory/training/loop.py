"""One training loop for all stages: a generator of steps, so that the caller draws the bar.

Step n takes cases n * batch ... (n + 1) * batch - 1 of an endless order of shuffled epochs, and
each of them draws from generators seeded by its place in that order. So a run that was killed and
resumed is the run that was not, and two processes compute what one with the same batch computes.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from factory.training import checkpoint
from factory.training.distributed import Team
from factory.training.muon import Muon
from factory.training.recipe import Recipe
from manifests.errors import InvalidValueError

__all__ = ["Stage", "Step", "item_seed", "train"]


class Stage(nn.Module, ABC):
    """What a stage adds to the loop: its cases, its loss, and its validation.

    Attributes:
        network: what is trained and saved.
        helpers: networks trained beside it and not kept, or None.
        count: cases to train on.
        step: steps done; the loop counts.
    """

    network: nn.Module
    helpers: nn.Module | None
    count: int
    step: int

    def __init__(self) -> None:
        super().__init__()
        self.helpers, self.step = None, 0

    def warm_up(self, steps: int) -> None:  # most stages have nothing to do
        """Prepare fresh weights before the first of so many steps; the same on every process."""

    def settle(self) -> None:  # most stages go on learning all they have
        """Fix what `warm_up` taught, of a fresh run and of a resumed one."""

    @abstractmethod
    def fetch(self, case: int, seed: int) -> Any:
        """Read a case for training, with what is random about it; runs in a loader thread."""

    @abstractmethod
    def collate(self, examples: Sequence[Any]) -> Any:
        """Join what `fetch` gave into one batch."""

    @abstractmethod
    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Losses of a batch, means over its cases; "loss" is what is minimised."""

    @abstractmethod
    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Score the network on held-out cases and draw pictures into a folder; uses the averaged weights."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    Attributes:
        number: steps done, this one included.
        losses: means over the batch.
        seconds, stalled: time that it took, and how much of that it waited for data.
        scores: of the validation, where there was one.
    """

    number: int
    losses: dict[str, float]
    seconds: float
    stalled: float
    scores: dict[str, float] = field(default_factory=dict)


def item_seed(seed: int, place: int) -> int:
    """Seed of one place in the endless order of cases."""
    digest = hashlib.blake2b(f"training\0{seed}\0{place}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def train(stage: Stage, recipe: Recipe, out: Path, team: Team) -> Iterator[Step]:
    """Train a stage, from its newest checkpoint if it has one, and yield each step.

    Args:
        stage: on the device of the team.
        recipe: how.
        out: folder of the run; checkpoints and pictures go there.
        team: the processes of this training.

    Raises:
        InvalidValueError: if the batch cannot be shared out, or a loss is not finite.
        StorageError: if a checkpoint cannot be written; the one before stands.
        FileFormatError, LocationError: if the checkpoint to go on from is damaged.
    """
    _require_shares(recipe, team)
    newest = checkpoint.find(out)
    if newest is None:
        stage.warm_up(recipe.steps)
    stage.settle()
    optimiser = Muon(stage.parameters(), recipe.learning_rate, recipe.weight_decay)
    average = {name: tensor.detach().clone() for name, tensor in stage.network.state_dict().items()}
    state = checkpoint.State(stage.network, average, optimiser, stage.helpers)
    if newest:
        checkpoint.load(newest, state)
    done = newest.step if newest else 0
    shared: nn.Module = DistributedDataParallel(stage) if team.size > 1 else stage
    # a loader that computes on several threads of OpenMP slows down those of this thread by half
    with ThreadPoolExecutor(recipe.loaders, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        batches = _Batches(stage, recipe, team, pool)
        for number in range(done, recipe.steps):
            started, stage.step = time.perf_counter(), number
            losses, stalled = _step(shared, optimiser, batches, number)
            _require_finite(losses, number, newest.step if newest else 0)
            decay = recipe.ema_at(number)
            for name, tensor in stage.network.state_dict().items():
                average[name].lerp_(tensor, 1 - decay) if tensor.is_floating_point() else average[name].copy_(tensor)
            finished, scores = number + 1, {}
            if finished % recipe.save_every == 0 or finished == recipe.steps:
                if team.leads:
                    newest = checkpoint.save(out, finished, state)
                team.wait()
            if finished % recipe.validate_every == 0 or finished == recipe.steps:
                scores = _validated(stage, average, out, finished) if team.leads else {}
                team.wait()
            yield Step(finished, losses, time.perf_counter() - started, stalled, scores)


class _Batches:
    """Reads ahead: the parts of a step that this process takes, in loader threads."""

    def __init__(self, stage: Stage, recipe: Recipe, team: Team, pool: ThreadPoolExecutor) -> None:
        self.stage, self.recipe, self.team, self._pool = stage, recipe, team, pool
        self._waiting: dict[int, list[Future[Any]]] = {}
        self._orders: dict[int, np.ndarray] = {}

    def parts(self, number: int) -> Iterator[Any]:
        """The parts of a step, one after another; the next step is being read meanwhile."""
        for ahead in (number, number + 1):
            if ahead < self.recipe.steps and ahead not in self._waiting:
                self._waiting[ahead] = [self._pool.submit(self._fetch, place) for place in self._mine(ahead)]
        read = self._waiting.pop(number)
        for start in range(0, len(read), self.recipe.part):
            yield self.stage.collate([one.result() for one in read[start : start + self.recipe.part]])

    def _mine(self, number: int) -> range:
        first = number * self.recipe.batch
        return range(first + self.team.rank, first + self.recipe.batch, self.team.size)

    def _fetch(self, place: int) -> Any:
        epoch, within = divmod(place, self.stage.count)
        if epoch not in self._orders:
            self._orders[epoch] = np.random.default_rng([self.recipe.seed, epoch]).permutation(self.stage.count)
        return self.stage.fetch(int(self._orders[epoch][within]), item_seed(self.recipe.seed, place))


def _step(shared: nn.Module, optimiser: Any, batches: _Batches, number: int) -> tuple[dict[str, float], float]:
    """One optimiser step; the losses, averaged over parts and processes, and seconds waited for data."""
    recipe, team = batches.recipe, batches.team
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate_at(number)
    optimiser.zero_grad(set_to_none=True)
    half = team.half if recipe.half is None else recipe.half
    count = recipe.batch // team.size // recipe.part
    total: dict[str, float] = {}
    parts, stalled = batches.parts(number), 0.0
    shared.train()
    for part in range(count):
        before = time.perf_counter()
        batch = next(parts)
        stalled += time.perf_counter() - before
        keeps = isinstance(shared, DistributedDataParallel) and part < count - 1
        with shared.no_sync() if keeps else nullcontext():  # gradients are shared once
            with torch.autocast(team.device.type, torch.bfloat16, enabled=half):
                losses = shared(batch)
            (losses["loss"] / count).backward()
        for name, loss in losses.items():
            total[name] = total.get(name, 0.0) + float(loss.detach()) / count
    norm = nn.utils.clip_grad_norm_(batches.stage.network.parameters(), recipe.clip)
    if batches.stage.helpers is not None:
        nn.utils.clip_grad_norm_(batches.stage.helpers.parameters(), recipe.clip)
    total = team.mean(total | {"gradient": float(norm)})
    if all(np.isfinite(value) for value in total.values()):  # else the caller stops, with weights unharmed
        optimiser.step()
    return total, stalled


def _validated(stage: Stage, average: dict[str, Tensor], out: Path, step: int) -> dict[str, float]:
    """Scores of the averaged weights; the trained ones are put back."""
    own = {name: tensor.detach().clone() for name, tensor in stage.network.state_dict().items()}
    stage.network.load_state_dict(average)
    stage.eval()
    try:
        return stage.validate(out / "pictures", step)
    finally:
        stage.network.load_state_dict(own)
        stage.train()


def _require_shares(recipe: Recipe, team: Team) -> None:
    if recipe.batch % (team.size * recipe.part):
        raise InvalidValueError(
            "--batch",
            got=f"{recipe.batch} for {team.size} processes that take {recipe.part} at once",
            need=f"a multiple of {team.size * recipe.part}",
            do="Change --batch, --part or the number of processes.",
        )


def _require_finite(losses: dict[str, float], number: int, saved: int) -> None:
    wrong = [name for name, value in losses.items() if not np.isfinite(value)]
    if wrong:
        raise InvalidValueError(
            f"training, step {number + 1}",
            got=f"{', '.join(f'{name} = {losses[name]}' for name in wrong)}",
            need="finite losses",
            do=f"Start again from the checkpoint of step {saved} with a lower --learning-rate.",
        )
