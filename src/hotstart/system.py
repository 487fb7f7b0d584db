"""Cores, memory and CPU features that this process may use; processes beside it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

COPIES = 2
"""Copies of the weights in memory: the mapped file, and the one packed for matrix products."""

_SMALL_MEMORY = 1_500_000_000  # free bytes below which 8-bit weights are recommended
_YIELDING = 5  # niceness: a third of the CPU time beside a thread at 0
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
_NOTED_FLAGS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


class MemoryLeft(NamedTuple):
    """The bytes that this process can still use, and the limit that says so."""

    bytes: int
    limit: str


class ResourceProfile(NamedTuple):
    """The resources of this machine, and the recommended strategy.

    Attributes:
        cores: by affinity and cgroup quota.
        memory: bytes left under the tightest of cgroup, address space limit and free memory.
        limit: the name of that limit.
        instructions: CPU instructions that speed up matrix products.
        devices: `cpu`, and `cuda` or `mps` if available.
        device: the recommended device.
        engine: the recommended engine.
        batch_size: the recommended texts per batch for bulk work.
        strategy: the recommended strategy; `why` gives the reason.
    """

    cores: int
    memory: int
    limit: str
    instructions: tuple[str, ...]
    devices: tuple[str, ...]
    device: str
    engine: str
    batch_size: int
    strategy: str
    why: str

    @classmethod
    def detect(cls, weights: int = 0) -> ResourceProfile:
        """Return the profile of this machine. Imports nothing and takes about 1 ms.

        Args:
            weights: bytes of a model's weights in float32; 0 for a small model.
        """
        return recommend(available_cores(), memory_left(), cpu_flags(), devices(), weights)


def recommend(
    cores: int,
    left: MemoryLeft,
    flags: frozenset[str],
    found: tuple[str, ...],
    weights: int = 0,
) -> ResourceProfile:
    """Return the profile of a machine with these resources, for a model of `weights`. Pure."""
    device = found[-1]
    needed = max(_SMALL_MEMORY, COPIES * weights)
    if left.bytes < needed:
        strategy = "quantized"
        why = f"{left.limit} leaves {left.bytes / 1e6:.0f} MB"
        if needed > _SMALL_MEMORY:
            why += f", the weights take {weights / 1e6:.0f} MB in float32, and a packed copy"
    elif cores == 1:
        strategy = "background"
        why = "one core: a promotion would take it from the calls"
    else:
        strategy = "progressive"
        why = f"{cores} cores and {left.bytes / 1e9:.1f} GB left"
    fast = device == "cpu" and flags & BF16_FLAGS
    return ResourceProfile(
        cores=cores,
        memory=left.bytes,
        limit=left.limit,
        instructions=tuple(flag for flag in _NOTED_FLAGS if flag in flags),
        devices=found,
        device=device,
        engine="torch" if device != "cpu" else "openvino" if fast else "onnx",
        batch_size=128 if device != "cpu" else 32,
        strategy=strategy,
        why=why,
    )


class _MemoryFiles(NamedTuple):
    """The memory files of one version of cgroups."""

    controller: str
    limit: str
    used: str
    cached: str


_MEMORY_V2 = _MemoryFiles("", "memory.max", "memory.current", "inactive_file")
_MEMORY_V1 = _MemoryFiles(
    "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)


def available_cores(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int:
    """Return how many cores this process can keep busy, at least 1.

    The minimum of CPU affinity and cgroup quota (v2 `cpu.max` of the group and its parents, v1
    `cpu.cfs_quota_us`), rounded up. Threads beyond the quota are throttled, and a throttled thread
    delays the other threads of a matrix product.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([affinity or 1, *_quotas(root, membership)]))


