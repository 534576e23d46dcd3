"""How much memory there is for the work."""

from pathlib import Path

import psutil

# Control groups, version 2 and 1: controller and folder, limit, use, and how
# the pages of files that the kernel would give back are called.
_CGROUPS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    (
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def available_bytes(
    cgroup: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
) -> int:
    """Memory that a process can have without swapping or being killed.

    The smaller one of what the machine has (by psutil) and of what a
    container, a batch job or a service leaves of its limit, of which psutil
    knows nothing.

    Args:
        cgroup: where the kernel shows the control groups; for tests.
        membership: where it tells which of them the process is in.

    Returns:
        Bytes, at least 0.
    """
    available = psutil.virtual_memory().available
    paths = _memberships(membership)
    for controller, limit_name, usage_name, cache_name in _CGROUPS:
        root = cgroup / controller
        # In a container the path may be that of the host, which is not there.
        own = root / paths.get(controller, "")
        for group in (own, *own.parents):
            limit = _number(group / limit_name)
            usage = _number(group / usage_name)
            if limit is not None and usage is not None:
                cache = _statistic(group / "memory.stat", cache_name)
                available = min(available, limit - (usage - cache))
            if group == root:
                break
    return max(available, 0)


def _memberships(path):
    """The group of each controller; version 2 has one, `""`."""
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return {}
    groups = {}
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = group.lstrip("/")
    return groups


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
