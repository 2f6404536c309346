"""Many workers on one machine or a cluster: Ray actors and one bounded loop. Nothing else uses Ray.

Each worker is an actor with its own models. It commits what it makes and returns the record,
so what travels is kilobytes and a dead worker loses at most the case in its hands. The loop
keeps one case running and at most one queued on each worker, and decides what a failure means:

- A worker that dies takes one attempt from the case it was running, none from the one queued
  behind. If its whole node is gone, the case was innocent and nothing is charged.
- A case that exceeds its time limit takes its worker down, and is charged.
- Before a case is charged or repeated, its commit record is looked up: it may be done.
- A case that brought down `max_attempts` workers is committed as "failed".
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import ActorDiedError, RayError

from factory.config import WorkerConfig
from factory.executor import (
    Executor,
    Models,
    Outcome,
    describe,
    is_transient,
    make_case,
    publish_failure,
)
from factory.plan import Agenda, Job
from factory.worker_env import scratch_folder, worker_environment
from manifests.dataset import Dataset
from manifests.errors import UnknownNameError, WorkerError

__all__ = ["RayExecutor", "connection"]

_log = logging.getLogger(__name__)

_TIMEOUT_S = 1800.0
_PATIENCE_S = 600.0
"""How long no worker may be ready before the run gives up."""
_STILLBORN = 3
"""How many workers in a row may die before any was ever ready."""
_GRACE_S = 15.0
"""How long after a worker's death its node may turn out to be gone."""
_POLL_S = 0.5
_OBJECT_STORE_BYTES = 100 * 2**20


class _Bench:
    """What runs in a worker's process."""

    def __init__(self, root: str, load: Callable[[], Models]) -> None:
        self._root, self._load = root, load
        self._open: tuple[Dataset, Models] | None = None

    def ready(self) -> str | Exception:
        """Load the models; the node this process lives on, or what went wrong."""
        try:
            self._open = self._open or (Dataset.open(self._root), self._load())
        except Exception as error:
            return error
        return str(ray.get_runtime_context().get_node_id())

    def make(self, job: Job, attempt: int) -> Outcome | Exception:
        """Make a case; errors are returned, so that what Ray raises is always the machine's fault."""
        if self._open is None:  # Ray restarted this process with the call already on its way
            if isinstance(problem := self.ready(), Exception):
                return problem
            assert self._open
        try:
            return make_case(job, *self._open, attempt=attempt)
        except Exception as error:
            return error


@dataclass(slots=True)
class _Ticket:
    """A job in the hands of a worker."""

    job: Job
    ref: Any


@dataclass(slots=True, eq=False)
class _Worker:
    """What the loop knows of one actor; `tickets[0]` is running, the rest wait behind it."""

    hire: Callable[[], Any]
    actor: Any = None
    greeting: Any = None
    greet_at: float = 0.0
    node: str = ""
    tickets: deque[_Ticket] = field(default_factory=deque)
    running_since: float = 0.0
    ready_since: float | None = None
    ready_seconds: float = 0.0
    suspect: Job | None = None
    lost_at: float = 0.0
    stillborn: str = ""

    @property
    def ready(self) -> bool:
        return self.ready_since is not None

    def greet(self) -> None:
        """Ask whether the worker is there; a worker that died for good is replaced."""
        if not self.ready and self.greeting is None and time.monotonic() >= self.greet_at:
            self.actor = self.actor or self.hire()
            self.greeting = self.actor.ready.remote()

    def welcome(self, now: float) -> None:
        """Take the answer to the greeting; raises what the models raised on loading."""
        answer, self.greeting = self.greeting, None
        try:
            node = ray.get(answer)
        except RayError as error:
            self.greet_at = now + _POLL_S
            if isinstance(error, ActorDiedError):
                self.actor, self.stillborn = None, describe(error)
            return
        if isinstance(node, Exception):
            raise node
        self.node, self.ready_since = node, now

    def give(self, job: Job, attempt: int, now: float) -> None:
        """Hand the worker a job."""
        if not self.tickets:
            self.running_since = now
        self.tickets.append(_Ticket(job, self.actor.make.remote(job, attempt)))

    def lose(self, now: float) -> list[Job]:
        """The worker is gone: the jobs that waited behind the running one."""
        waiting = [ticket.job for ticket in self.tickets]
        self.tickets.clear()
        self.rest(now)
        self.lost_at, self.greet_at = now, now + _POLL_S
        return waiting

    def rest(self, now: float) -> None:
        """Stop the clock of readiness."""
        if self.ready_since is not None:
            self.ready_seconds += now - self.ready_since
        self.ready_since = None

    @property
    def awaited(self) -> Any:
        """What the loop waits for: the answer to a greeting, or the running case."""
        return self.tickets[0].ref if self.tickets else self.greeting