def memory_left(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> MemoryLeft:
    """Return the bytes left under the tightest limit: cgroup, RLIMIT_AS, or free memory.

    Page cache counts as free, in a cgroup too: the kernel drops it for a process that needs it.
    """
    return min(_memory_limits(root, membership)).left


def memory_limit(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int | None:
    """Return the size in bytes of the limit that `memory_left` names; None if unknown."""
    return min(_memory_limits(root, membership)).size or None


class _MemoryLimit(NamedTuple):
    """The bytes that a limit leaves, and its size; 0 if unknown."""

    left: MemoryLeft
    size: int


def _memory_limits(root: str, membership: str) -> Iterator[_MemoryLimit]:
    total = _field("/proc/meminfo", "MemTotal:") * 1024
    yield _MemoryLimit(MemoryLeft(_machine_memory(), "the machine"), total)
    for files in (_MEMORY_V2, _MEMORY_V1):
        for group in _groups(root, membership, files.controller):
            limit = _read_words(os.path.join(group, files.limit))
            used = _read_words(os.path.join(group, files.used))
            if limit and used and limit[0] != "max":
                cached = _field(os.path.join(group, "memory.stat"), files.cached)
                size = int(limit[0])
                left = MemoryLeft(size - int(used[0]) + cached, "its cgroup")
                yield _MemoryLimit(left, size)
    yield from _address_space()


def pressure_files(
    root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup"
) -> Iterator[str]:
    """Yield the pressure (PSI) files of the cgroup and of the machine."""
    yield from (os.path.join(group, "memory.pressure") for group in _groups(root, membership))
    yield "/proc/pressure/memory"


def cpu_flags(path: str = "/proc/cpuinfo") -> frozenset[str]:
    """Return the instruction set flags of the CPU; empty if unknown."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def devices(root: str = "/dev") -> tuple[str, ...]:
    """Return `cpu`, then `cuda` or `mps` if its driver is present."""
    if os.path.exists(os.path.join(root, "nvidiactl")):
        return ("cpu", "cuda")
    if sys.platform == "darwin" and os.uname().machine == "arm64":
        return ("cpu", "mps")
    return ("cpu",)


def resident_memory() -> int:
    """Return the resident bytes of this process, mapped files included; 0 if unknown."""
    pages = _read_words("/proc/self/statm")
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if pages else 0


def return_freed_memory() -> None:
    """Return freed memory to the system, if the C library supports it.

    glibc keeps freed pages in its arenas, so that an unloaded model would still count.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def yield_processor() -> None:
    """Lower the priority of this thread and of the threads it starts, as nice(1) does.

    Only Linux has a niceness for each thread (setpriority(2)); other systems change nothing.
    """
    if sys.platform == "linux":
        os.nice(_YIELDING)


def keep_for_ever(thing: object) -> None:
    """Keep `thing` alive until the process ends: the interpreter never frees it."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return malloc_trim of glibc, cached: ctypes creates a class for each look-up."""
    import ctypes  # importing ctypes takes milliseconds, and unloads are rare

    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _machine_memory() -> int:
    return _field("/proc/meminfo", "MemAvailable:") * 1024 or sys.maxsize


def _address_space() -> Iterator[_MemoryLimit]:
    try:
        import resource  # POSIX only
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _read_words("/proc/self/statm")
    if limit != resource.RLIM_INFINITY and pages:
        used = int(pages[0]) * os.sysconf("SC_PAGE_SIZE")
        yield _MemoryLimit(MemoryLeft(limit - used, "RLIMIT_AS"), limit)


def _quotas(root: str, membership: str) -> Iterator[int]:
    limits = [_read_words(os.path.join(group, "cpu.max")) for group in _groups(root, membership)]
    limits += [
        _read_words(os.path.join(group, "cpu.cfs_quota_us"))
        + _read_words(os.path.join(group, "cpu.cfs_period_us"))
        for group in _groups(root, membership, "cpu")
    ]
    for limit in limits:
        if len(limit) == 2 and limit[0] not in {"max", "-1"}:
            quota = int(limit[0])
            period = int(limit[1])
            yield -(-quota // period)


def _groups(root: str, membership: str, controller: str = "") -> Iterator[str]:
    """Yield the cgroup folders of this process up to the root; v1 for one `controller`."""
    top = os.path.join(root, controller) if controller else root
    for line in _read_words(membership):
        controllers, _, path = line.partition(":")[2].partition(":")
        if path and controller in controllers.split(","):
            group = os.path.normpath(top + path)
            while len(group) > len(top):
                yield group
                group = os.path.dirname(group)
    yield top


def _field(path: str, name: str) -> int:
    """Return the number after `name` in a file of name and number pairs, else 0."""
    words = _read_words(path)
    return int(words[words.index(name) + 1]) if name in words else 0


def _read_words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


# The first argument is the folder of hotstart, the second one the program. Python puts the current
# folder first on the path; a foreign numpy.py in that folder must not run.
_CHILD = """\
import sys
sys.path[:] = [*filter(None, sys.path), sys.argv.pop(1)]
exec(sys.argv.pop(1))
"""


def python_command(program: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs the text `program` in a fresh Python like this one.

    The process imports nothing from the current folder.

    Args:
        program: the source code.
        arguments: `sys.argv[1:]` of the program.
        options: options of the interpreter.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, *options, "-c", _CHILD, home, program, *arguments]
