"""Reading T, N and M classes: "pT3a N1 M0", "stage T2"."""

import re
from collections.abc import Sequence
from typing import get_args

from prompts.rules.clauses import Clause
from prompts.rules.findings import Finding
from prompts.schema import MStage, NStage, TStage

__all__ = ["read_stages"]

_PREFIX = r"(?:y?[cp]{1,2}|[ra]|yc|yp)?"
_T, _N, _M = rf"{_PREFIX}T(?:is|[0-4X][a-d]?)", rf"{_PREFIX}N[0-3X][a-c]?", rf"{_PREFIX}M[01X][a-c]?"
_GAP = r"[\s,;/]{0,3}"
_STAGE = re.compile(
    rf"(?<![\w-])(?:(?P<t>{_T})(?:{_GAP}(?P<n>{_N}))?(?:{_GAP}(?P<m>{_M}))?|(?P<n2>{_N})(?:{_GAP}(?P<m2>{_M}))?|(?P<m3>{_M}))(?=N\+|(?![\w-]))"
)
_LEAD = re.compile(
    r"(?:\bstaged?|\bstaging|\btnm|\bclassified|\bclassification)\b[\s:,(]{0,4}(?:as|is|of)?[\s:,(]{0,4}$",
    re.IGNORECASE,
)
_NOUN = re.compile(
    r"\s(?!hyper|hypo|iso|weight|bright|signal|dark|vertebra)(?:\w{2,20}\s)?(?:cancer|carcinoma|adenocarcinoma|tumou?r|ca)\b",
    re.IGNORECASE,
)
_HINT = re.compile(r"[TNM](?:is|[0-4X])")


def read_stages(part: Clause, findings: Sequence[Finding]) -> None:
    """Give each class to the nearest of the findings; a lone "T2" counts beside "stage", before the noun or with a prefix alone."""
    if not findings or not _HINT.search(part.text):
        return
    for found in _STAGE.finditer(part.text):
        stages = {
            "t_stage": _known(found["t"], get_args(TStage)),
            "n_stage": _known(found["n"] or found["n2"], get_args(NStage)),
            "m_stage": _known(found["m"] or found["m2"] or found["m3"], get_args(MStage)),
        }
        groups = [found[name] for name in ("t", "n", "m", "n2", "m2", "m3") if found[name]]
        marked = groups[0][0] in "cpyra" or _LEAD.search(part.text, max(0, found.start() - 40), found.start())
        before_noun = found["t"] and _NOUN.match(part.text, found.end())
        if len(groups) < 2 and not marked and not before_noun:
            continue
        nearest = min(findings, key=lambda f: min(abs(start - found.start()) for start, _ in f.heads))
        for name, value in stages.items():
            nearest.state(name, value, (part.start + found.start(), part.start + found.end()))


def _known(text: str | None, vocabulary: Sequence[str]) -> str | None:
    """The class of the vocabulary that a stage is, or is a finer class of."""
    if not text:
        return None
    plain = text.lstrip("cpyra")
    return next((name for name in (plain, plain[:2]) if name in vocabulary), None)
