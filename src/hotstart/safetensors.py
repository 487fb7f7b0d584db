"""Read the header of a safetensors file, and convert its dtypes.

Format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes
(https://github.com/huggingface/safetensors#format). The tensors themselves are not read.
"""

from __future__ import annotations

import json
import operator
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotstart.errors import ModelDamaged
from hotstart.files import open_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_HEADER = 25_000_000  # bytes; a hundred times that of the largest models
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "U8": 1, "I8": 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor in the file `path`: dtype, shape, offset, length."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int

    def rows(self, first: int, count: int) -> Tensor:
        """Return `count` rows from `first` on, in place, or those that there are."""
        count = min(count, self.shape[0] - first)
        size = self.length // self.shape[0]
        shape = (count, *self.shape[1:])
        return Tensor(self.path, self.dtype, shape, self.offset + first * size, count * size)


def read_header(path: str) -> dict[str, Tensor]:
    """Return the tensors of `path` by name; raise ModelDamaged if the header is invalid."""
    try:
        raw, size = _raw_header(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelDamaged(path, reason=str(error.strerror)) from error
    length = len(raw)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        return {name: _tensor(path, entry, 8 + length, size) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelDamaged(path, reason=f"unreadable header ({error})") from error


def _raw_header(path: str) -> tuple[bytes, int]:
    """Return the JSON of the header, and the size of the file."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if start.startswith(b"version "):  # version https://git-lfs.github.com/spec/v1
            reason = "a Git LFS pointer stands in for the file (run: git lfs pull)"
            raise ModelDamaged(path, reason=reason)
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise ModelDamaged(path, reason=f"header of {length} bytes in a file of {size}")
        return file.read(length), size


def _tensor(path: str, entry: dict[str, Any], data: int, size: int) -> Tensor:
    begin, end = entry["data_offsets"]
    dtype = str(entry["dtype"])
    shape = tuple(map(operator.index, entry["shape"]))
    begin, end = operator.index(begin), operator.index(end)
    expected = ITEM_BYTES.get(dtype, 0)
    for n in shape:
        expected *= n
    if not 0 <= begin <= end or data + end > size:
        raise ModelDamaged(path, reason=f"a tensor ends at byte {data + end} of {size}")
    if min(shape, default=0) < 0:
        raise ModelDamaged(path, reason=f"a tensor has the shape {shape}")
    if dtype in ITEM_BYTES and end - begin != expected:
        raise ModelDamaged(path, reason=f"{end - begin} bytes hold {dtype} of shape {shape}")
    return Tensor(path, dtype, shape, data + begin, end - begin)


FLOATS = ("F32", "F16", "BF16")
"""The dtypes that `read_floats` converts."""


def read_floats(tensor: Tensor, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
    """Return `count` numbers of `tensor` from number `first` on, by default all; 1-d."""
    import numpy as np

    item = ITEM_BYTES[tensor.dtype]
    if count is None:
        count = tensor.length // item - first
    with open(tensor.path, "rb") as file:
        file.seek(tensor.offset + first * item)
        raw = file.read(count * item)
    if tensor.dtype == "F16":
        return np.frombuffer(raw, "<f2").astype("<f4")
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, "<f4")
