"""The command `factory prompts extract`."""

from pathlib import Path
from typing import Annotated

import typer

from manifests.errors import InvalidValueError, UnknownNameError
from prompts.cli.finish import AsJson, Out, finish
from prompts.cli.model import ModelOptions, Task, run_model
from prompts.extract import read_by_rules
from prompts.llm.instructions import RequestSettings
from prompts.llm.ledger import Budget, Prices
from prompts.llm.pace import PaceConfig
from prompts.sources import read_reports

__all__ = ["app"]

app = typer.Typer()

_BACKENDS = ("rules", "openai", "transformers", "replay")
_MODEL, _LIMITS = "Language model", "Limits"


@app.command("extract")
def extract_reports(
    path: Annotated[
        Path, typer.Argument(help="Folder or file of reports (.txt, .html, FHIR), or a table with a text column.")
    ],
    out: Out,
    text_column: Annotated[str | None, typer.Option(help="Column that holds the report text.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column that names a report in `source`.")] = None,
    llm: Annotated[str, typer.Option(help="Extractor: rules (no model), openai, transformers or replay.")] = "rules",
    keep_text: Annotated[bool, typer.Option("--keep-text", help="Store report texts in the table.")] = False,
    model: Annotated[str, typer.Option(help="Name, or folder of a local model.", rich_help_panel=_MODEL)] = "",
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server.", rich_help_panel=_MODEL)] = None,
    batch: Annotated[str | None, typer.Option(help="Provider's batches: submit or collect.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Answers; default: beside --out.", rich_help_panel=_MODEL)] = None,
    repairs: Annotated[int, typer.Option(min=0, help="Times to ask again for an answer that cannot be read.")] = 2,
    max_output_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.", rich_help_panel=_MODEL)] = 1024,
    max_usd: Annotated[float | None, typer.Option(help="Budget over all runs with one cache; needs prices.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Budget over all runs with one cache.")] = None,
    price_in: Annotated[float | None, typer.Option(help="USD for a million input tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="USD for a million output tokens.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Most requests in flight.")] = 8,
    attempts: Annotated[int, typer.Option(min=1, help="Tries for one request.", rich_help_panel=_LIMITS)] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds for one answer.", rich_help_panel=_LIMITS)] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Read free-text reports.

    With the rules, offline, or with a language model. Answers of models are kept in a cache, and the same
    command resumes after any interruption without asking for them again. Exit 1 if reports are left to do.
    """
    if llm not in _BACKENDS:
        raise UnknownNameError("--llm", got=repr(llm), need=f"one of {', '.join(_BACKENDS)}", do="Choose one.")
    options = ModelOptions(
        backend=llm,
        model=model,
        base_url=base_url,
        batch=batch,
        cache=cache or out.with_name(f"{out.stem}.cache.sqlite"),
        repairs=repairs,
        decoding=RequestSettings(max_output_tokens=max_output_tokens),
        budget=Budget(_prices(price_in, price_out), max_usd, max_tokens),
        pace=PaceConfig(concurrency=concurrency, attempts=attempts),
        timeout_s=timeout,
        keep_text=keep_text,
    )
    options.check()
    reports, rejects = read_reports(path, text_column, id_column)
    if not reports:
        raise InvalidValueError(
            f"reports {path}", got=f"{len(rejects)} without text", need="at least one report", do="Check the source."
        )
    if llm == "rules":
        finish(out, list(read_by_rules(reports, keep_text=keep_text)), rejects, as_json)
    else:
        run_model(Task(out, reports, rejects, as_json), options)


def _prices(price_in: float | None, price_out: float | None) -> Prices | None:
    if price_in is None and price_out is None:
        return None
    if price_in is None or price_out is None:
        raise InvalidValueError(
            "--price-in, --price-out", got="one of them", need="both or none", do="Give the prices of your provider."
        )
    return Prices(price_in, price_out)
