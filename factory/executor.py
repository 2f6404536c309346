"""How one case is made, and who makes the cases of an agenda.

`make_case` is all that a worker does: draw, render, assess, commit. It returns the record,
never volumes. An executor takes jobs from an agenda and yields outcomes; the one here works
in this process, `factory.executor_ray` in many. What follows holds for both:

- A drawing that the gate refuses is committed as "rejected"; where the dataset's spec says that the gate is not
  enforced, as "accepted" with the gate's reasons.
- An error of an engine is deterministic: the case is committed as "failed" and not repeated.
- `WorkerError` and running out of memory may pass: the case is tried again, at most
  `max_attempts` times, then committed as "failed".
- A failing store stops the run, which can be resumed.

In this process a case that hangs cannot be interrupted and one that kills its process ends
the build; limits in seconds and quarantine of such cases need workers of their own.
"""

import logging
import os
import platform
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from factory.engines.base import ImageModel, MaskModel, Masks, Request, as_drawn, check_ct, check_masks
from factory.plan import Agenda, Job
from factory.quality import Verdict
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.errors import RetryError, StorageError
from manifests.identity import canonical_json

__all__ = [
    "Executor",
    "InlineExecutor",
    "Models",
    "Outcome",
    "describe",
    "is_transient",
    "make_case",
    "model_label",
    "publish_failure",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Models:
    """What makes a case: two models and the gate.

    Attributes:
        masks: prompt to anatomy and lesions.
        images: prompt and masks to CT.
        assess: the gate; a verdict on the arrays of a request.
        gate: identity of the gate's thresholds.
    """

    masks: MaskModel
    images: ImageModel
    assess: Callable[[Request, Arrays], Verdict]
    gate: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        record: what was committed.
        seconds: working time by stage: draw, render, assess, save.
        worker: who did it; empty where no worker lived to tell.
    """

    record: CaseRecord
    seconds: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""


class Executor(ABC):
    """Takes jobs from an agenda until it is empty, and tells how each ended."""

    @abstractmethod
    def run(self, agenda: Agenda) -> Iterator[Outcome]:
        """Yield outcomes as they come, each already committed and settled in the agenda.

        Closing the iterator abandons what is in flight; the dataset stays resumable.

        Raises:
            StorageError: if the dataset cannot be written.
            WorkerError: if there is no worker and none comes back.
        """

    @abstractmethod
    def worker_seconds(self) -> float:
        """Seconds during which workers were ready to work, summed over workers."""


class InlineExecutor(Executor):
    """Makes cases one after another in this process."""

    def __init__(self, dataset: Dataset, load: Callable[[], Models], *, max_attempts: int) -> None:
        self._dataset, self._load, self._max_attempts = dataset, load, max_attempts
        self._started = self._ended = 0.0

    def run(self, agenda: Agenda) -> Iterator[Outcome]:
        """Make every job of the agenda, in order."""
        models = self._load()
        self._started = self._ended = time.monotonic()
        while job := agenda.take():
            outcome = self._make(job, models)
            self._ended = time.monotonic()
            agenda.settle(outcome.record)
            yield outcome

    def worker_seconds(self) -> float:
        """Seconds between the first job and the end of the last."""
        return self._ended - self._started

    def _make(self, job: Job, models: Models) -> Outcome:
        for attempt in range(1, self._max_attempts + 1):
            try:
                return make_case(job, self._dataset, models, attempt=attempt)
            except (RetryError, MemoryError) as error:
                if not is_transient(error):
                    raise
                _log.warning("case %s, attempt %d: %s", job.case_id, attempt, error)
                reason = f"{describe(error)}, {attempt} attempts"
        return publish_failure(job, self._dataset, reason)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same case may succeed on another attempt, and the fault is not the store's."""
    return isinstance(error, RetryError | MemoryError) and not isinstance(error, StorageError)


def describe(error: BaseException) -> str:
    """One line for the manifest: kind and message of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


class _Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Book the time since the last stage ended to this one."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def make_case(job: Job, dataset: Dataset, models: Models, *, attempt: int = 1) -> Outcome:
    """Draw, render, assess and commit one case.

    Returns:
        The outcome with the committed record: accepted, rejected or failed. Where another
        worker committed the case first, its record stands.

    Raises:
        StorageError: if the dataset cannot be written.
        RetryError, MemoryError: if another attempt may succeed.
    """
    watch = _Stopwatch()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    base = _blank_record(job, dataset).model_copy(update={"worker": worker, "attempt": attempt})
    try:
        arrays, found = _produce(job, models, watch)
        if not dataset.spec.gate.get("enforced", True):
            found["status"] = "accepted"
    except (RetryError, MemoryError):
        raise
    except Exception as error:  # whatever an engine raises becomes a row with its reason
        _log.info("case %s failed", job.case_id, exc_info=True)
        watch.stop("draw")
        found = {"status": "failed", "reasons": (describe(error),)}
        arrays = None
    record = base.model_copy(update={**found, "seconds": dict(watch.seconds)})
    committed = dataset.save(record, arrays) if arrays and record.status == "accepted" else _publish(dataset, record)
    watch.stop("save")
    return Outcome(committed, watch.seconds, worker)


def _produce(job: Job, models: Models, watch: _Stopwatch) -> tuple[Arrays, dict[str, Any]]:
    """Make the arrays of a job and the fields of its record that depend on them."""
    request = job.request()
    masks = models.masks.draw(request)
    check_masks(masks, request.grid)
    request = as_drawn(request, masks)
    watch.stop("draw")
    ct = models.images.render(request, masks)
    check_ct(ct, request.grid)
    watch.stop("render")
    arrays = Arrays(request.grid, ct, masks.anatomy, masks.lesions)
    verdict = models.assess(request, arrays)
    watch.stop("assess")
    return arrays, {
        "status": "accepted" if verdict.accepted else "rejected",
        "reasons": verdict.reasons,
        "drawn": request.subject.attributes(),
        "measured": verdict.measured,
        "lesions": verdict.lesions,
        "structures": verdict.structures,
        "notes": _notes(request, masks, models.gate),
        "patient_id": masks.patient_id,
        "licence": masks.licence,
    }


def _notes(request: Request, masks: Masks, gate: Mapping[str, Any]) -> dict[str, str]:
    """What the mask model notes; where the dial is not 0, the dial and what the gate makes of it."""
    notes = dict(masks.notes)
    if request.randomise:
        notes["randomise"] = f"{request.randomise:g}"
        notes["gate"] = f"margins of intensity x {1 + gate.get('hu_widen', 0.0) * request.randomise:g}"
    return notes


def _blank_record(job: Job, dataset: Dataset) -> CaseRecord:
    """The record of a job before anything is drawn; its status is still "failed"."""
    spec, row, grid = dataset.spec, job.row, job.grid
    return CaseRecord(
        case_id=job.case_id,
        status="failed",
        index=job.index,
        candidate=job.candidate,
        prompt_id=row.prompt.prompt_id,
        prompt_json=canonical_json(row.prompt.model_dump(mode="json", exclude_none=True, exclude_defaults=True)),
        prompt_text=row.text,
        template=row.template,
        source=row.source,
        requested=row.prompt.attributes(),
        mask_model=model_label(spec.mask_model),
        image_model=model_label(spec.image_model),
        weights_sha256=_weights(spec.mask_model, spec.image_model),
        spec_id=spec.spec_id,
        run_seed=spec.run_seed,
        factory_version=spec.factory_version,
        anatomy_table=spec.anatomy_table,
        shape_zyx=grid.shape_zyx,
        spacing_mm_zyx=grid.spacing_mm_zyx,
        origin_mm_xyz=grid.origin_mm_xyz,
        device="cpu",
        platform=platform.platform(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def model_label(identity: Mapping[str, str]) -> str:
    """Name and version of a model for a column of the manifest."""
    return " ".join(identity[key] for key in ("name", "version") if key in identity)


def _weights(*identities: Mapping[str, str]) -> str | None:
    return "+".join(found["weights_sha256"] for found in identities if "weights_sha256" in found) or None


def _publish(dataset: Dataset, record: CaseRecord) -> CaseRecord:
    """Commit a record without arrays; where the case has one already, that one stands."""
    return record if dataset.publish(record) else dataset.record(record.case_id)


def publish_failure(job: Job, dataset: Dataset, reason: str) -> Outcome:
    """Commit a case that no worker could make."""
    record = _blank_record(job, dataset).model_copy(update={"reasons": (reason,)})
    return Outcome(_publish(dataset, record))
