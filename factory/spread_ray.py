"""Independent calls side by side on Ray, each with a GPU of its own where asked for: trainings, say.

A call that fails, or whose worker dies, ends with its error and does not stop the others. Folders that calls share must be
visible under the same path on every node.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from factory.config import WorkerConfig
from factory.executor_ray import connection
from factory.worker_env import worker_environment

__all__ = ["spread"]


def spread(
    work: Callable[[Any], Any], items: Sequence[Any], config: WorkerConfig
) -> Iterator[tuple[Any, Any | RayError]]:
    """Call `work` with every item, as many at once as there are workers, and yield item and result as they end.

    Args:
        work: importable on every node; returns something small.
        items: small, too.
        config: number of workers, GPUs of each, address of a cluster.

    Yields:
        Each item with what the call returned, or with Ray's error, which holds what it raised.
    """
    options = {
        "num_cpus": 1,
        "num_gpus": config.gpus_per_worker,
        "max_retries": 0,
        "runtime_env": {"env_vars": worker_environment()},
    }
    with connection(config):
        remote = ray.remote(work).options(**options)
        waiting = {remote.remote(item): item for item in items}
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1)
            item = waiting.pop(ended[0])
            try:
                yield item, ray.get(ended[0])
            except RayError as error:
                yield item, error
