"""The instructions to a model: versioned templates, and the first request about a report.

The templates stand in `templates/`. Whoever changes one raises its version, because cached answers belong to a version.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from prompts.llm.answer import answer_schema, empty_answer, vocabulary
from prompts.llm.chat import ChatRequest, Message

__all__ = ["INSTRUCTIONS_VERSION", "REPAIR_VERSION", "RequestSettings", "first_request", "repair_message"]

INSTRUCTIONS_VERSION = "extract-1"
REPAIR_VERSION = "repair-1"


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How an answer is decoded; see `ChatRequest`."""

    max_output_tokens: int = 1024
    temperature: float = 0.0
    seed: int | None = 0


def _load(name: str) -> str | None:
    try:
        return files("prompts.llm").joinpath("templates", name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None  # Jinja names the missing template


@cache
def _environment() -> Environment:
    # prompts are plain text, so there is nothing to escape
    environment = Environment(loader=FunctionLoader(_load), undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.globals["choices"] = lambda name: ", ".join(vocabulary(name))
    return environment


@cache
def _schema() -> dict[str, Any]:
    """One object for all requests: making it takes longer than a request."""
    return answer_schema()


@cache
def _system() -> str:
    empty = json.dumps(empty_answer().model_dump(mode="json"), separators=(",", ":"))
    return _environment().get_template(f"{INSTRUCTIONS_VERSION}.system.j2").render(empty=empty)


def first_request(report: str, model_name: str, endpoint: str, settings: RequestSettings) -> ChatRequest:
    """Make the request that opens the conversation about a report.

    The lines around the report carry a hash of it: no report can contain its own closing line.
    """
    mark = hashlib.sha256(report.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    user = _environment().get_template(f"{INSTRUCTIONS_VERSION}.user.j2").render(report=report, mark=mark)
    return ChatRequest(
        model=model_name,
        endpoint=endpoint,
        messages=(Message("system", _system()), Message("user", user)),
        schema=_schema(),
        template=INSTRUCTIONS_VERSION,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
    )


def repair_message(problem: str) -> Message:
    """Ask for the answer again, with what was wrong with it."""
    return Message("user", _environment().get_template(f"{REPAIR_VERSION}.j2").render(problem=problem))
