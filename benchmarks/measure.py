"""Median times and peak memory of this process."""

import statistics
import time
from collections.abc import Callable


def median_seconds(
    *runs: Callable[[], object], repetitions: int = 15
) -> list[float]:
    """Median time of each call, in turns, after two calls to warm up."""
    times = [[] for _ in runs]
    for i in range(repetitions + 2):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if i >= 2:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def peak_megabytes(run: Callable[[], object]) -> float:
    """Peak of the resident memory above what it was before the call.

    Reads `/proc`, so it works on Linux only.
    """
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(key):
    with open("/proc/self/status") as lines:
        return next(int(x.split()[1]) for x in lines if x.startswith(key))
