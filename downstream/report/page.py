"""The page: one HTML file that loads nothing, runs one script, and shows the same bytes for the same dataset.

All text is escaped by the template engine, since prompts and reports are hostile input; the policy in its head
forbids whatever would still get through. Slices lie in the page as data that the script reads when a slider moves.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from downstream.ledger import source_hash
from downstream.report.agreement import agreement, size_pairs
from downstream.report.choice import Choice
from downstream.report.colours import TUMOUR, colour_of
from downstream.report.grey import WINDOWS, lookup
from downstream.report.plots import bars, scatter
from downstream.report.runs import Run
from downstream.report.stack import Viewer
from downstream.report.tallies import candidates, enhancement, tumours, volumes
from manifests.case import Attributes, CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.facts import (
    Rows,
    attribute_rows,
    banner,
    content_rows,
    limits,
    provenance_rows,
    refusal_rows,
    source_rows,
    stated_licence,
    summary,
)
from manifests.identity import content_hash

__all__ = ["GENERATOR", "Gallery", "gallery_page", "report_page"]

GENERATOR = '<meta name="generator" content="CT factory">'
"""What tells a page of ours from any other."""

_ROWS: tuple[tuple[str, Callable[[Attributes], Any]], ...] = (
    ("Age", lambda of: of.age_years and f"{of.age_years:.0f} years"),
    ("Sex", lambda of: of.sex),
    ("Race", lambda of: of.race),
    ("Height", lambda of: of.height_cm and f"{of.height_cm:.0f} cm"),
    ("Weight", lambda of: of.weight_kg and f"{of.weight_kg:.0f} kg"),
    ("Phase", lambda of: of.contrast_phase),
    ("Region", lambda of: of.region),
    ("Absent", lambda of: ", ".join(of.absent_organs)),
    ("Enlarged", lambda of: ", ".join(of.enlarged_organs)),
    ("Tumours", lambda of: "; ".join(map(_tumour_text, of.tumours))),
)
_HASHES = ("ct_blake3", "anatomy_blake3", "lesions_blake3")


@dataclass(frozen=True, slots=True)
class Gallery:
    """The cases that a page shows, and of how many delivered ones."""

    cases: Sequence[tuple[Choice, Viewer]]
    total: int


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("downstream"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": _plain, "colour": colour_of, "number": _number}
    return environment.get_template("report/page.html.j2")


def gallery_page(dataset: Dataset, gallery: Gallery) -> str:
    """Make the quick page: the cases alone."""
    return _render(dataset, gallery, {"sections": False})


def report_page(dataset: Dataset, gallery: Gallery, records: Sequence[CaseRecord], runs: Sequence[Run]) -> str:
    """Make the whole page; `records` are all of the dataset, refused and failed ones too."""
    accepted = [record for record in records if record.status == "accepted"]
    pairs = list(size_pairs(records))
    return _render(
        dataset,
        gallery,
        {
            "sections": True,
            "candidates": candidates(records),
            "agreement": agreement(records),
            "sizes": scatter(pairs) if pairs else None,
            "bars": bars(accepted),
            "attributes": attribute_rows(records),
            "refusals": _refusals(records),
            "tumours": tumours(accepted),
            "lesions": sum(len(record.lesions) for record in accepted),
            "structures": len({measure.name for record in accepted for measure in record.structures}),
            "volumes": volumes(accepted),
            "enhancement": enhancement(accepted),
            "runs": runs,
            **_facts(dataset, records, accepted),
        },
    )


def _facts(dataset: Dataset, records: Sequence[CaseRecord], accepted: Sequence[CaseRecord]) -> dict[str, Any]:
    """What the dataset card says, and the identities by which the same data can be made or told again."""
    weights = sorted({record.weights_sha256 for record in accepted if record.weights_sha256})
    return {
        "about": summary(dataset.spec, records),
        "contents": content_rows(records),
        "stored": f"{sum(record.stored_bytes or 0 for record in records) / 1e6:,.0f}",
        "provenance": [
            *provenance_rows(dataset.spec),
            ("weights, SHA-256", ", ".join(weights) or "none: the engines have no weights"),
            (
                "content of the delivered cases",
                content_hash(sorted([one.case_id, source_hash(one)] for one in accepted)),
            ),
            ("licence", stated_licence(records)),
        ],
        "sources": source_rows(records),
        "limits": limits(dataset.spec),
    }


def _refusals(records: Sequence[CaseRecord]) -> list[tuple[str, str, int, list[tuple[str, int]]]]:
    """Refusals by check of the gate, the commonest first: status, check, times, and the reasons in full."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for status, reason, times in refusal_rows(records):
        check, _, detail = reason.partition(":")
        groups.setdefault((status, check), []).append((detail.strip() or check, int(times)))
    counted = [
        (status, check, sum(times for _, times in reasons), reasons) for (status, check), reasons in groups.items()
    ]
    return sorted(counted, key=lambda row: (row[0] == "failed", -row[2], row[1]))


def _render(dataset: Dataset, gallery: Gallery, sections: dict[str, Any]) -> str:
    mark, caution = banner(dataset.spec)
    script = _asset("page.js")
    return _template().render(
        generator=Markup(GENERATOR),  # noqa: S704  a constant
        style=Markup(_asset("page.css")),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own file
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=dataset.root.resolve().name,
        mark=mark.rstrip("."),
        caution=caution,
        spec_id=dataset.spec.spec_id,
        windows=[(window, " ".join(f"{grey:g}" for grey in lookup(window))) for window in WINDOWS],
        tumour=TUMOUR,
        cases=[_case(choice, viewer) for choice, viewer in gallery.cases],
        total=gallery.total,
        **sections,
    )


def _asset(name: str) -> str:
    return files("downstream").joinpath("templates", "report", name).read_text(encoding="utf-8")


def _case(choice: Choice, viewer: Viewer) -> dict[str, Any]:
    record = choice.record
    return {
        "record": record,
        "why": choice.why,
        "stacks": viewer.stacks,
        "families": viewer.families,
        "rows": list(_rows(record)),
        "lesions": record.lesions,
        "identity": [
            ("case", record.case_id),
            ("prompt", record.prompt_id),
            ("slot and candidate", f"{record.index}, {record.candidate}"),
            *((name.removesuffix("_blake3") + ", BLAKE3", getattr(record, name)) for name in _HASHES),
        ],
    }


def _rows(record: CaseRecord) -> Rows:
    """Attributes that are stated anywhere: label, asked, drawn, measured."""
    rows: Rows = []
    for label, read in _ROWS:
        asked, drawn, measured = (read(of) for of in (record.requested, record.drawn, record.measured))
        if asked or drawn or measured:
            rows.append((label, *(_plain(value or "") for value in (asked, drawn, measured))))
    return rows


def _plain(value: object) -> str:
    """Names as words; a number, an id and its unit stay as they are."""
    return re.sub(r"(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])", " ", str(value))


def _number(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):,g}"


def _tumour_text(tumour: TumourAttributes) -> str:
    place = (tumour.site or tumour.organ).replace("_", " ")
    side = f"{tumour.side} " if tumour.side and tumour.side not in place else ""
    size = f", {tumour.size_mm:.0f} mm" if tumour.size_mm else ""
    stage = " ".join(filter(None, (tumour.t_stage, tumour.n_stage, tumour.m_stage)))
    count = f"{tumour.count} \u00d7 " if tumour.count else ""
    return f"{count}{side}{place}{size}{f', {stage}' if stage else ''}"
