"""FHIR: DiagnosticReport resources alone, in Bundles and in bulk exports, with their texts and their patients.

Reads JSON of STU3, R4 and R5, which agree in what is used here. Text comes from the first of: attached plain text
or HTML (`presentedForm`), the narrative (`text.div`); where neither holds any, from the referenced Observations;
the conclusion follows where the text does not hold it already. References are resolved inside their Bundle, among
contained resources, or among the loose resources of the same export, never between Bundles: "Patient/1" of
another Bundle is another person.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from manifests.errors import FactoryError
from prompts.sources.attributes import patient_attributes
from prompts.sources.encoding import decode
from prompts.sources.markup import markup_text
from prompts.sources.records import plain
from prompts.sources.report import Candidate
from prompts.sources.tables import Broken, json_lines, load_json

__all__ = ["diagnostic_reports", "is_fhir"]

_USED = ("Patient", "Observation", "Binary")
_WITHDRAWN = ("entered-in-error", "cancelled")
_LINES = (".jsonl", ".ndjson")


class _Pool:
    """Resources that references may mean, by URL and by type and id; what two of them share means neither."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._absolute: set[str] = set()

    def add(self, resource: Any, url: Any = None) -> None:
        if not isinstance(resource, dict) or resource.get("resourceType") not in _USED:
            return
        kind, name = resource["resourceType"], resource.get("id")
        inside = isinstance(url, str) and url.startswith("#")  # contained resources go by that name alone
        named = isinstance(name, str) and not inside
        for key in {url if isinstance(url, str) else "", f"{kind}/{name}" if named else ""} - {""}:
            same = self._known.get(key, resource) == resource
            self._known[key] = resource if same else None
        if isinstance(url, str) and "://" in url:
            self._absolute.add("/".join(url.split("/")[-2:]))

    def find(self, reference: str) -> Any:
        if reference in self._known:
            return self._known[reference]
        tail = re.search(r"(?:^|/)([A-Z]\w+/[^/]+)(?:/_history/[^/]*)?$", reference)
        if tail is None or ("://" in reference and tail[1] in self._absolute):
            return None  # of another server: the same name there is another resource
        return self._known.get(tail[1])


def is_fhir(path: Path) -> bool:
    """Whether a .json, .jsonl or .ndjson file holds FHIR resources, by the first object in it."""
    try:
        if path.suffix.lower() in _LINES:
            first = next((item for _, item in json_lines(path) if isinstance(item, dict)), None)
        else:
            data = load_json(path)
            first = next((item for item in data if isinstance(item, dict)), None) if isinstance(data, list) else data
    except FactoryError:
        return False
    return isinstance(first, dict) and isinstance(first.get("resourceType"), str)


def diagnostic_reports(files: Iterable[tuple[str, Path]]) -> Iterator[Candidate]:
    """Read the reports of FHIR files, given with the labels that they get; a label may be empty.

    Files are read twice, first for the patients and observations that stand loose in them.
    """
    named, loose = list(files), _Pool()
    once = len(named) == 1 and named[0][1].suffix.lower() not in _LINES
    held = list(_items(named[0][1])) if once else None
    for _, path in named:
        for _, item in held or _items(path):
            loose.add(item)
    for label, path in named:
        for row, item in held or _items(path):
            yield from _reports(label, row, item, loose)


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    """The objects of a file: lines, or the one that it is, or those of a list."""
    if path.suffix.lower() in _LINES:
        yield from json_lines(path)
        return
    try:
        data = load_json(path)
    except FactoryError as error:
        data = Broken(error.got)
    yield from enumerate(data if isinstance(data, list) else [data])


def _reports(label: str, row: int, item: Any, loose: _Pool) -> Iterator[Candidate]:
    if isinstance(item, Broken):
        yield Candidate(row, _label(label, row, ""), None, item.reason)
        return
    kind = item.get("resourceType") if isinstance(item, dict) else None
    if kind == "Bundle":
        entries = [entry for entry in _dicts(item.get("entry")) if isinstance(entry.get("resource"), dict)]
        pool = _Pool()
        for entry in entries:
            pool.add(entry["resource"], entry.get("fullUrl"))
        for number, entry in enumerate(entries):
            if entry["resource"].get("resourceType") == "DiagnosticReport":
                yield _candidate(label, number if row == 0 else row, entry["resource"], (pool,))
    elif kind == "DiagnosticReport":
        yield _candidate(label, row, item, (loose,))
    elif not isinstance(kind, str):
        yield Candidate(row, _label(label, row, ""), None, "no FHIR resource")


