"""Reports through a language model on the command line: the bar, the account, and how it ends."""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from manifests.errors import InvalidValueError, RetryError, UnknownNameError
from prompts.cli.finish import finish
from prompts.llm.batch import Batches, BatchState, collect, submit
from prompts.llm.chat import ChatModel
from prompts.llm.instructions import RequestSettings
from prompts.llm.ledger import Budget
from prompts.llm.openai_chat import OpenAIChat, default_url, endpoint_of
from prompts.llm.pace import PaceConfig
from prompts.llm.reports import ModelSettings
from prompts.llm.session import Account, Progress, Spending, read_with_model, replay
from prompts.llm.transformers_chat import TransformersChat, local_model_name
from prompts.sources import Reject, Report

__all__ = ["ModelOptions", "Task", "run_model"]

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Task:
    """What is read and where it goes; `rejects` are the reports that could not be opened."""

    out: Path
    reports: list[Report]
    rejects: list[Reject]
    as_json: bool


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The options about models."""

    backend: str
    model: str
    base_url: str | None
    batch: str | None
    cache: Path
    repairs: int
    decoding: RequestSettings
    budget: Budget
    pace: PaceConfig
    timeout_s: float
    keep_text: bool

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            InputError: naming the option.
        """
        if self.backend != "rules" and not self.model:
            raise InvalidValueError(
                "--model", got="nothing", need=f"a model for --llm {self.backend}", do="Name the model."
            )
        if self.batch not in (None, "submit", "collect"):
            raise UnknownNameError("--batch", got=repr(self.batch), need="submit or collect", do="Choose one.")
        if self.batch and self.backend != "openai":
            raise InvalidValueError(
                "--batch", got=f"--llm {self.backend}", need="--llm openai", do="Only servers take batches."
            )
        if not 0 < self.timeout_s < float("inf"):
            raise InvalidValueError("--timeout", got=f"{self.timeout_s}", need="seconds above 0", do="Correct it.")

    def settings(self, model: ChatModel | None = None) -> ModelSettings:
        """Put the settings of all requests; without a model, as `replay` names it."""
        backend, name, endpoint = self.backend, self.model, ""
        if model is not None:
            name, endpoint = model.name, model.endpoint
        elif Path(self.model).is_dir():
            backend, name = "transformers", local_model_name(Path(self.model))
            endpoint = TransformersChat.endpoint
        else:
            backend, endpoint = "openai", endpoint_of(default_url(self.base_url))
        return ModelSettings(backend, name, endpoint, self.decoding, self.repairs, self.keep_text)


def run_model(task: Task, options: ModelOptions) -> None:
    """Read reports with a model, from its earlier answers, or through the batches of a provider.

    Raises:
        FactoryError: what stopped the run.
    """
    if options.backend == "replay":
        _end(task, replay(task.reports, options.settings(), options.cache))
        return
    model = _load(options)
    if options.batch:
        assert isinstance(model, OpenAIChat)
        _batch(task, options, model)
        return
    pace = replace(options.pace, concurrency=1) if options.backend == "transformers" else options.pace
    spending = Spending(options.cache, options.budget, pace)
    priced = options.budget.prices is not None
    with tqdm(total=len(task.reports), unit="report", disable=task.as_json or None, dynamic_ncols=True) as bar:

        def show(progress: Progress) -> None:
            if progress.stopping and progress.in_flight:
                text = f"stopping: {progress.in_flight} requests in flight finish first; interrupt again to drop them"
                bar.write(text, file=sys.stderr)
            bar.n = progress.done
            bar.set_postfix_str(_spent(progress, priced), refresh=False)
            bar.update(0)

        account = read_with_model(task.reports, options.settings(model), model, spending, show)
    _end(task, account)


def _load(options: ModelOptions) -> ChatModel:
    if options.backend == "transformers":
        return TransformersChat(Path(options.model))
    return OpenAIChat(options.model, options.base_url, options.timeout_s)


def _spent(progress: Progress, priced: bool) -> str:
    if priced:
        return f"${progress.total.usd:.3f} of about ${progress.projected.usd:.2f}, {progress.in_flight} in flight"
    return f"{progress.total.tokens} of about {progress.projected.tokens} tokens, {progress.in_flight} in flight"


def _end(task: Task, account: Account) -> None:
    """Write what is complete; else say how far it came, and that nothing is lost."""
    if account.done < len(task.reports):
        how = "interrupted" if account.interrupted else "stopped"
        typer.echo(f"{how}: {account.done} of {len(task.reports)} reports done; {_cost(account)}", err=True)
        typer.echo("answers are kept: the same command goes on from here, --llm replay writes what there is", err=True)
        if account.cause:
            raise account.cause
        raise typer.Exit(_INTERRUPTED)
    rejects = [*task.rejects, *account.rejects]
    if not account.rows:
        reasons = sorted({reject.reason for reject in account.rejects})
        raise _without_rows(reasons, account)
    finish(task.out, account.rows, rejects, task.as_json, _report(account))
    if not task.as_json:
        typer.echo(_cost(account))
    if account.again:
        typer.echo(f"{account.again} reports met a failing server: run the same command again for them", err=True)
        raise typer.Exit(1)


def _without_rows(reasons: list[str], account: Account) -> Exception:
    kind = RetryError if account.again else InvalidValueError
    return kind(
        "reports",
        got=f"no usable answer to any of {len(account.results)} ({'; '.join(reasons[:3])})",
        need="at least one",
        do="Run again later." if account.again else "Check the model.",
    )


def _report(account: Account) -> dict[str, Any]:
    """The account as part of the JSON report; money only where prices were given."""
    run, total = asdict(account.run), asdict(account.total)
    for sums in (run, total):
        sums["usd"] = round(sums["usd"], 6) if account.priced else None
    return {"cached": account.reused, "run": run, "total": total}


def _cost(account: Account) -> str:
    run, total = account.run, account.total
    money = f", {run.usd:.4f} USD" if account.priced else ""
    every = f" (all runs: {total.tokens} tokens" + (f", {total.usd:.4f} USD)" if account.priced else ")")
    return f"{run.attempts} requests, {account.reused} from the cache, {run.tokens} tokens{money}{every}"


def _batch(task: Task, options: ModelOptions, model: OpenAIChat) -> None:
    batches = Batches(model, options.settings(model), options.cache, options.budget)
    state = submit(task.reports, batches) if options.batch == "submit" else collect(task.reports, batches)
    if options.batch == "collect" and state.complete:
        _end(task, replay(task.reports, batches.settings, options.cache))
        return
    if task.as_json:
        typer.echo(json.dumps({"out": None, **asdict(state), "complete": state.complete}))
    else:
        typer.echo(_batch_summary(state))
    if options.batch == "collect":
        raise typer.Exit(1)


def _batch_summary(state: BatchState) -> str:
    lines = [
        f"{state.sent} requests submitted, {state.answered} answers collected, {state.running} at the provider,"
        f" {state.missing} to submit"
    ]
    lines += [f"  failed: {source}: {detail}" for source, detail in list(state.failed.items())[:20]]
    if state.missing:
        lines.append("  `--batch submit` sends what is to submit; `--llm replay` writes what is there without it")
    return "\n".join(lines)
