"""A build that tests may kill: python toy_driver.py OUT MANIFEST N WORKERS [ADDRESS]; prints each case it commits."""

import sys
from functools import partial
from pathlib import Path

from factory.config import BuildConfig, WorkerConfig
from factory.run import Run
from factory.testing import TOY_PRESET, Behaviour, toy_models

BEHAVIOUR = Behaviour(seconds=0.05, rejected=0.3)


def main(out: str, manifest: str, n: str, workers: str, address: str | None = None) -> None:
    who = WorkerConfig(count=int(workers), max_attempts=20, address=address)
    config = BuildConfig(out=Path(out), n=int(n), manifest=Path(manifest), preset=TOY_PRESET, workers=who)
    print("started", flush=True)  # noqa: T201
    for outcome in Run(config, partial(toy_models, BEHAVIOUR)):
        print(outcome.record.case_id, outcome.worker, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
