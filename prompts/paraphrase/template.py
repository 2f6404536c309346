"""A small template language for sentences with parts that may be missing.

    {field}      the words of a field; without them the group around it is left out
    [ ... ]      a group that may be left out: its fields, and one of its inner groups, must be there
    [ a | b ]    the first alternative that can be filled
    <a|b|c>      one of several wordings, drawn from the seed

What is filled reports which attributes of the prompt it states, so a template that cannot state
all of them is known before its text is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from manifests.errors import InvalidValueError

__all__ = ["Draw", "Filled", "Lookup", "Template", "parse_template"]

_CLOSING = {"[": "]", "<": ">"}
_RESERVED = "{}[]<>|"


class Filled(NamedTuple):
    """Words, and the attributes that they state ("patient.age_years", "tumours.0.size_mm")."""

    text: str
    states: frozenset[str] = frozenset()


Draw = Callable[[int], int]
"""Draws a number from 0 to its argument (excluded)."""
Lookup = Callable[[str], Filled | None]
"""Gives the words of a field, or None where the prompt leaves it unstated."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Group:
    alternatives: tuple["Template", ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    wordings: tuple["Template", ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    parts: tuple[str | _Field | _Group | _Choice, ...]

    def fields(self) -> frozenset[str]:
        """Names of all fields in it, those of inner groups included."""
        names: set[str] = set()
        for part in self.parts:
            if isinstance(part, _Field):
                names.add(part.name)
            elif isinstance(part, _Group | _Choice):
                inner = part.alternatives if isinstance(part, _Group) else part.wordings
                names.update(*(template.fields() for template in inner))
        return frozenset(names)

    def fill(self, lookup: Lookup, draw: Draw, optional: bool = False) -> Filled | None:
        """Put words for the fields.

        Returns:
            The words, or None if a field outside of groups has none; where `optional`, also if all
            that could be filled in it are groups, and none was.
        """
        done: list[Filled] = []
        missing: list[bool] = []
        for part in self.parts:
            filled = Filled(part) if isinstance(part, str) else _fill(part, lookup, draw)
            if filled is None and not isinstance(part, _Group):
                return None
            if not isinstance(part, str):
                missing.append(filled is None)
            done.append(filled or Filled(""))
        if optional and missing and all(missing):
            return None
        return Filled("".join(part.text for part in done), frozenset().union(*(part.states for part in done)))


def _fill(part: _Field | _Group | _Choice, lookup: Lookup, draw: Draw) -> Filled | None:
    if isinstance(part, _Field):
        return lookup(part.name)
    if isinstance(part, _Choice):
        return part.wordings[draw(len(part.wordings))].fill(lookup, draw)
    tried = (template.fill(lookup, draw, optional=True) for template in part.alternatives)
    return next((filled for filled in tried if filled is not None), None)


def parse_template(source: str) -> Template:
    """Parse the text of a template.

    Raises:
        InvalidValueError: if a bracket has no partner.
    """
    alternatives, end = _parse(source, 0, "")
    if end != len(source) or len(alternatives) != 1:
        raise _unbalanced(source, end)
    return alternatives[0]


def _parse(source: str, at: int, closing: str) -> tuple[tuple[Template, ...], int]:
    """Parse alternatives up to a closing bracket; return them with the position of that bracket."""
    alternatives: list[Template] = []
    parts: list[str | _Field | _Group | _Choice] = []
    while at < len(source) and source[at] != closing:
        char = source[at]
        if char == "{":
            end = source.find("}", at)
            if end < 0:
                raise _unbalanced(source, at)
            parts.append(_Field(source[at + 1 : end]))
            at = end + 1
        elif char in _CLOSING:
            inner, at = _parse(source, at + 1, _CLOSING[char])
            parts.append(_Group(inner) if char == "[" else _Choice(inner))
            at += 1
        elif char == "|" and closing:
            alternatives.append(Template(tuple(parts)))
            parts, at = [], at + 1
        elif char in "]>}":
            raise _unbalanced(source, at)
        else:
            end = next((i for i in range(at, len(source)) if source[i] in _RESERVED), len(source))
            end = max(end, at + 1)
            parts.append(source[at:end])
            at = end
    if closing and at >= len(source):
        raise _unbalanced(source, at)
    return (*alternatives, Template(tuple(parts))), at


def _unbalanced(source: str, at: int) -> InvalidValueError:
    return InvalidValueError(
        "template of a paraphrase",
        got=f"a bracket without a partner at {at}: {source[max(0, at - 20) : at + 20]!r}",
        need="balanced { }, [ ] and < >",
        do="Correct prompts/paraphrase/forms.toml.",
    )
