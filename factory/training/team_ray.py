"""One training on several processes or machines by Ray: an actor for each process, joined as torchrun would join them.

Actors and not the library Ray Train: checkpoints, resuming, data and progress are the loop's own, and all that is left to do
is to start processes where there is room and to tell them of each other. Folders must be visible under the same
path on every node.
"""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from factory.config import WorkerConfig
from factory.executor_ray import connection
from factory.worker_env import worker_environment
from manifests.errors import WorkerError

__all__ = ["train_on_ray"]


class _Member:
    """What runs in the process of one member of the team."""

    def meeting_point(self) -> tuple[str, int]:
        """Address of this node, and a port that is free on it."""
        with socket.socket() as free:
            free.bind(("", 0))
            return str(ray.util.get_node_ip_address()), int(free.getsockname()[1])

    def run(self, rank: int, size: int, meeting: tuple[str, int], task: Callable[[], Any]) -> Any:
        """Do the task as one of the team; what it raised comes back as a value, so that Ray's errors are the machine's."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        os.environ |= dict(zip(names, map(str, (rank, size, 0, *meeting)), strict=True))
        if not ray.get_gpu_ids():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what Ray did not give is another's
        try:
            return task()
        except Exception as error:
            return error


def train_on_ray(task: Callable[[], Any], config: WorkerConfig) -> Any:
    """Do a training on as many processes as there are workers; what the leader returns.

    Args:
        task: trains in the team that the environment names; importable on every node.
        config: number of processes, GPUs of each, address of a cluster.

    Raises:
        FactoryError: what the training raised in any process.
        WorkerError: if a process dies, or the cluster has no room; the same command resumes.
    """
    options = {
        "num_cpus": 1,
        "num_gpus": config.gpus_per_worker,
        "max_restarts": 0,
        "runtime_env": {"env_vars": worker_environment()},
    }
    with connection(config):
        team = [ray.remote(_Member).options(**options).remote() for _ in range(config.count)]
        try:
            meeting = ray.get(team[0].meeting_point.remote())
            calls = [member.run.remote(rank, config.count, meeting, task) for rank, member in enumerate(team)]
            return _gathered(calls)
        except RayError as error:
            raise WorkerError(
                "training on Ray",
                got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                need="processes that live until the end",
                do="Run the same command again: it resumes.",
            ) from error
        finally:
            for member in team:
                ray.kill(member)


def _gathered(calls: Sequence[Any]) -> Any:
    """The leader's answer; the first error of any member ends it, because the others would wait for ever."""
    waiting, answers = list(calls), {}
    while waiting:
        (ended,), waiting = ray.wait(waiting, num_returns=1)
        answers[ended] = ray.get(ended)
        if isinstance(answers[ended], Exception):
            raise answers[ended]
    return answers[calls[0]]
