"""Reports through a language model: many conversations at once, one row or one reject for each report."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from prompts.extract import make_reject, make_row
from prompts.extraction import Extraction
from prompts.grounding import GROUNDING_VERSION, ground, may_be_english
from prompts.llm.agreement import disagreements
from prompts.llm.answer import Answer
from prompts.llm.chat import ChatError, ChatRequest, RateLimitedError, RefusedRequestError
from prompts.llm.conversation import Ask, converse
from prompts.llm.instructions import INSTRUCTIONS_VERSION, RequestSettings, first_request
from prompts.llm.pace import StoppedError
from prompts.llm.runner import NotCachedError
from prompts.rules import extract
from prompts.sources import Reject, Report
from prompts.table import PromptRow

__all__ = ["LATER", "ModelSettings", "Result", "read_by_model"]

Result = PromptRow | Reject
"""What became of one report."""

LATER = ("rate_limited", "server_error")
"""Beginnings of the reasons that another run may not meet."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model reads, and how.

    Attributes:
        backend: "openai" or "transformers"; with model and instructions it names the extractor.
        model: as requests name it.
        endpoint: as requests name it.
        decoding: length and randomness of answers.
        repairs: times that an answer which cannot be read is asked for again.
        keep_text: whether rows hold the report.
    """

    backend: str
    model: str
    endpoint: str
    decoding: RequestSettings = field(default_factory=RequestSettings)
    repairs: int = 2
    keep_text: bool = False

    @property
    def extractor(self) -> str:
        """Name of the extractor in the rows."""
        return f"{self.backend}:{self.model}/{INSTRUCTIONS_VERSION}/{GROUNDING_VERSION}"

    def first(self, report: Report) -> ChatRequest:
        """Make the request that opens the conversation about a report."""
        return first_request(report.text, self.model, self.endpoint, self.decoding)


async def read_by_model(
    reports: Sequence[Report], settings: ModelSettings, ask: Ask, workers: int, done: Callable[[], None]
) -> list[Result | None]:
    """Read reports, `workers` at a time; `done` is called after each.

    Returns:
        Results in the order of the reports; None where the run ended first.
    """
    results: list[Result | None] = [None] * len(reports)
    numbers = iter(range(len(reports)))  # shared: each worker takes the next

    async def work() -> None:
        for number in numbers:
            try:
                results[number] = await _read(reports[number], number, settings, ask)
            except StoppedError:
                return
            done()

    await asyncio.gather(*(work() for _ in range(min(workers, len(reports)))))
    return results


async def _read(report: Report, number: int, settings: ModelSettings, ask: Ask) -> Result:
    try:
        outcome = await converse(settings.first(report), ask, settings.repairs)
    except ChatError as error:
        return make_reject(report, number, _reason(error))
    if outcome.answer is None:
        assert outcome.failure is not None
        return make_reject(report, number, f"{outcome.failure.kind}: {outcome.failure.detail}")
    found = _compared(report.text, outcome.answer)
    return make_row(report, found, settings.extractor, keep_text=settings.keep_text)


def _compared(text: str, answer: Answer) -> Extraction:
    """Ground an answer, and flag where the rules, which read English alone, read the text differently."""
    found = ground(text, answer)
    if not may_be_english(text):
        return found
    return replace(found, flags=found.flags + disagreements(extract(text).prompt, found.prompt))


def _reason(error: ChatError) -> str:
    if isinstance(error, NotCachedError):
        return "not cached"
    if isinstance(error, RateLimitedError):
        return "rate_limited"
    kind = "refused_request" if isinstance(error, RefusedRequestError) else "server_error"
    return f"{kind}: {error}"
