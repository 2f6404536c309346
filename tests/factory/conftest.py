"""Fixtures of the factory's tests: toy builds in a temporary directory, and one Ray for all."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from factory.config import BuildConfig, WorkerConfig
from factory.run import Run
from factory.testing import TOY_PRESET, Behaviour, toy_models, toy_prompts
from prompts.table import write_prompts

MakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray with two cores for the whole session; executors use the Ray that is there."""
    ray = pytest.importorskip("ray")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ct-ray-test-", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        yield
        ray.shutdown()


@pytest.fixture
def toy_run(tmp_path: Path) -> MakeRun:
    """Make a run of toy models: ages of the prompts, how the models behave, and what else the config says."""

    def make(
        n: int = 6,
        *,
        ages: tuple[int, ...] = (50, 51, 52, 53),
        behaviour: Behaviour | None = None,
        workers: WorkerConfig | None = None,
        out: str = "dataset",
        candidates: int = 5,
        seed: int = 0,
        retry_failed: bool = False,
        randomise: float = 0.0,
        ungated: bool = False,
    ) -> Run:
        manifest = tmp_path / f"prompts-{'-'.join(map(str, ages))}.parquet"
        if not manifest.exists():
            write_prompts(manifest, toy_prompts(ages))
        config = BuildConfig(
            out=tmp_path / out,
            n=n,
            manifest=manifest,
            preset=TOY_PRESET,
            seed=seed,
            candidates=candidates,
            retry_failed=retry_failed,
            randomise=randomise,
            ungated=ungated,
            workers=workers or WorkerConfig(),
        )
        return Run(config, partial(toy_models, behaviour))

    return make
