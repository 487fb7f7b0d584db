"""PyTorch checkpoints as `torch.save` writes them, without torch."""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from hotstart.safetensors import Tensor, read_header

STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage"}
STORAGES |= {"I64": "LongStorage"}


def _rebuild_tensor_v2(*_: Any) -> None: ...


class _Stored:
    """A tensor with the number of its storage."""

    def __init__(self, tensor: Tensor, key: int) -> None:
        self.tensor = tensor
        self.key = key

    def __reduce__(self) -> Any:
        shape = self.tensor.shape
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        storage = _Storage(STORAGES[self.tensor.dtype], self.key)
        arguments: Any = (storage, 0, shape, strides, False, OrderedDict())
        return _rebuild_tensor_v2, arguments


class _Storage:
    def __init__(self, kind: str, key: int) -> None:
        self.kind = kind
        self.key = key


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _Storage):
            return ("storage", getattr(sys.modules["torch"], value.kind), str(value.key), "cpu", 0)
        return None


def pickled(value: object) -> bytes:
    """Return the pickle of `value`, whose tensors are those of `torch._utils`."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for kind in STORAGES.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch", "__qualname__": kind}))
    _rebuild_tensor_v2.__module__ = "torch._utils"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    buffer = io.BytesIO()
    with patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        _Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def archive(content: bytes, storages: Mapping[int, bytes], compression: int = 0) -> bytes:
    """Return a checkpoint with the pickle `content`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        written.writestr("archive/data.pkl", content)
        written.writestr("archive/byteorder", "little")
        for key, raw in storages.items():
            written.writestr(f"archive/data/{key}", raw)
        written.writestr("archive/version", "3\n")
    return buffer.getvalue()


def to_checkpoint(source: Path, target: Path) -> None:
    """Write the tensors of the safetensors file `source` as a checkpoint."""
    whole = source.read_bytes()
    tensors = read_header(str(source))
    stored = {name: _Stored(tensor, key) for key, (name, tensor) in enumerate(tensors.items())}
    storages = {
        each.key: whole[each.tensor.offset : each.tensor.offset + each.tensor.length]
        for each in stored.values()
    }
    target.write_bytes(archive(pickled(OrderedDict(stored)), storages))
