"""Splitting a report into clauses: sentences, bullets, sections and the organ headings of structured reports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prompts.rules.gazetteer import Mention, Words, words_of

__all__ = ["Clause", "body_end", "clauses"]

_HEADINGS = {
    "history": (
        "clinical history",
        "clinical indication",
        "clinical information",
        "clinical details",
        "clinical data",
        "clinical background",
        "clinical question",
        "clinical statement",
        "patient history",
        "oncologic history",
        "indications",
        "indication",
        "history of present illness",
        "history",
        "clinical",
        "reason for exam",
        "reason for examination",
        "reason for study",
        "reason for the exam",
        "reason for scan",
        "reason",
        "hx",
    ),
    "past": (
        "pmh",
        "past medical history",
        "medical history",
        "past history",
        "family history",
        "fhx",
        "shx/fhx",
        "shx",
        "fh",
    ),
    "comparison": (
        "comparisons",
        "comparison",
        "prior studies",
        "previous examinations",
        "prior exam",
        "prior ct",
        "previous ct",
        "prior scan",
        "previous scan",
    ),
    "technique": ("technique", "protocol", "procedure", "examination", "exam", "study", "method", "methods", "title"),
    "findings": (
        "findings",
        "finding",
        "description",
        "report",
        "result",
        "results",
        "observations",
        "body of report",
        "course",
        "hospital course",
    ),
    "impression": (
        "impression",
        "impressions",
        "conclusion",
        "conclusions",
        "opinion",
        "summary",
        "assessment",
        "diagnosis",
        "interpretation",
    ),
    "advice": ("recommendation", "recommendations", "advice", "plan"),
}
_ONE_SENTENCE = ("comparison", "advice")  # what stands behind their first sentence may belong to no section
_SECTION_OF = {word: section for section, words in _HEADINGS.items() for word in words}
_WORDS = "|".join(sorted((re.escape(word) for word in _SECTION_OF), key=len, reverse=True))
_SECTION = re.compile(rf"[\W_]{{0,12}}({_WORDS})(?:\s{{0,3}}:|[ \t]{{0,3}}(?:\n|$))", re.IGNORECASE)
_BREAKS = re.compile(
    r"[.!?\u2022\u00b7\n\"\u201d;]"
    r"(?:(?<=[.!?\u2022\u00b7])(?=[\s,\"')\]]|$)(?!\s{0,3}\d{1,4}\s?(?:mm|cm)\b)"
    r"|(?<=[a-z)]\.)(?=[A-Z][a-z])"
    r"|(?<=\n)(?=[ \t]{0,9}(?:\n|[-*\u2022\u00b7\d]{1,2}[.) \t]|[A-Z]))"
    r"|(?<=[\"\u201d])(?=\s?[A-Z\u2022])"
    r"|(?<=;))"
)
_HEADING = re.compile(rf"(?<![^\s,.])(?:{_WORDS.upper()})\s?:")
_ABBREVIATIONS = frozenset(
    (
        "i.v",
        "e.g",
        "i.e",
        "approx",
        "ca",
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "fig",
        "figs",
        "vs",
        "no",
        "st",
        "p.o",
        "cf",
        "al",
        "y.o",
        "yrs",
        "y",
        "o",
        "resp",
        "incl",
        "max",
        "diam",
        "dia",
        "lt",
        "rt",
        "seg",
        "nr",
        "pt",
    )
)
_TITLES = ("dr", "mr", "mrs", "ms", "prof", "st", "fig", "figs", "al", "vs")
_CAPITAL = re.compile(r"\s{1,3}[A-Z][a-z]")
_TOPIC = re.compile(r"[\W_]{0,12}([A-Za-z][A-Za-z /&,'-]{2,48}?)\s{0,2}(?::|\s[-\u2013]\s)")
_KEYWORDS = re.compile(r"\bkey\s?words?\s?:[^.]{0,2000}\.?\s*$", re.IGNORECASE)
_LIST = re.compile(r"[a-z][^,.:;?!A-Z]{1,60}(?:,\s{0,3}[^,.:;?!A-Z]{1,60}){3,200},?\s*")
_LONGEST = 1500


@dataclass(slots=True)
class Clause:
    """A stretch of text between sentence ends or semicolons.

    Positions in `mentions` count from `start`. `sentence` numbers the sentence that the clause is part of,
    `section` is a key of the known headings ("" where none stood before; comparison and advice last a sentence), `topic` the mention of a place in
    the heading of the paragraph ("Liver: ..."), with positions in the whole text. A clause that is neither
    `live` nor `personal` holds no word for tumours, organs and the scan, or for the patient.
    """

    words: Words
    start: int
    sentence: int
    section: str = ""
    topic: Mention | None = None

    @property
    def text(self) -> str:
        """The clause as it stands."""
        return self.words.text

    @property
    def live(self) -> bool:
        """Whether it may say anything on tumours, organs and the scan."""
        return self.words.live

    @property
    def personal(self) -> bool:
        """Whether it may say anything on the patient."""
        return self.words.personal

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The known phrases of the clause, in reading order."""
        return self.words.mentions


