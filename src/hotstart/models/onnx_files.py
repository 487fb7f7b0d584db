"""Choose the ONNX file of a repository that is run, and find the files that it names."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Iterable

_NAMES = (
    *("model", "model_optimized", "model_O1", "model_O2", "model_O3"),
    *("model_fp16", "model_O4"),
    *("model_int8", "model_uint8", "model_quantized", "model_quint8_avx2"),
    *("model_qint8_avx2", "model_qint8_avx512", "model_qint8_avx512_vnni", "model_qint8_arm64"),
    *("model_q4", "model_q4f16", "model_bnb4"),
)
"""Names on the hub, the most precise first: float32, float16, 8 bits, 4 bits.

Those of optimum, sentence-transformers, transformers.js and fastembed.
"""

_FOLDERS = ("onnx/", "")

SHIPPED_GRAPH = "onnx/model.onnx"
"""The usual name."""


def find_graph(names: Iterable[str]) -> str | None:
    """Return the ONNX file among the file `names` of a repository that is run; None without one.

    It lies in onnx/ or in the repository's own folder. Of several, the first of _NAMES is run. A
    file of another name is run if it is the only one.
    """
    graphs = [name for name in names if is_graph(name)]
    for stem in _NAMES:
        for folder in _FOLDERS:
            if f"{folder}{stem}.onnx" in graphs:
                return f"{folder}{stem}.onnx"
    return graphs[0] if len(graphs) == 1 else None


def is_graph(name: str) -> bool:
    """Return whether the file `name` of a repository is an ONNX file that may be run."""
    return name.endswith(".onnx") and f"{os.path.dirname(name)}/".lstrip("/") in _FOLDERS


def graphs_in(folder: str) -> list[str]:
    """Return the ONNX files of a model folder, relative to it, sorted."""
    names: list[str] = []
    for part in _FOLDERS:
        with contextlib.suppress(OSError):  # the sub-folder may be absent
            names += [part + name for name in os.listdir(os.path.join(folder, part))]
    return sorted(n for n in names if is_graph(n) and os.path.isfile(os.path.join(folder, n)))


_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])", re.DOTALL)
"""The entry of external data in an ONNX file (protobuf): its key, and the length of its value."""


def external_files(path: str) -> list[str]:
    """Return the files with weights that the ONNX file at `path` names, relative to its folder.

    The bytes are searched for the entries: neither the package onnx nor memory for the weights of
    the file is needed. A name has less than 16,384 bytes.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = (
                content[match.end() : match.end() + _length(match[1])]
                for match in _LOCATION.finditer(content)
            )
            return sorted({name.decode(errors="replace") for name in found})


def _length(varint: bytes) -> int:
    """Return the number in a varint of one or two bytes."""
    return varint[0] if len(varint) == 1 else (varint[0] & 0x7F) + (varint[1] << 7)
