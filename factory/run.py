"""One build from a config to a report: plan, resume, execute, and account for every case.

    run = Run(config)          # validates everything; nothing is written for bad input
    for outcome in run:        # draws, commits; a command may draw a bar from these
        ...
    report = run.report()      # what came of it, also written to runs/<stamp>.json

Running the same config again resumes; a larger n extends. Killing it loses the cases in flight.
"""

import json
import logging
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from factory.config import BuildConfig
from factory.engines import registry
from factory.executor import Executor, InlineExecutor, Models, Outcome
from factory.plan import Agenda, Plan, Prompts
from factory.quality import GATE, assess
from manifests.card import write_card
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import FactoryError, MissingDependencyError, StorageError
from manifests.spec import DatasetSpec
from prompts.sampling import default_distribution
from prompts.table import write_prompts

__all__ = ["Run", "RunReport", "Unfilled", "build", "load_models", "plan_spec"]

_log = logging.getLogger(__name__)
_PACKAGES = ("ct-factory", "numpy", "scipy", "zarr", "numcodecs", "pyarrow", "ray", "torch")


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A slot that has no accepted case, and why each of its drawings was not accepted."""

    index: int
    prompt_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one run did and where the dataset stands; counts are of the slots asked for.

    Attributes:
        complete: whether every slot has its accepted case.
        ended: "done", or why the run stopped before its agenda was empty.
        accepted: slots with an accepted case; `made` of them by this run.
        rejected, failed: drawings of this run that were not accepted.
        unfilled: slots whose candidates are spent.
        reasons: how often each reason was given in this run; the part before a colon.
        busy_fraction: working time of all workers over the time they were ready to work.
        stage_seconds: working time by stage, summed over workers.
        stored_bytes: bytes of the cases this run made.
    """

    dataset: str
    requested: int
    complete: bool
    ended: str
    accepted: int
    made: int
    rejected: int
    failed: int
    unfilled: tuple[Unfilled, ...]
    reasons: dict[str, int]
    wall_seconds: float
    cases_per_hour: float
    busy_fraction: float
    workers: int
    stage_seconds: dict[str, float]
    stored_bytes: int
    started_at: str
    versions: dict[str, str]
    config: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(slots=True)
class _Tally:
    """What the outcomes of a run add up to."""

    status: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stages: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stored_bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        record = outcome.record
        self.status[record.status] += 1
        self.reasons.update(reason.split(":")[0] for reason in record.reasons if record.status != "accepted")
        for stage, seconds in outcome.seconds.items():
            self.stages[stage] += seconds
        self.stored_bytes += record.stored_bytes or 0


def load_models(masks: str, images: str) -> Models:
    """Make the engines of two names, with the project's gate; what every worker calls once.

    Raises:
        UnknownNameError: if there is no such engine.
    """
    model = registry.mask_model(masks)
    if not model.unlabelled:
        return Models(model, registry.image_model(images), assess, GATE)
    gate = {**GATE, "unlabelled": sorted(model.unlabelled)}
    return Models(model, registry.image_model(images), partial(assess, unlabelled=model.unlabelled), gate)


def plan_spec(config: BuildConfig, models: Models) -> tuple[Plan, DatasetSpec]:
    """The plan of a config, and the spec of the dataset that it makes.

    Raises:
        InputError: if the prompts table is missing, empty or broken.
    """
    shipped = default_distribution()
    given = config.manifest
    prompts = Prompts.from_manifest(given) if given else Prompts.from_distribution(shipped, config.seed)
    grid, masks, images = config.preset.identity(), dict(models.masks.identity), dict(models.images.identity)
    completion = {"completion": shipped.distribution_id}
    making = {"mask_model": masks, "image_model": images, "grid": grid, "run_seed": config.seed, **completion}
    if config.randomise:
        making["randomise"] = config.randomise
    spec = DatasetSpec(
        kind="synthetic",
        mask_model=masks,
        image_model=images,
        grid=grid,
        run_seed=config.seed,
        randomise=config.randomise,
        prompts={**prompts.origin, **completion},
        gate={**models.gate, "enforced": False} if config.ungated else dict(models.gate),
    )
    return Plan(prompts, config.preset, making), spec


