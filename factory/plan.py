"""What a build makes: prompts in order, jobs, and the agenda that turns verdicts into next jobs.

Slot i of a dataset is one case to deliver; it has the prompt of row i of its source. A job is
one drawing for one slot. Its identity hashes prompt, models, grid, run seed, slot and
candidate, so a plan is the same on every run and a longer one only adds slots. A refused
drawing is followed by the slot's next candidate: rejection never swaps one prompt for another.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factory.config import Preset
from factory.engines.base import Request
from manifests.case import CaseRecord
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.identity import content_hash, make_case_id, rng
from prompts.render import TEMPLATE_VERSION, render
from prompts.sampling import Distribution, complete
from prompts.table import PromptRow, read_prompts

__all__ = ["Agenda", "Job", "Plan", "Prompts"]


@dataclass(frozen=True, slots=True)
class Job:
    """One drawing for one slot; pure data, small, repeatable anywhere.

    Attributes:
        case_id: identity of the case this job makes.
        index: slot of the dataset, from 0.
        candidate: number of earlier drawings for this slot that were not accepted.
        row: the prompt with its text and where it came from.
        grid: where the voxels lie.
        randomise: the dial of `Request`.
    """

    case_id: str
    index: int
    candidate: int
    row: PromptRow
    grid: Grid
    randomise: float = 0.0

    def request(self) -> Request:
        """The engine's view of this job: what is unstated in the prompt is drawn here."""
        subject = complete(self.row.prompt, rng(self.case_id, "subject"))
        return Request(self.case_id, self.row.prompt, subject, self.grid, randomise=self.randomise)


@dataclass(frozen=True, slots=True)
class Prompts:
    """An endless, numbered sequence of prompts.

    Attributes:
        origin: where they come from and a hash of their content; part of a dataset's spec.
        row: prompt number i, for any i from 0.
        length: rows before the sequence repeats; None where it never does.
    """

    origin: Mapping[str, str]
    row: Callable[[int], PromptRow]
    length: int | None = None

    @classmethod
    def from_rows(cls, rows: tuple[PromptRow, ...], origin: str = "manifest") -> "Prompts":
        """The given rows, over and over.

        Raises:
            InvalidValueError: if there is no row.
        """
        if not rows:
            raise InvalidValueError(
                origin, got="no prompts", need="at least one prompt", do="Write prompts first: factory prompts --help."
            )
        digest = content_hash([row.prompt.prompt_id for row in rows])
        return cls({"origin": "manifest", "hash": digest}, lambda index: rows[index % len(rows)], len(rows))

    @classmethod
    def from_manifest(cls, path: Path) -> "Prompts":
        """The rows of a prompts table, over and over; a report text in it stays out of the dataset.

        Raises:
            FileFormatError, LocationError, InvalidValueError: if there is no such table or it has no rows.
        """
        rows = tuple(replace(row, report_text=None) for row in read_prompts(path))
        return cls.from_rows(rows, origin=f"--manifest {path}")

    @classmethod
    def from_distribution(cls, distribution: Distribution, seed: int) -> "Prompts":
        """Draws of an attribute distribution; draw i is the same however many are taken."""

        def draw(index: int) -> PromptRow:
            prompt = distribution.draw(seed, index)
            source = f"distribution {distribution.name}, seed {seed}, draw {index}"
            return PromptRow(prompt=prompt, text=render(prompt), source=source, template=TEMPLATE_VERSION)

        return cls({"origin": f"distribution {distribution.name}", "hash": distribution.distribution_id}, draw)

    def table(self, n: int) -> list[PromptRow]:
        """The rows that the first n slots use, each once where the sequence repeats."""
        return [self.row(index) for index in range(self.length or n)]


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of one dataset, computed on demand.

    Attributes:
        prompts: the prompt of each slot.
        preset: resolution and field of view.
        making: identity of what draws: models, weights, grid, run seed and, where it is not 0, `randomise`.
    """

    prompts: Prompts
    preset: Preset
    making: Mapping[str, Any]

    @property
    def randomise(self) -> float:
        """The dial of every request of this plan."""
        return float(self.making.get("randomise", 0.0))

    def job(self, index: int, candidate: int = 0) -> Job:
        """The drawing number `candidate` of slot `index`."""
        row = self.prompts.row(index)
        case_id = make_case_id(prompt_id=row.prompt.prompt_id, spec=self.making, index=index, candidate=candidate)
        return Job(case_id, index, candidate, row, self.preset.grid(row.prompt.study.region), self.randomise)


@dataclass(slots=True)
class Agenda:
    """What is left to do until n slots have an accepted case, given what is already settled.

    Args:
        plan: all jobs.
        n: number of slots.
        candidates: drawings allowed for one slot.
        records: what earlier runs committed.
    """

    plan: Plan
    n: int
    candidates: int
    records: Iterable[CaseRecord] = ()
    unfilled: list[int] = field(default_factory=list, init=False)
    """Slots whose candidates are spent without an accepted case."""
    _settled: set[str] = field(init=False)
    _filled: set[int] = field(init=False)
    _next: deque[Job] = field(default_factory=deque, init=False)
    _slots: Iterator[int] = field(init=False)
    _untouched: int = field(init=False)

    def __post_init__(self) -> None:
        """Read the committed records once."""
        records = list(self.records)
        self._settled = {record.case_id for record in records}
        self._filled = {record.index for record in records if record.status == "accepted" and record.index < self.n}
        self._slots = iter([index for index in range(self.n) if index not in self._filled])
        self._untouched = self.n - len(self._filled)

    @property
    def filled(self) -> int:
        """Number of slots that have their accepted case."""
        return len(self._filled)

    @property
    def waiting(self) -> int:
        """Upper bound on the jobs that could be taken now."""
        return self._untouched + len(self._next)

    def take(self) -> Job | None:
        """The next job; None while there is nothing that could start now."""
        if self._next:
            return self._next.popleft()
        for index in self._slots:
            self._untouched -= 1
            if job := self._open(index, 0):
                return job
        return None

    def settle(self, record: CaseRecord) -> None:
        """Note how a job ended; a slot without an accepted case gets its next candidate."""
        self._settled.add(record.case_id)
        if record.status == "accepted":
            self._filled.add(record.index)
        elif job := self._open(record.index, record.candidate + 1):
            self._next.append(job)

    def _open(self, index: int, first: int) -> Job | None:
        """First unsettled candidate of a slot from `first`; a slot with none is unfilled."""
        for candidate in range(first, self.candidates):
            job = self.plan.job(index, candidate)
            if job.case_id not in self._settled:
                return job
        self.unfilled.append(index)
        return None