def _label(label: str, row: int, name: str) -> str:
    return ":".join(part for part in (label or str(row), name) if part)


def _candidate(label: str, row: int, report: dict[str, Any], pools: tuple[_Pool, ...]) -> Candidate:
    name = report.get("id")
    label = _label(label, row, name if isinstance(name, str) else "")
    if report.get("status") in _WITHDRAWN:
        return Candidate(row, label, None, f"status {report['status']}")
    contained = _Pool()
    for resource in _dicts(report.get("contained")):
        if isinstance(resource.get("id"), str):
            contained.add(resource, f"#{resource['id']}")
    found = (contained, *pools)
    text, reason = _text(report, found)
    when = report.get("effectiveDateTime") or _dict(report.get("effectivePeriod")).get("start")
    patient = _resolve(report.get("subject"), "Patient", found)
    return Candidate(row, label, text, reason, patient_attributes(patient, when))


def _resolve(reference: Any, kind: str, pools: tuple[_Pool, ...]) -> Any:
    """The resource that a Reference names, if there is exactly one and of this kind."""
    target = _dict(reference).get("reference")
    if not isinstance(target, str):
        return None
    found = next((found for pool in pools if (found := pool.find(target)) is not None), None)
    return found if _dict(found).get("resourceType") == kind else None


def _text(report: dict[str, Any], pools: tuple[_Pool, ...]) -> tuple[str | None, str]:
    """The text of a report, or None and the reason."""
    parts, faults = _attached(report, pools)
    parts = parts or _narrative(report) or _observed(report, pools)
    conclusion = report.get("conclusion")
    if isinstance(conclusion, str) and conclusion.strip():
        words = " ".join(conclusion.split())
        if not any(words in " ".join(part.split()) for part in parts):
            parts.append(conclusion)
    text = "\n\n".join(part.strip() for part in parts)
    return (text or None), "; ".join(dict.fromkeys(faults)) or "no text"


def _attached(report: dict[str, Any], pools: tuple[_Pool, ...]) -> tuple[list[str], list[str]]:
    """Texts of the attachments, plain ones before HTML, and what is wrong with the others."""
    plains, marked, faults = list[str](), list[str](), list[str]()
    for form in _dicts(report.get("presentedForm")):
        kind, _, rest = str(form.get("contentType") or "text/plain").lower().partition(";")
        kind = kind.strip()
        if kind not in ("text/plain", "text/html", "application/xhtml+xml", "text/markdown"):
            faults.append(f"presentedForm is {plain(kind)[:60]}, which is not read")
            continue
        try:
            text = decode(_bytes(form, pools), _charset(rest))
            if text.startswith(("%PDF", "{\\rtf", "PK\x03")):
                raise ValueError("data is a document, not text")
            is_markup = kind in ("text/html", "application/xhtml+xml")
            (marked if is_markup else plains).append(markup_text(text) if is_markup else _line_ends(text))
        except ValueError as error:
            faults.append(f"presentedForm: {error}")
    return [text for text in plains or marked if text.strip()], faults


def _bytes(form: dict[str, Any], pools: tuple[_Pool, ...]) -> bytes:
    data = form.get("data")
    if data is None and isinstance(form.get("url"), str):
        binary = _dict(_resolve({"reference": form["url"]}, "Binary", pools))
        data = binary.get("data", binary.get("content"))  # R4 and STU3
    if not isinstance(data, str):
        raise ValueError("no data in the file")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("data is no base64") from error


def _charset(parameters: str) -> str | None:
    found = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters)
    return found[1] if found else None


def _narrative(report: dict[str, Any]) -> list[str]:
    narrative = _dict(report.get("text"))
    div = None if narrative.get("status") == "empty" else narrative.get("div")
    try:
        text = markup_text(div) if isinstance(div, str) else ""
    except ValueError:
        return []
    return [text] if text.strip() else []


def _observed(report: dict[str, Any], pools: tuple[_Pool, ...]) -> list[str]:
    """Texts of the Observations that a report refers to, in its order."""
    found = []
    for reference in _dicts(report.get("result")):
        observation = _dict(_resolve(reference, "Observation", pools))
        for part in (observation, *_dicts(observation.get("component"))):
            value = part.get("valueString")
            if isinstance(value, str) and value.strip():
                found.append(_line_ends(value))
    return found


def _line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
