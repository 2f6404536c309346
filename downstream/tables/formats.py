"""Tables as Markdown, LaTeX, CSV or HTML. Empty cells stay empty."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from math import isnan
from types import MappingProxyType

from downstream.tables.published import Cell, Row, Table

__all__ = ["FORMATS", "records", "render"]

_LATEX = str.maketrans({"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}"})
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "div{overflow-x:auto}table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:right;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}thead{border-bottom:2px solid}tr.ours{font-weight:600}small{color:#555}"
)


def render(tables: Sequence[Table], form: str) -> str:
    """Write tables down.

    Args:
        tables: in order; those of one group are neighbours.
        form: a key of `FORMATS`.
    """
    return FORMATS[form](tables)


def _markdown(tables: Sequence[Table]) -> str:
    lines: list[str] = []
    for group, members in groupby(tables, lambda table: table.group):
        lines += [f"## {group}", ""]
        for table in members:
            head, *rows = _grid(table, _text)
            lines += [f"**{table.title}**{_arrow(table)}", "", _line(head), "|---" * len(head) + "|"]
            lines += [*map(_line, rows), "", _note(table), ""]
    return "\n".join(lines)


def _latex(tables: Sequence[Table]) -> str:
    parts = []
    for table in tables:
        head, *rows = [[cell.translate(_LATEX) for cell in row] for row in _grid(table, _text)]
        published = sum(not row.run for row in table.rows)
        body = [" & ".join(row) + r" \\" for row in rows]
        body.insert(published, r"\midrule") if published < len(body) else None
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{f'{table.title}{_arrow(table)}. {_note(table)}'.translate(_LATEX)}}}",
                    rf"\label{{tab:{table.key}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
                    r"\toprule",
                    " & ".join(head) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def records(tables: Sequence[Table]) -> Iterator[dict[str, str | float | int | None]]:
    """One record per value: table, method, training cases, column, value, bounds and number of cases, run, source."""
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                for value in cell.values:
                    known = cell.interval is not None and not isnan(cell.interval.low)
                    yield {
                        "table": table.key,
                        "method": row.method,
                        "train": row.n,
                        "column": column.title,
                        "value": value,
                        "low": cell.interval.low if cell.interval and known else None,
                        "high": cell.interval.high if cell.interval and known else None,
                        "cases": cell.interval.n if cell.interval else None,
                        "run": row.run,
                        "source": "ours" if row.run else table.source,
                    }


def _csv(tables: Sequence[Table]) -> str:
    stream = io.StringIO()
    rows = list(records(tables))
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _html(tables: Sequence[Table]) -> str:
    parts = ["<!doctype html>", '<html lang="en"><meta charset="utf-8">']
    parts += ['<meta name="viewport" content="width=device-width">', f"<title>Tables</title><style>{_STYLE}</style>"]
    for group, members in groupby(tables, lambda table: table.group):
        parts.append(f"<h2>{escape(group)}</h2>")
        for table in members:
            head, *rows = [[escape(cell) for cell in row] for row in _grid(table, _text)]
            parts.append(
                f"<p><b>{escape(table.title)}</b>{_arrow(table)}</p><div><table><thead>{_tr(head, 'th')}</thead>"
            )
            parts += [_tr(cells, "td", row) for cells, row in zip(rows, table.rows, strict=True)]
            parts.append(f"</table></div><p><small>{escape(_note(table))}</small></p>")
    return "\n".join([*parts, "</html>"]) + "\n"


def _tr(cells: Sequence[str], tag: str, row: Row | None = None) -> str:
    ours = ' class="ours"' if row and row.run else ""
    return f"<tr{ours}>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _grid(table: Table, text: Callable[[Cell, int], str]) -> Iterator[list[str]]:
    """Header and rows as text; columns of training cases and runs only where some row has them."""
    counted, named = any(row.n for row in table.rows), any(row.run for row in table.rows)
    yield [
        "",
        *(["train"] if counted else []),
        *(column.title for column in table.columns),
        *(["run"] if named else []),
    ]
    for row in table.rows:
        cells = [text(cell, digits) for cell, digits in zip(row.cells, table.digits, strict=True)]
        yield [row.method, *([row.n] if counted else []), *cells, *([row.run] if named else [])]


def _text(cell: Cell, digits: int) -> str:
    text = " / ".join(f"{value:.{digits}f}" for value in cell.values)
    if cell.interval is None or isnan(cell.interval.low):
        return text
    return f"{text} ({cell.interval.low:.{digits}f} to {cell.interval.high:.{digits}f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _note(table: Table) -> str:
    return f"{table.note} Published figures: {table.source}."


def _arrow(table: Table) -> str:
    return ", lower is better" if table.lower else ""


FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = MappingProxyType(
    {"markdown": _markdown, "latex": _latex, "csv": _csv, "html": _html}
)
"""Writers by name."""
