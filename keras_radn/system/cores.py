"""Cores that this process may use."""

import contextlib
import os
from collections.abc import Iterable, Iterator

# Not on macOS and Windows.
_AFFINITY = hasattr(os, "sched_setaffinity")


def available_cores() -> list[int]:
    """Numbers of the cores, in their order."""
    if _AFFINITY:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """Gives these cores to the processes that are started within the block.

    Where the system cannot do so, they have all cores.

    Args:
        cores: their numbers.
    """
    if not _AFFINITY:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
