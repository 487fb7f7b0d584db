"""What this process may use of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator


def available_cores(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """Return how many cores this process can keep busy, at least 1.

    The lesser of its CPU affinity and its cgroup quota (v2 `cpu.max` of its group and of each
    group above it, v1 `cpu.cfs_quota_us`), rounded up: more threads than quota are throttled, and
    a throttled thread holds up the others of its matrix product.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([affinity or 1, *_quotas(root, membership)]))


def _quotas(root: str, membership: str) -> Iterator[int]:
    limits = [_read_words(os.path.join(group, "cpu.max")) for group in _groups(root, membership)]
    limits.append(
        _read_words(os.path.join(root, "cpu", "cpu.cfs_quota_us"))
        + _read_words(os.path.join(root, "cpu", "cpu.cfs_period_us"))
    )
    for limit in limits:
        if len(limit) == 2 and limit[0] not in {"max", "-1"}:
            quota, period = int(limit[0]), int(limit[1])
            yield -(-quota // period)


def _groups(root: str, membership: str) -> Iterator[str]:
    """The cgroup v2 folders from this process's own up to the root."""
    for line in _read_words(membership):
        if line.startswith("0::"):
            group = os.path.normpath(root + line[3:])
            while len(group) > len(root):
                yield group
                group = os.path.dirname(group)
    yield root


def _read_words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
