"""Reading the study: contrast phase and region."""

import re
from collections.abc import Sequence

from manifests.anatomy import PHASES
from prompts.rules.clauses import Clause
from prompts.rules.draft import Draft
from prompts.rules.gazetteer import Mention

__all__ = ["read_study"]

_FILLERS = re.compile(
    r"(?:\b(?:of|the|scans?|images?|imaging|through|his|her|contrast|enhanced|axial|coronal|sagittal|cts?|computed|tomograph(?:y|ic)|and|in|at|for|a|an"
    r"|multi[ -]?detector|sections?|slices?|reconstruct(?:ion|ed)|views?|cuts?|mdct|cect|study|examination|high|neck|head|whole|entire|lower|resolution|helical|spiral|post|pre)\b|[\s,./()-])*"
)
_DELAY = re.compile(
    r"(?<![\d.])(?P<low>\d{1,3})(?:\s?(?:-|\u2013|to)\s?(?P<high>\d{1,3}))?[\s-]?(?P<unit>s|sec|secs|seconds?|min|mins|minutes?)\b"
    r"[\s-]{0,2}(?:(?:after|post|following|delay|p\.?i\.?\b)|(?=delayed))",
    re.IGNORECASE,
)
_NOT_GIVEN = re.compile(
    r"(?<!oral\s)(?<!rectal\s)(?<!enteric\s)\bcontrast(?:\s(?:material|agent|medium|media|substance))?\s(?:(?:is|was|were|are|could|can|has|have|been|be)\s){0,3}not\s(?:been\s|be\s)?(?:given|used|administered|injected|applied)"
    r"|\bwithout\s(?:the\s)?(?:any\s)?(?:use\sof\s|administration\sof\s|giving\s|administering\s|injection\sof\s)?(?:any\s)?(?:intravenous\s|iv\s|i\.v\.\s)?contrast\b(?!\s(?:\w+\s)?(?:uptake|enhancement|extravasation|filling|leak))"
    r"|\bno\s(?:intravenous\s|iv\s|i\.v\.\s)?contrast(?:\s(?:material|agent|medium|media))?\s(?:was|were|is|has)",
    re.IGNORECASE,
)
_PLAIN_SCAN = re.compile(
    r"\bct\s(?:scan\s)?(?:of\s(?:the\s)?)?(?:abdomen|chest|thorax|pelvis|kub|abdomen\sand\spelvis)(?:\s?[(,-]\s?|\s)plain\b|\bplain\s(?:(?:abdominal|chest|thoracic|brain|head|axial|coronal|pelvic|abdominopelvic|cranial|spiral|helical)\s){1,2}(?:ct\b|computed|tomogra)",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\b(?:compar\w+|dated|previous|prior|together\swith)\b", re.IGNORECASE)
_OTHER_SCAN = re.compile(
    r"\b(?:previous|prior(?!\sto)|earlier|recommend\w*|old\s(?:ct|scan|pet|exam\w*|study))\b", re.IGNORECASE
)
_OF_MRI = re.compile(r"[\s-]{1,2}(?:[\w-]{1,20}\s){0,2}(?:MRI|MRCP|MR\b|magnetic\sresonance)")
_COMPARING = re.compile(r"\b(?:compar\w+|together\swith)\b", re.IGNORECASE)
_ANGIOGRAPHY = re.compile(r"angio|cta", re.IGNORECASE)
_PULMONARY_VESSELS = re.compile(
    r"pulmonary\W{1,2}(?:(?:ct|cta|computed)\b|(?:trunk|arter|embol|thrombo|vein|vascul|angio))|\bemboli(?:sm|sation)?\b"
)
_VENOUS_BEFORE = re.compile(r"(?:portal|venous|delayed)[\s-]phase\W{1,3}$", re.IGNORECASE)
_VENOUS_AFTER = re.compile(r"[\s,:(\u2013-]{1,4}(?:portal|venous|delayed|late)[\s-](?:venous\s)?phase", re.IGNORECASE)
_SYSTEMIC = re.compile(r"aort|coronar|carotid|renal arter|mesenteric|iliac|femoral|celiac|coeliac|subclavian")
_LACKING = re.compile(r"\b(?:no|lack\sof|absence\sof)\s(?:available\s|obtained\s|separate\s)?$", re.IGNORECASE)
_ARTERY = re.compile(
    r"arter(?!ial[\s-]phase)|dissect|aneurysm(?!al)|endoleak|stent[\s-]graft|\blimbs?\b|extremit|intracranial|\b(?:a{3}|evar|sma|ica|lad|rca)\b"
)
_NOT_MADE = re.compile(
    r"[^,;.]{0,40}\b(?:was|were)\snot\s(?:obtained|acquired|performed|made|done|available)\b", re.IGNORECASE
)
_SPANS = {"arterial": (15, 45), "portal_venous": (55, 110), "delayed": (150, 1800)}
_PARTS = {
    "chest": {"chest"},
    "abdomen": {"abdomen"},
    "chest_abdomen": {"chest", "abdomen"},
    "abdomen_pelvis": {"abdomen", "pelvis"},
    "torso": {"chest", "abdomen", "pelvis"},
}


def read_study(draft: Draft, parts: Sequence[Clause]) -> None:
    """Read phase and region; a text that names several phases (a multiphase scan) states none."""
    live = [part for part in parts if part.live]
    _read_phase(draft, live)
    _read_region(draft, live)


def _read_phase(draft: Draft, parts: Sequence[Clause]) -> None:
    lower = draft.lower
    found = [
        (m.means.contrast_phase, (part.start + m.start, part.start + m.end))
        for part in parts
        for m in part.mentions
        if m.means.contrast_phase
        and not _of_another_scan(part, m)
        and not _other_vessels(part, m, lower)
        and not _NOT_MADE.match(part.text, m.end)
        and not _LACKING.search(part.text, max(0, m.start - 20), m.start)
    ]
    parts = [part for part in parts if not _OTHER_SCAN.search(part.text)]
    given = [(part, match) for part in parts if "contrast" in part.text for match in _NOT_GIVEN.finditer(part.text)]
    given += [(part, match) for part in parts if "lain" in part.text for match in _PLAIN_SCAN.finditer(part.text)]
    if given:
        absent = [(part.start + match.start(), part.start + match.end()) for part, match in given]
        found = [item for item in found if not any(low <= item[1][0] < high for low, high in absent)]
        found += [("native", span) for span in absent]
    if any(
        unit in draft.lower
        for unit in (" sec ", "sec.", " secs", "seconds", " min ", "mins", "minutes", "0 s ", "5 s ", "0s ", "5s ")
    ):
        found += _delays(draft.text)
    kinds = {phase for phase, _ in found}
    stated = kinds & set(PHASES)
    if len(stated) != 1 or "several" in kinds or ("native" in kinds and kinds & {"enhanced", "early"}):
        return
    if "early" in kinds and not stated & {"arterial", "native"}:
        return
    phase = stated.pop()
    draft.state("study.contrast_phase", phase, next(span for name, span in found if name == phase))


def _of_another_scan(part: Clause, mention: Mention) -> bool:
    """Tell whether a phase is that of an earlier or a recommended scan, or of magnetic resonance."""
    if _OF_MRI.match(part.text, mention.end):
        return True
    other = _OTHER_SCAN.search(part.text)
    if other is None:
        return False
    return other.start() < mention.end or _COMPARING.search(part.text, mention.end, other.start()) is None


def _other_vessels(part: Clause, mention: Mention, lower: str) -> bool:
    """Tell whether a CT angiography names no artery, is that of pulmonary vessels, an earlier one, or timed for veins."""
    if not _ANGIOGRAPHY.search(mention.text):
        return False
    compared = _COMPARED.search(part.text)
    if compared is not None and compared.start() < mention.start:
        return True
    before, after = part.text[max(0, mention.start - 30) : mention.start], part.text[mention.end :]
    if _VENOUS_BEFORE.search(before) or _VENOUS_AFTER.match(after):
        return True
    return _SYSTEMIC.search(lower) is None and (
        _PULMONARY_VESSELS.search(lower) is not None or _ARTERY.search(lower) is None
    )


def _delays(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Phases by the time from the injection (Bae 2010, Radiology 256:32)."""
    found = []
    for match in _DELAY.finditer(text):
        factor = 60 if match["unit"].lower().startswith("m") else 1
        times = [int(match[name]) * factor for name in ("low", "high") if match[name]]
        for phase, (first, last) in _SPANS.items():
            if all(first <= time <= last for time in times):
                found.append((phase, match.span()))
    return found


def _read_region(draft: Draft, parts: Sequence[Clause]) -> None:
    """The union of the regions that are named beside a word for the scan."""
    covered: set[str] = set()
    span: tuple[int, int] | None = None
    for part in parts:
        compared = _COMPARED.search(part.text)
        for m in part.mentions:
            if compared and compared.start() < m.start:
                break
            if m.means.region and _beside_scan(part, m):
                covered |= _PARTS.get(m.means.region, {"pelvis"})
                if m.means.region in _PARTS:
                    here = (part.start + m.start, part.start + m.end)
                    span = here if span is None else span
    if covered == {"chest", "pelvis"}:
        return
    name = next((name for name, held in _PARTS.items() if held == covered), None)
    if name is not None and span is not None:
        draft.state("study.region", name, span)


def _beside_scan(part: Clause, region: Mention) -> bool:
    """Tell whether a word for the scan stands right before ("CT of the ...") or after ("... CT").

    A region before another place is its adjective ("CT of the thoracic oesophagus").
    """
    if any(m.means.place is not None and m.start == region.end + 1 for m in part.mentions):
        return False
    for m in part.mentions:
        if m is region or not (m.means.scan or m.means.contrast_phase):
            continue
        between = part.text[min(m.end, region.end) : max(m.start, region.start)].lower()
        if len(between) < 60 and _FILLERS.fullmatch(between):
            return True
    return False
