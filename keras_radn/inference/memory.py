"""How much memory there is for the work."""

from pathlib import Path

import psutil

# Control groups, version 2 and 1: limit, use, and how the pages of files that
# the kernel would give back are called.
_CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def available_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that a process can have without swapping or being killed.

    The smaller one of what the machine has (by psutil) and of what a
    container, a batch job or a service leaves of its limit, of which psutil
    knows nothing.

    Args:
        cgroup: where the kernel shows the control group; for tests.

    Returns:
        Bytes, at least 0.
    """
    available = psutil.virtual_memory().available
    for limit_name, usage_name, cache_name in _CGROUPS:
        limit = _number(cgroup / limit_name)
        usage = _number(cgroup / usage_name)
        if limit is None or usage is None:
            continue
        statistics = (cgroup / usage_name).with_name("memory.stat")
        used = usage - _statistic(statistics, cache_name)
        available = min(available, limit - used)
    return max(available, 0)


def _number(path):
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file; "max" for no limit
        return None


def _statistic(path, name):
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return sum(
        int(line.split()[1]) for line in lines if line.startswith(name + " ")
    )