def body_end(text: str) -> int:
    """Where a list of keywords begins that archives put behind a text ("... sinus.radiology, mass, male"), else the end."""
    if "," not in text:
        return len(text)
    if "eyword" in text or "EYWORD" in text or "ey word" in text:
        found = _KEYWORDS.search(text)
        if found:
            return found.start()
    last = max(text.rfind(stop) for stop in ".?!") + 1
    return last if last and text[last : last + 1].islower() and _LIST.fullmatch(text, last) else len(text)


def clauses(text: str) -> list[Clause]:
    """Split a text into clauses; those without a word that states anything are marked as not `live`."""
    parts: list[Clause] = []
    start, sentence, section, opened = 0, 0, "", 0
    topic: Mention | None = None
    for end, final in _ends(text):
        part = text[start:end]
        if part.strip():
            head = _SECTION.match(part) if ":" in part or len(part) < 40 else None
            if section in _ONE_SENTENCE and sentence != opened:
                section = ""
            if head:
                opened = sentence
                section, topic = _SECTION_OF[head[1].lower()], None
            offset = head.end() if head else 0
            if ":" in part or "- " in part:
                topic = _topic(part, start, offset, topic)
            parts.append(Clause(words_of(part), start, sentence, section, topic))
        start, sentence = end, sentence + final
    return parts


def _topic(part: str, start: int, offset: int, before: Mention | None) -> Mention | None:
    """The place that a heading names; `before` if the clause has no heading."""
    head = _TOPIC.match(part, offset)
    if head is None:
        return before
    title = words_of(head[1]).mentions
    if any(m.means.tumour or m.means.diagnosis or m.means.negation or m.means.scan for m in title):
        return before
    places = [m for m in title if m.means.place]
    if len({m.means.place for m in places}) != 1 or head[1].lower() == "bowel":
        return None
    shift = start + head.start(1)
    return places[0]._replace(start=places[0].start + shift, end=places[0].end + shift)


def _ends(text: str) -> Iterator[tuple[int, bool]]:
    """Ends of clauses, and whether a sentence ends there too; very long stretches are cut at a space."""
    last = 0
    for end, final in _stops(text):
        while end - last > _LONGEST:
            space = text.rfind(" ", last + 1, last + _LONGEST)
            last = space if space > last else last + _LONGEST
            yield last, False
        if end > last:
            yield end, final
        last = max(end, last)


def _stops(text: str) -> Iterator[tuple[int, bool]]:
    """Ends of clauses in order: punctuation, new lines, and headings in capitals."""
    ends = [
        (match.end(), match[0] != ";")
        for match in _BREAKS.finditer(text)
        if match[0] != "." or not _abbreviated(text, match.start())
    ]
    if ":" in text:
        ends += [(match.start(), True) for match in _HEADING.finditer(text)]
        ends.sort()
    yield from ends
    yield len(text), True


def _abbreviated(text: str, dot: int) -> bool:
    """Tell whether a full stop ends an abbreviation and no sentence: "ca. 3 cm", but not "Lung Ca. Stable"."""
    words = text[max(0, dot - 8) : dot].split()
    word = words[-1].lower().lstrip("(0123456789") if words and not text[dot - 1].isspace() else ""
    if word not in _ABBREVIATIONS:
        return False
    return word in _TITLES or not _CAPITAL.match(text, dot + 1)