class Run:
    """One build; iterate to work, then ask for the report.

    Args:
        config: what to build.
        load: makes the models in each worker; None takes the engines that the config names.

    Raises:
        InputError: on bad input, before anything is written.
    """

    def __init__(self, config: BuildConfig, load: Callable[[], Models] | None = None) -> None:
        self.config = config
        self._load = load or partial(load_models, config.masks, config.images)
        self._plan, spec = plan_spec(config, self._load())
        self._executor_class = _ray_executor() if config.workers.separate else None
        self.dataset = Dataset.create(config.out, spec)
        self._tally = _Tally()
        self._ended = "not started"
        self._started_at = datetime.now(UTC)
        self._wall = 0.0
        self._executor: Executor | None = None
        self._agenda: Agenda | None = None

    @property
    def filled(self) -> int:
        """Slots that have their accepted case by now."""
        return self._agenda.filled if self._agenda else 0

    def __iter__(self) -> Iterator[Outcome]:
        """Work until every slot has its case or its candidates are spent.

        Raises:
            BusyError: if another process builds this dataset.
            StorageError: if the dataset cannot be written; it can be resumed.
            WorkerError: if no worker is left.
        """
        started = time.monotonic()
        self._ended = "interrupted"
        with self.dataset.lock():
            try:
                self._prepare()
                yield from self._work()
                self._ended = "done"
            except FactoryError as error:
                self._ended = f"{type(error).__name__}: {error}"
                raise
            finally:
                self._wall = time.monotonic() - started
                self._finish()

    def _prepare(self) -> None:
        """Write the prompts and see what earlier runs left."""
        rows = self._plan.prompts.table(self.config.n)
        path = self.dataset.prompts_path
        if not path.exists() or self._plan.prompts.length is None:
            write_prompts(path, rows)
        records = self.dataset.records()
        if self.config.retry_failed:
            records = _withdraw_failures(self.dataset, records)
        self._agenda = Agenda(self._plan, self.config.n, self.config.candidates, records)
        self._executor = self._make_executor()

    def _work(self) -> Iterator[Outcome]:
        assert self._executor
        assert self._agenda
        for outcome in self._executor.run(self._agenda):
            self._tally.add(outcome)
            yield outcome

    def _make_executor(self) -> Executor:
        workers = self.config.workers
        if self._executor_class is None:
            return InlineExecutor(self.dataset, self._load, max_attempts=workers.max_attempts)
        return self._executor_class(self.dataset, self._load, workers)

    def _finish(self) -> None:
        """Leave manifest, card and report beside the cases, also after an interruption."""
        try:
            self.dataset.compact()
            write_card(self.dataset)
            self._write_report()
        except FactoryError as error:
            if self._ended == "done":
                raise
            _log.warning("the run stopped, and its report could not be written: %s", error)

    def _write_report(self) -> Path:
        stamp = self._started_at.strftime("%Y%m%dT%H%M%S%fZ")
        path = self.dataset.root / "runs" / f"{stamp}.json"
        try:
            replace(path, json.dumps(self.report().to_json(), indent=2).encode())
        except OSError as error:
            raise StorageError(
                str(path), got=str(error), need="room to write", do="Free the disk and run the command again."
            ) from error
        return path

    def report(self) -> RunReport:
        """What this run did, and where the dataset stands."""
        tally, wall = self._tally, self._wall
        ready = self._executor.worker_seconds() if self._executor else 0.0
        return RunReport(
            dataset=str(self.config.out),
            requested=self.config.n,
            complete=self.filled == self.config.n,
            ended=self._ended,
            accepted=self.filled,
            made=tally.status["accepted"],
            rejected=tally.status["rejected"],
            failed=tally.status["failed"],
            unfilled=self._unfilled(),
            reasons=dict(tally.reasons.most_common()),
            wall_seconds=wall,
            cases_per_hour=3600 * tally.status["accepted"] / wall if wall else 0.0,
            busy_fraction=sum(tally.stages.values()) / ready if ready else 0.0,
            workers=self.config.workers.count,
            stage_seconds=dict(tally.stages),
            stored_bytes=tally.stored_bytes,
            started_at=self._started_at.isoformat(timespec="seconds"),
            versions=_versions(),
            config=_plain(self.config),
        )

    def _unfilled(self) -> tuple[Unfilled, ...]:
        if not self._agenda or not self._agenda.unfilled:
            return ()
        why: dict[int, list[str]] = {}
        for record in self.dataset.records():
            why.setdefault(record.index, []).extend(record.reasons)
        return tuple(
            Unfilled(index, self._plan.prompts.row(index).prompt.prompt_id, tuple(why.get(index, ())))
            for index in sorted(self._agenda.unfilled)
        )


def build(config: BuildConfig, load: Callable[[], Models] | None = None) -> RunReport:
    """Build a dataset, or finish or extend one; raises like `Run`."""
    run = Run(config, load)
    for _ in run:
        pass
    return run.report()


def _ray_executor() -> Callable[..., Executor]:
    try:
        from factory.executor_ray import RayExecutor  # heavy and optional
    except ImportError as error:
        raise MissingDependencyError(
            "--workers", got=str(error), need="the package ray", do="pip install 'ct-factory[ray]', or use --workers 1."
        ) from error
    return RayExecutor


def _withdraw_failures(dataset: Dataset, records: list[CaseRecord]) -> list[CaseRecord]:
    """Take back the failed records of slots that have no accepted case."""
    filled = {record.index for record in records if record.status == "accepted"}
    again = {record.case_id for record in records if record.status == "failed" and record.index not in filled}
    for case_id in sorted(again):
        dataset.withdraw(case_id)
    return [record for record in records if record.case_id not in again]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _plain(config: BuildConfig) -> dict[str, Any]:
    """The config as JSON data."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain
