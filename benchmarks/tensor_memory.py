"""Memory of tensors, for the benchmarks that compare it; not one to run."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

__all__ = ["peak_bytes"]


def peak_bytes(work: Callable[[], object]) -> int:
    """Most memory that tensors of a piece of work hold at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        work()
    held = most = 0
    for event in sorted(run.profiler.kineto_results.events(), key=lambda one: one.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
