"""How fast the rules read reports, on one core and in process time.

    python benchmarks/rules_speed.py REPORTS [REPORTS ...] [--repeats 5]

REPORTS are tables with a text column, or folders of text files. Prints one JSON object: for each source the rate of the
fastest of `--repeats` passes over all texts, `cold` (what is remembered of earlier clauses is forgotten before the
pass), `warm` (the latest 4,096 clauses are remembered) and `without_memo` (nothing is remembered). The lexicon is
loaded before the first pass; `start_seconds` says what that took.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prompts.rules import RULES_VERSION, clauses, extract
from prompts.rules.gazetteer import words_of
from prompts.sources import read_reports

TARGET_PER_SECOND = 1000.0


def seconds(texts: Sequence[str], repeats: int, before: Callable[[], None]) -> float:
    """Process time of the fastest pass over all texts; `before` runs ahead of each pass."""
    best = float("inf")
    for _ in range(repeats):
        before()
        started = time.process_time()
        for text in texts:
            extract(text)
        best = min(best, time.process_time() - started)
    return best


def measure(texts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Rates of one source."""
    passes = {"cold": seconds(texts, repeats, words_of.cache_clear), "warm": seconds(texts, repeats, lambda: None)}
    clauses.words_of = words_of.__wrapped__  # type: ignore[assignment]
    passes["without_memo"] = seconds(texts, repeats, lambda: None)
    clauses.words_of = words_of
    characters = sum(map(len, texts))
    rates = {
        name: {"reports_per_second": len(texts) / t, "characters_per_second": characters / t}
        for name, t in passes.items()
    }
    return {"reports": len(texts), "characters_per_report": characters / len(texts), **rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    started = time.process_time()
    extract("A 60-year-old man with a 3 cm mass of the left kidney.")
    start_seconds = time.process_time() - started
    sources = {
        path.name: measure([r.text for r in read_reports(path)[0]], arguments.repeats) for path in arguments.reports
    }
    reached = all(one["without_memo"]["reports_per_second"] >= TARGET_PER_SECOND for one in sources.values())
    print(json.dumps({"rules": RULES_VERSION, "start_seconds": start_seconds, "reached": reached, **sources}, indent=1))


if __name__ == "__main__":
    main()