class RayExecutor(Executor):
    """Makes cases on Ray workers; uses the Ray this process is connected to, or starts one."""

    def __init__(self, dataset: Dataset, load: Callable[[], Models], config: WorkerConfig) -> None:
        self._dataset, self._load, self._config = dataset, load, config
        self._timeout_s = config.timeout_s or _TIMEOUT_S
        self._crew: list[_Worker] = []
        self._backlog: deque[Job] = deque()
        self._attempts: Counter[str] = Counter()
        self._births = 0

    def run(self, agenda: Agenda) -> Iterator[Outcome]:
        """Make every job of the agenda, as workers come free."""
        with connection(self._config):
            self._crew = [_Worker(self._hire) for _ in range(self._config.count)]
            try:
                yield from self._loop(agenda)
            finally:
                self._dismiss()

    def worker_seconds(self) -> float:
        """Seconds during which workers were ready, summed over workers."""
        return sum(worker.ready_seconds for worker in self._crew)

    def _hire(self) -> Any:
        options = {
            "num_cpus": 1,
            "num_gpus": self._config.gpus_per_worker,
            "max_restarts": -1,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": worker_environment()},
        }
        return ray.remote(_Bench).options(**options).remote(str(self._dataset.root.resolve()), self._load)

    def _dismiss(self) -> None:
        now = time.monotonic()
        for worker in self._crew:
            worker.rest(now)
            if worker.actor is not None:
                ray.kill(worker.actor)

    def _loop(self, agenda: Agenda) -> Iterator[Outcome]:
        idle_since = time.monotonic()
        while True:
            now = time.monotonic()
            for worker in self._crew:
                worker.greet()
                for outcome in self._judge(worker, now):
                    yield _settle(agenda, outcome)
            self._distribute(agenda, now)
            if self._at_end(agenda):
                return
            idle_since = now if any(worker.ready for worker in self._crew) else idle_since
            if now - idle_since > _PATIENCE_S:
                raise _nobody_there(now - idle_since)
            for worker in self._wait():
                for outcome in self._collect(worker):
                    yield _settle(agenda, outcome)

    def _wait(self) -> list[_Worker]:
        """Workers that answered, after at most a moment, and those over their time limit."""
        awaited = {worker.awaited: worker for worker in self._crew if worker.awaited is not None}
        if not awaited:
            time.sleep(_POLL_S)
            return []
        done, _ = ray.wait(list(awaited), num_returns=1, timeout=_POLL_S)
        answered = [awaited[ref] for ref in done]
        return answered + [worker for worker in self._crew if self._is_late(worker) and worker not in answered]

    def _is_late(self, worker: _Worker) -> bool:
        return bool(worker.tickets) and time.monotonic() - worker.running_since > self._timeout_s

    def _next(self, agenda: Agenda) -> Job | None:
        return self._backlog.popleft() if self._backlog else agenda.take()

    def _distribute(self, agenda: Agenda, now: float) -> None:
        """One job for every idle worker; a second one to queue while there are plenty."""
        ready = [worker for worker in self._crew if worker.ready]
        for depth in (1, 2):
            for worker in ready:
                plenty = depth == 1 or len(self._backlog) + agenda.waiting > len(ready)
                if len(worker.tickets) < depth and plenty and (job := self._next(agenda)):
                    worker.give(job, self._attempts[job.case_id] + 1, now)

    def _at_end(self, agenda: Agenda) -> bool:
        if any(worker.tickets or worker.suspect for worker in self._crew):
            return False
        if job := self._next(agenda):
            self._backlog.appendleft(job)
            return False
        return True

    def _collect(self, worker: _Worker) -> Iterator[Outcome]:
        """Take what a worker answered: to a greeting, or to its running case."""
        now = time.monotonic()
        if not worker.tickets:
            worker.welcome(now)
            self._count_births(worker)
            return
        ticket = worker.tickets.popleft()
        started, worker.running_since = worker.running_since, now
        if not ray.wait([ticket.ref], timeout=0)[0]:
            self._stop(worker, now)
            yield from self._charge(ticket.job, f"WorkerError: stopped after {now - started:.0f} s")
            return
        try:
            result = ray.get(ticket.ref)
        except RayError as error:
            _log.warning("worker lost while making case %s: %s", ticket.job.case_id, describe(error))
            self._backlog.extendleft(reversed(worker.lose(now)))
            worker.suspect = ticket.job
            return
        if isinstance(result, Outcome):
            yield result
        elif is_transient(result):
            self._stop(worker, now)  # a fresh process also gives back the memory of the device
            yield from self._charge(ticket.job, describe(result))
        else:
            raise result

    def _count_births(self, worker: _Worker) -> None:
        """Give up where workers cannot even start, e.g. where our packages are not installed."""
        stillborn, worker.stillborn = worker.stillborn, ""
        self._births = 0 if worker.ready else self._births + bool(stillborn)
        if self._births >= _STILLBORN:
            raise _cannot_start(stillborn)

    def _stop(self, worker: _Worker, now: float) -> None:
        """Kill a worker's process; Ray starts it again."""
        ray.kill(worker.actor, no_restart=False)
        self._backlog.extendleft(reversed(worker.lose(now)))

    def _judge(self, worker: _Worker, now: float) -> Iterator[Outcome]:
        """Decide who is to blame for a worker's death, once it can be told."""
        if worker.suspect is None:
            return
        job = worker.suspect
        if worker.node not in _living_nodes():
            worker.suspect = None
            self._backlog.appendleft(job)
        elif worker.ready or now - worker.lost_at > _GRACE_S:
            worker.suspect = None
            yield from self._charge(job, "WorkerError: the worker's process died")

    def _charge(self, job: Job, reason: str) -> Iterator[Outcome]:
        """Count an attempt of a case that did not end well, unless it is committed after all."""
        try:
            record = self._dataset.record(job.case_id)
        except UnknownNameError:
            self._attempts[job.case_id] += 1
            attempts = self._attempts[job.case_id]
            _log.warning("case %s, attempt %d: %s", job.case_id, attempts, reason)
            if attempts < self._config.max_attempts:
                self._backlog.append(job)
            else:
                yield publish_failure(job, self._dataset, f"{reason}, {attempts} attempts")
        else:
            yield Outcome(record, record.seconds, record.worker or "")


