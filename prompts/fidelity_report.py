"""The fidelity report: as JSON, as Markdown, and a folder with both and the plots."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.case import CaseRecord
from manifests.durable import replace
from manifests.errors import InvalidValueError, LocationError, StorageError
from prompts.fidelity import Comparison, Reference
from prompts.schema import Prompt, parse_prompt

__all__ = ["Table", "candidates", "markdown", "require_something", "to_json", "write_report"]

Table = tuple[str, Sequence[Prompt]]
_WORST = 10


def require_something(sampled: Path | None, dataset: Path | None) -> None:
    """Refuse a comparison with nothing.

    Raises:
        InvalidValueError: if neither a table nor a dataset is given.
    """
    if sampled is None and dataset is None:
        raise InvalidValueError(
            "fidelity", got="only a reference", need="a second prompts table or --dataset", do="Say what to compare."
        )


def candidates(records: Iterable[CaseRecord], name: str) -> list[Table]:
    """Requested prompts of a build: of all candidates that were drawn, and of those that the gate accepted.

    Raises:
        InvalidValueError: if the build has no accepted case with a prompt.
    """
    asked = [
        (record.status, parse_prompt(record.prompt_json, f"case {record.case_id}, prompt_json"))
        for record in records
        if record.prompt_json is not None
    ]
    accepted = [prompt for status, prompt in asked if status == "accepted"]
    if not accepted:
        raise InvalidValueError(
            f"--dataset {name}", got="no accepted case with a prompt", need="a synthetic dataset", do="Build it first."
        )
    return [("before the gate", [prompt for _, prompt in asked]), ("after the gate", accepted)]


def to_json(reference: Reference, results: Sequence[Comparison], out: Path | None = None) -> dict[str, Any]:
    """Plain data: every figure and its limit."""
    itself = reference.itself()
    return {
        "reference_rows": len(reference.prompts),
        "columns": list(reference.varied),
        "association": _flat(itself.association),
        "out": str(out) if out else None,
        "comparisons": [
            {
                "name": one.name,
                "rows": one.sampled.rows,
                "means": one.sampled.means(),
                "limit": one.limit.means(),
                "ratios": {key: None if math.isnan(value) else value for key, value in one.ratios().items()},
                "tv": one.sampled.tv,
                "tv_limit": one.limit.tv,
                "ks": one.sampled.ks,
                "ks_limit": one.limit.ks,
                "association": _flat(one.sampled.association),
                "pair_error": _flat(one.sampled.pair_error),
                "pair_error_limit": _flat(one.limit.pair_error),
                "pair_tv": _flat(one.sampled.pair_tv),
                "pair_tv_limit": _flat(one.limit.pair_tv),
                "cells_new": one.sampled.cells_new,
                "cells_possible": one.sampled.cells_possible,
                "privacy": {
                    "identical": one.privacy.identical,
                    f"identical_to_fewer_than_{one.privacy.k}": one.privacy.identical_below,
                    "nearest_distance_median": one.privacy.nearest_median,
                    "nearest_distance_smallest": one.privacy.nearest_smallest,
                },
            }
            for one in results
        ],
    }


def _flat(figures: dict[tuple[str, str], float]) -> dict[str, float]:
    return {" / ".join(pair): value for pair, value in figures.items()}


def markdown(reference: Reference, results: Sequence[Comparison]) -> str:
    """The report for the screen and for a page."""
    lines = [f"# Fidelity to {len(reference.prompts)} reference prompts", ""]
    lines += ["Limit: the same figure for bootstrap resamples of the reference with as many rows.", ""]
    for one in results:
        lines += _comparison(one)
    return "\n".join(lines)


def _comparison(one: Comparison) -> list[str]:
    mine, best, ratios, privacy = one.sampled.means(), one.limit.means(), one.ratios(), one.privacy
    titles = {
        "marginal_tv": "total variation of a column, mean",
        "pair_error": "error of a pairwise association, mean",
        "pair_tv": "total variation of a two-way table, mean",
        "cells_hit": "share of the reference's cells that occur",
    }
    lines = [
        f"## {one.name}: {one.sampled.rows} prompts",
        "",
        "| figure | sampled | limit | ratio |",
        "|---|---|---|---|",
    ]
    lines += [f"| {titles[key]} | {mine[key]:.4f} | {best[key]:.4f} | {_ratio(ratios[key])} |" for key in titles]
    lines += ["", "| column | TV | limit | KS | limit |", "|---|---|---|---|---|"]
    for name, tv in one.sampled.tv.items():
        ks = one.sampled.ks.get(name)
        beside = f"{ks:.4f} | {one.limit.ks[name]:.4f}" if ks is not None else "|"
        lines.append(f"| {name} | {tv:.4f} | {one.limit.tv[name]:.4f} | {beside} |")
    worst = sorted(one.sampled.pair_error, key=lambda pair: -one.sampled.pair_error[pair])[:_WORST]
    if worst:
        lines += ["", f"Pairs that differ most (of {len(one.sampled.pair_error)}):", ""]
        lines += ["| pair | association | error | limit |", "|---|---|---|---|"]
        lines += [
            f"| {' / '.join(pair)} | {one.sampled.association[pair]:.3f} | {one.sampled.pair_error[pair]:.3f}"
            f" | {one.limit.pair_error[pair]:.3f} |"
            for pair in worst
        ]
    lines += [
        "",
        f"Cells: {one.sampled.cells_possible:.1%} of the possible combinations of site, sex, T stage and age group occur;"
        f" {one.sampled.cells_new:.1%} of this table's cells are not in the reference.",
        f"Privacy: {privacy.identical} rows equal a patient's quasi-identifiers, {privacy.identical_below} of them those"
        f" of fewer than {privacy.k} patients; distance to the nearest patient: median {privacy.nearest_median:.4f},"
        f" smallest {privacy.nearest_smallest:.4f} (Gower, 0 to 1).",
        "",
    ]
    return lines


def _ratio(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def write_report(out: Path, reference: Reference, tables: Sequence[Table], results: Sequence[Comparison]) -> None:
    """Write `fidelity.md`, `fidelity.json`, `marginals.png` and one `associations-N.png` for each table.

    Raises:
        LocationError, StorageError: if the folder cannot be written.
    """
    from prompts.fidelity_plots import plot_associations, plot_marginals

    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        replace(out / "marginals.png", plot_marginals(reference, tables))
        for number, one in enumerate(results, start=1):
            replace(out / f"associations-{number}.png", plot_associations(reference, one))
        replace(out / "fidelity.json", json.dumps(to_json(reference, results, out), indent=1).encode())
        pictures = ["![Marginals](marginals.png)", ""]
        for number, one in enumerate(results, start=1):
            pictures += [f"![Associations, {one.name}](associations-{number}.png)", ""]
        replace(out / "fidelity.md", (markdown(reference, results) + "\n" + "\n".join(pictures)).encode())


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, PermissionError, FileNotFoundError) as error:
        raise LocationError(
            f"--out {out}", got=str(error.strerror), need="a writable folder", do="Choose another --out."
        ) from error
    except OSError as error:
        raise StorageError(f"--out {out}", got=str(error), need="room to write", do="Free space and repeat.") from error
