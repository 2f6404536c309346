"""The preview page: one HTML file without any outside resource, readable on a phone.

Slices are embedded as PNG; outlines are SVG paths in mm, so they stay sharp at any zoom and can be
switched without a second picture. Every text of the dataset is escaped.
"""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from downstream.preview_picture import TUMOUR, Outline, Picture, Plane, colour_of
from manifests.case import Attributes, CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.durable import replace

__all__ = ["write_page"]

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


def write_page(pictures: Sequence[Picture], path: Path, dataset: Dataset, total: int) -> None:
    """Write the page of a dataset; `total` is its number of accepted cases."""
    synthetic = dataset.spec.kind == "synthetic"
    mark = '<span class="mark">SYNTHETIC</span> No patient is shown; not for diagnosis. ' if synthetic else ""
    shown = f"{len(pictures)} of {total} cases" if len(pictures) < total else f"{total} case{'s' * (total != 1)}"
    text = Template(files("downstream").joinpath("templates", "preview.html").read_text(encoding="utf-8"))
    page = text.substitute(
        title=escape(dataset.root.resolve().name),
        subtitle=f"{mark}{shown}.",
        cases="\n".join(map(_article, pictures)),
        footer=f"Dataset spec <code>{escape(dataset.spec.spec_id)}</code>",
    )
    replace(path, page.encode())


def _article(picture: Picture) -> str:
    record = picture.record
    widths = ";".join(f"--{plane.name}:{plane.width_mm:.0f}fr" for plane in picture.planes)
    legend = "".join(
        f'<li><i style="background:{colour_of(name)}"></i>{escape(name.replace("_", " "))}</li>'
        for name in picture.families
    )
    return (
        f"<article><h2>{escape(record.prompt_text or 'No prompt')}</h2>"
        f'<div class="planes" style="{widths}">{"".join(map(_figure, picture.planes))}'
        f'<div class="facts">{_table(record)}<code>{escape(record.case_id)}</code></div>'
        f'<ul class="legend">{legend}</ul></div></article>'
    )


def _figure(plane: Plane) -> str:
    size = f"{plane.width_mm:.1f}", f"{plane.height_mm:.1f}"
    return (
        f'<figure class="{plane.name}"><svg viewBox="0 0 {size[0]} {size[1]}" role="img"'
        f' aria-label="{plane.name} slice"><image href="data:image/png;base64,{_png(plane)}" width="{size[0]}"'
        f' height="{size[1]}" preserveAspectRatio="none"/>{"".join(map(_path, plane.outlines))}</svg></figure>'
    )


def _png(plane: Plane) -> str:
    stream = io.BytesIO()
    Image.fromarray(plane.grey).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _path(outline: Outline) -> str:
    lines = (" ".join(f"{x:.1f},{y:.1f}" for x, y in line[:-1].tolist()) for line in outline.lines)
    kind, colour = ("o t" if outline.name == TUMOUR else "o"), colour_of(outline.name)
    title = escape(outline.name.replace("_", " "))
    path = "".join(f"M{line}Z" for line in lines)
    return f'<path class="{kind}" fill="{colour}" stroke="{colour}" d="{path}"><title>{title}</title></path>'


def _table(record: CaseRecord) -> str:
    rows = "".join(
        f'<tr><th scope="row">{label}</th><td>{asked}</td><td>{measured}</td></tr>'
        for label, asked, measured in _rows(record)
    )
    return f"<table><thead><tr><th></th><th>Requested</th><th>Measured</th></tr></thead><tbody>{rows}</tbody></table>"


def _rows(record: CaseRecord) -> Iterator[tuple[str, str, str]]:
    """Attributes that are stated anywhere; what was drawn for a silent prompt is shown as such."""
    for label, read in _ROWS:
        asked, drawn, measured = (read(of) for of in (record.requested, record.drawn, record.measured))
        if asked or drawn or measured:
            silent = f"<em>unstated; drawn: {_cell(drawn)}</em>" if drawn else "<em>unstated</em>"
            yield label, _cell(asked) or silent, _cell(measured) or "<em>&ndash;</em>"


def _cell(value: Any) -> str:
    """Escaped text of an attribute, empty where it has no value."""
    return escape(str(value).replace("_", " ")) if value else ""


def _tumour_text(tumour: TumourAttributes) -> str:
    place = (tumour.site or tumour.organ).replace("_", " ")
    side = f"{tumour.side} " if tumour.side and tumour.side not in place else ""
    size = f", {tumour.size_mm:.0f} mm" if tumour.size_mm else ""
    stage = " ".join(filter(None, (tumour.t_stage, tumour.n_stage, tumour.m_stage)))
    count = f"{tumour.count} \u00d7 " if tumour.count else ""
    return f"{count}{side}{place}{size}{f', {stage}' if stage else ''}"
