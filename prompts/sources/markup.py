"""The text of HTML and XHTML: what a reader would see, with line ends where blocks end."""

import re
from html.parser import HTMLParser

__all__ = ["markup_text"]

_BLOCKS = frozenset(
    [
        "address",
        "article",
        "blockquote",
        "body",
        "br",
        "caption",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_CELLS = frozenset(["td", "th"])
_HIDDEN = frozenset(["script", "style", "template", "title"])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - given by the parser
        if tag in _HIDDEN:
            self.hidden.append(tag)
        self.parts.append("\n" if tag in _BLOCKS else " " if tag in _CELLS else "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.hidden:
            self.hidden.remove(tag)
        self.parts.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def markup_text(markup: str) -> str:
    """Read the text of an HTML or XHTML fragment; entities become characters, scripts and styles go.

    Raises:
        ValueError: if it is no markup that a parser can follow.
    """
    reader = _Reader()
    try:
        reader.feed(markup)
        reader.close()
    except AssertionError as error:  # what the parser of Python says to broken declarations
        raise ValueError("markup that cannot be parsed") from error
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
