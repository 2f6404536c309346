"""The sections of a report, by their headings: English and German, on lines of their own or inside a line.

A heading is a known phrase with a colon at the start of a line or after punctuation, or alone on a line.
Dictation systems that lose line breaks ("EXAM: ,CT ABDOMEN,FINDINGS: ,...") are read too.
"""

import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

__all__ = ["SECTION_NAMES", "Section", "split_sections"]

_HEADINGS = MappingProxyType(
    {
        "exam": "exam|examination|exam type|study|procedure|examination performed|untersuchung|untersuchungsart",
        "indication": "indication|indications|clinical indication|indication for study|indication for exam|reason for exam"
        "|reason for examination|reason for study|reason for this examination|history|clinical history|patient history"
        "|history of present illness|past medical history|clinical information|clinical details|clinical data|clinical question"
        "|clinical background|clinical statement|pmh|hpi|klinische angaben|klinische angabe|klinik|klinische fragestellung"
        "|klinische information|klinische informationen|fragestellung|indikation|rechtfertigende indikation|anamnese"
        "|klinische angaben und fragestellung|klinische angaben/fragestellung|klinik und fragestellung|klinik/fragestellung",
        "technique": "technique|techniques|procedure and technique|imaging technique|ct technique|scan technique|protocol"
        "|acquisition|method|methods|technik|untersuchungstechnik|technische durchführung|durchführung|methode|methodik"
        "|untersuchungsprotokoll|protokoll",
        "comparison": "comparison|comparisons|comparison study|comparison studies|compared to|prior studies|prior study"
        "|previous studies|vergleich|voraufnahme|voraufnahmen|voruntersuchung|voruntersuchungen|vergleichsuntersuchung",
        "findings": "findings|finding|ct findings|imaging findings|radiological findings|technique and findings|report"
        "|description|befund|befunde|befundbeschreibung|ct-befund|bildgebender befund",
        "impression": "impression|impressions|ct impression|conclusion|conclusions|opinion|interpretation|summary"
        "|findings and impression|impression and recommendation|impression and recommendations|impression/recommendation"
        "|impression/recommendations|beurteilung|zusammenfassung|zusammenfassende beurteilung|gesamtbeurteilung"
        "|beurteilung und empfehlung|fazit",
        "recommendation": "recommendation|recommendations|empfehlung|empfehlungen|procedere",
        "addendum": "addendum|addenda|nachtrag|ergänzung|korrektur",
    }
)
SECTION_NAMES: tuple[str, ...] = (*_HEADINGS, "body")
"""Names that sections can have; "body" is text under no known heading."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section: characters `start` to `end` (excluded), its heading included.

    Attributes:
        name: one of `SECTION_NAMES`.
        start: where the heading begins.
        end: where the next section begins.
        content: where the text after the heading begins.
    """

    name: str
    start: int
    end: int
    content: int


@cache
def _names() -> dict[str, str]:
    return {phrase: name for name, phrases in _HEADINGS.items() for phrase in phrases.split("|")}


@cache
def _pattern() -> re.Pattern[str]:
    longest = sorted(_names(), key=len, reverse=True)
    phrase = "|".join(re.escape(words).replace(r"\ ", r"[ \t]+").replace("/", "[ \t]*/[ \t]*") for words in longest)
    aside = r"(?:[ \t]*\([^()\r\n]{1,40}\))?"  # FINDINGS (CT chest):
    return re.compile(
        rf"(?:(?P<line>(?:^|(?<=[\r\n]))[ \t>#*_\-•\d.)]{{0,8}})|(?P<inline>(?<=[.,;:!?)\]])[ \t]*|(?<=[ \t])))"
        rf"(?P<phrase>{phrase})(?![^\W_]){aside}[ \t]*[*_]{{0,2}}"
        rf"(?:(?P<colon>[ \t]*[:\uff1a][*_]{{0,2}})|(?=[ \t]*(?:[\r\n]|\Z)))",
        re.IGNORECASE,
    )


def split_sections(text: str) -> tuple[Section, ...]:
    """Split a report at its headings; the spans tile the text. An empty text has no sections.

    A section may come twice (two impressions, two addenda), and text before the first heading is "body".
    """
    heads = [(match.start(), match.end(), _names()[_key(match["phrase"])]) for match in _headings(text)]
    if text and (not heads or heads[0][0] > 0):
        lead = heads[0][0] if heads else len(text)
        if text[:lead].strip() or not heads:
            heads.insert(0, (0, 0, "body"))
        else:
            heads[0] = (0, *heads[0][1:])
    ends = [*(start for start, _, _ in heads[1:]), len(text)] if heads else []
    return tuple(Section(name, start, end, content) for (start, content, name), end in zip(heads, ends, strict=True))


def _key(phrase: str) -> str:
    return re.sub(r"\s*/\s*", "/", re.sub(r"\s+", " ", phrase.lower()))


def _headings(text: str) -> list[re.Match[str]]:
    return [match for match in _pattern().finditer(text) if _stands(text, match)]


def _stands(text: str, match: re.Match[str]) -> bool:
    """Whether a phrase is a heading where it stands, rather than a word of a sentence.

    At the start of a line it needs a colon, or a capital and nothing after it; inside a line a colon and
    capitals: all of them, or the first one after punctuation.
    """
    phrase = match["phrase"]
    if match["line"] is not None:
        return match["colon"] is not None or phrase[0].isupper()
    before = text[: match.start("phrase")].rstrip(" \t")[-1:]
    return match["colon"] is not None and (phrase.isupper() or (phrase[0].isupper() and before in tuple(".,;:!?)]")))
