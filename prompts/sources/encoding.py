"""Bytes to text, by what the bytes are: marks, UTF-8, UTF-16 without a mark, and the single-byte sets of older exports."""

import codecs
import re

__all__ = ["decode"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHARSETS = re.compile(r"utf-?(8|16|32)|us-ascii|ascii|iso-?8859|latin|windows-|cp\d|mac|shift|gb|big5|euc|koi8")
_EXPECTED = frozenset(
    "äöüÄÖÜßéèêëàâáãåçñíìîïóòôõúùûøæœÉÈÀÇÑÅØ°±²³µ\u00d7·½¼…•€\u00a0\u2013\u2014\u2018\u2019\u201c\u201d\u2264\u2265"
)


def decode(data: bytes, charset: str | None = None) -> str:
    """Decode bytes: by their mark, by a stated charset that fits, else by what they look like.

    UTF-8 wins wherever it fits; a few bytes that break it (a cut, a stray character of Windows-1252) do not change
    that. Otherwise it is Windows-1252, Mac Roman or Latin-1, whichever gives the letters that western reports hold.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if charset and _CHARSETS.match(charset.lower()):
        try:
            return data.decode(charset)
        except (LookupError, UnicodeError):
            pass  # a wrong label: the bytes themselves decide
    wide = _unmarked_utf16(data)
    if wide:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _mostly_utf8(data) or _single_bytes(data)


def _unmarked_utf16(data: bytes) -> str | None:
    """Which UTF-16 this is: of western text, nearly every second byte is zero."""
    head = data[:4096]
    half = len(head) // 2
    if half < 2:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd >= 0.7 * half and even <= 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even >= 0.7 * half and odd <= 0.1 * half else None


def _mostly_utf8(data: bytes) -> str | None:
    text = data.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= letter <= "\udcff" for letter in text)
    whole = sum(letter > "\x7f" for letter in text) - broken
    if whole < 3 * broken:
        return None
    return re.sub("[\udc80-\udcff]", lambda match: _windows(bytes([ord(match[0]) - 0xDC00])), text)


def _windows(byte: bytes) -> str:
    return byte.decode("cp1252", "replace")


def _single_bytes(data: bytes) -> str:
    candidates = []
    for encoding in ("cp1252", "mac_roman", "latin-1"):
        try:
            candidates.append(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    return max(candidates, key=_likeness)


def _likeness(text: str) -> int:
    """How many letters beyond ASCII are those of western reports, less those that are not."""
    return sum(1 if letter in _EXPECTED else -1 for letter in text if letter > "\x7f")
