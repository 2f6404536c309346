"""Where two extractors disagree on a text: flags for a human reader, nothing is changed."""

from prompts.schema import Prompt, Tumour

__all__ = ["disagreements"]


def disagreements(by_rules: Prompt, by_model: Prompt) -> tuple[str, ...]:
    """Compare the fields that both state, and the organs of their tumours; e.g. "sex: rules male, model female"."""
    flags = [
        f"{name}: rules {first:g}, model {second:g}"
        if isinstance(first, float)
        else f"{name}: rules {first}, model {second}"
        for part in ("patient", "study")
        for name, first in getattr(by_rules, part)
        if first is not None and (second := getattr(getattr(by_model, part), name)) not in (None, first)
    ]
    ours, theirs = _organs(by_rules), _organs(by_model)
    if ours.keys() != theirs.keys():
        flags.append(f"tumours: rules {_named(ours)}, model {_named(theirs)}")
    for organ in ours.keys() & theirs.keys():
        flags += _compare(organ, ours[organ], theirs[organ])
    for part in ("absent_organs", "enlarged_organs"):
        if (first := getattr(by_rules, part)) != (second := getattr(by_model, part)):
            flags.append(f"{part}: rules {_named(first)}, model {_named(second)}")
    return tuple(flags)


def _organs(prompt: Prompt) -> dict[str, list[Tumour]]:
    organs: dict[str, list[Tumour]] = {}
    for tumour in prompt.tumours:
        organs.setdefault(tumour.organ, []).append(tumour)
    return organs


def _named(names: object) -> str:
    listed = ", ".join(sorted(names)) if isinstance(names, dict | tuple) else ""
    return listed or "none"


def _compare(organ: str, ours: list[Tumour], theirs: list[Tumour]) -> list[str]:
    """Compare one organ's tumours where both see one entry, else how many entries they see."""
    if len(ours) != len(theirs):
        return [f"tumours of the {organ}: rules {len(ours)}, model {len(theirs)}"]
    if len(ours) > 1:
        return []
    return [
        f"{organ} {name}: rules {first:g}, model {second:g}"
        if isinstance(first, float)
        else f"{organ} {name}: rules {first}, model {second}"
        for name, first in ours[0]
        if first is not None and (second := getattr(theirs[0], name)) not in (None, first)
    ]