def _settle(agenda: Agenda, outcome: Outcome) -> Outcome:
    agenda.settle(outcome.record)
    return outcome


def _living_nodes() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _nobody_there(seconds: float) -> WorkerError:
    return WorkerError(
        "Ray",
        got=f"no worker ready for {seconds:.0f} s",
        need="a node with a free core (and GPU, where asked) for a worker",
        do="Check `ray status`, --workers and --gpus-per-worker, then run the same command again: it resumes.",
    )


def _cannot_start(why: str) -> WorkerError:
    return WorkerError(
        "Ray",
        got=f"workers that die as they start: {why}",
        need="this project and its engines installed on every node",
        do="Repair the nodes, then run the same command again: it resumes.",
    )


@contextmanager
def connection(config: WorkerConfig) -> Iterator[None]:
    """Be connected to Ray: as we are, or to an address, or to a Ray of our own that ends with us."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    if config.address:
        try:
            ray.init(address=config.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(config.address, error) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    with scratch_folder() as folder:
        gpus = None if config.gpus_per_worker else 0
        local = {"num_cpus": config.count, "num_gpus": gpus, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            ray.init(include_dashboard=False, _temp_dir=folder, _node_ip_address="127.0.0.1", **local, **quiet)
            yield
        finally:
            ray.shutdown()


def _unreachable(address: str, error: Exception) -> WorkerError:
    return WorkerError(
        f"--address {address}",
        got=describe(error),
        need="a running Ray cluster of this Ray version",
        do="Start one with `ray start --head`, then run the same command again.",
    )
