"""Median times and peak memory of this process."""

import statistics
import time
from collections.abc import Callable


def median_seconds(run: Callable[[], object], repetitions: int = 7) -> float:
    """Median time of a call, after two calls to warm up."""
    times = []
    for i in range(repetitions + 2):
        start = time.perf_counter()
        run()
        if i >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


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
