"""What a model is asked to answer: a small flat JSON object, and reading one.

Every vocabulary is closed and has an explicit member "not_stated": an optional null makes some servers invent
a member instead. There are no defaults, bounds or lengths, which some servers refuse in a schema; numbers come as
text and are checked against the report by `prompts.grounding`. The quote stands before its value, so that
a model looks before it answers.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from manifests.anatomy import PHASES, sites
from prompts.schema import REGIONS, MStage, NStage, Race, TStage, tumour_organs

__all__ = [
    "NOT_STATED",
    "OTHER",
    "Answer",
    "AnswerError",
    "OrganAnswer",
    "TumourAnswer",
    "answer_schema",
    "empty_answer",
    "parse_answer",
    "vocabulary",
]

NOT_STATED = "not_stated"
OTHER = "other"
"""The organ of a tumour that no prompt can have."""


def _part_names() -> tuple[str, ...]:
    """Sites that say more than their organ."""
    return tuple(name for organ in tumour_organs() for name in sites(organ) if name != organ)


_VOCABULARY: dict[str, tuple[str, ...]] = {
    "age_unit": ("years", "months", "weeks", "days"),
    "sex": ("male", "female"),
    "race": get_args(Race),
    "height_unit": ("cm", "m", "in"),
    "weight_unit": ("kg", "g", "lb"),
    "phase": PHASES,
    "region": REGIONS,
    "organ": (*tumour_organs(), OTHER),
    "site": _part_names(),
    "side": ("left", "right"),
    "size_unit": ("mm", "cm", "in"),
    "t": get_args(TStage),
    "n": get_args(NStage),
    "m": get_args(MStage),
    "structure": (*tumour_organs(), *_part_names(), "heart"),
}


def vocabulary(name: str) -> tuple[str, ...]:
    """Members of one closed vocabulary of the answer, without "not_stated"."""
    return _VOCABULARY[name]


@dataclass(frozen=True, slots=True)
class _Of:
    """One member of a vocabulary, or "not_stated"."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema([*_VOCABULARY[self.name], NOT_STATED])


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TumourAnswer(_Part):
    """One tumour that a report speaks of; `quote` names the tumour with its place."""

    quote: str
    status: Literal["present", "absent", "uncertain", "history", "metastasis"]
    organ: Annotated[str, _Of("organ")]
    site: Annotated[str, _Of("site")]
    side: Annotated[str, _Of("side")]
    count: str
    size_quote: str
    size: str
    size_unit: Annotated[str, _Of("size_unit")]
    stage_quote: str
    t: Annotated[str, _Of("t")]
    n: Annotated[str, _Of("n")]
    m: Annotated[str, _Of("m")]


class OrganAnswer(_Part):
    """One organ that is gone or too large."""

    quote: str
    state: Literal["absent", "enlarged"]
    organ: Annotated[str, _Of("structure")]


class Answer(_Part):
    """One answer about one report; what the report does not say is "not_stated", with an empty quote."""

    age_quote: str
    age: str
    age_unit: Annotated[str, _Of("age_unit")]
    sex_quote: str
    sex: Annotated[str, _Of("sex")]
    race_quote: str
    race: Annotated[str, _Of("race")]
    height_quote: str
    height: str
    height_unit: Annotated[str, _Of("height_unit")]
    weight_quote: str
    weight: str
    weight_unit: Annotated[str, _Of("weight_unit")]
    phase_quote: str
    phase: Annotated[str, _Of("phase")]
    region_quote: str
    region: Annotated[str, _Of("region")]
    tumours: tuple[TumourAnswer, ...]
    organs: tuple[OrganAnswer, ...]


class AnswerError(Exception):
    """A text that is no answer; `detail` names fields of the answer and never quotes the text."""

    def __init__(self, kind: Literal["invalid_json", "schema"], detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: Literal["invalid_json", "schema"] = kind
        self.detail = detail


def empty_answer() -> Answer:
    """The answer about a report that states nothing."""
    plain = {name: "" if name.endswith("quote") else NOT_STATED for name in Answer.model_fields}
    return Answer.model_validate({**plain, "tumours": (), "organs": ()})


def answer_schema() -> dict[str, Any]:
    """JSON schema of an answer for `response_format`: closed, all fields required, no references."""
    schema = Answer.model_json_schema()
    inlined = _inline(schema, schema.get("$defs", {}))
    return {key: value for key, value in inlined.items() if key != "$defs"}


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    """Copy a schema with its references replaced and without titles and descriptions."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    return {
        key: {name: _inline(item, definitions) for name, item in value.items()}
        if key == "properties"
        else _inline(value, definitions)
        for key, value in node.items()
        if key not in ("title", "description")
    }


_FENCED = re.compile(r"```[a-zA-Z]*\s*(?=\{)")
_MAX_CHARS = 200_000
"""A longer text is no answer to any report."""


def parse_answer(text: str) -> Answer:
    """Read what a model wrote: JSON, perhaps after its thoughts, in a fence, or with prose after it.

    Raises:
        AnswerError: if there is no such JSON, or it is no answer.
    """
    body = text[:_MAX_CHARS].lstrip("\ufeff \t\r\n")
    if not body.startswith("{") and "</think>" in body:
        body = body.split("</think>", 1)[1].lstrip()
    fence = None if body.startswith("{") else _FENCED.search(body)
    start = fence.end() if fence else 0
    if not body.startswith("{", start):
        raise AnswerError("invalid_json", "the answer does not start with an object")
    try:
        data, _ = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(body, start)
    except (ValueError, RecursionError) as error:
        where = f"at character {error.pos - start}" if isinstance(error, json.JSONDecodeError) else "in a value"
        raise AnswerError("invalid_json", f"no valid JSON {where}") from None
    return _validate(data)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    for value in content.values():
        if isinstance(value, str):
            value.encode()  # half a surrogate pair is no text, and raises
    return content


def _validate(data: Any) -> Answer:
    try:
        return Answer.model_validate(data)
    except ValidationError as error:
        problems = [_problem(item["type"], item["loc"]) for item in error.errors(include_url=False)[:5]]
        raise AnswerError("schema", "; ".join(problems)) from None


_KNOWN = {*Answer.model_fields, *TumourAnswer.model_fields, *OrganAnswer.model_fields}
_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is no field of the answer",
    "literal_error": "is not one of the allowed values",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
}


def _problem(kind: str, location: Sequence[int | str]) -> str:
    """Describe one error; names that the model made up are not repeated."""
    known = [str(part) if isinstance(part, int) or part in _KNOWN else "another name" for part in location]
    return f"{'.'.join(known)} {_PROBLEMS.get(kind, 'is not valid')}"
