"""Read the tensors of a PyTorch checkpoint (`pytorch_model.bin`) without torch.

Since PyTorch 1.6 a checkpoint is a zip archive: a pickle that describes the tensors, and one
uncompressed member for each storage
(https://docs.pytorch.org/docs/stable/notes/serialization.html). The tensors are found in place, so
that their file can be linked and mapped. A pickle can name any function; only those that rebuild
tensors are admitted, and each of them only describes its tensor.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from hotstart.errors import ModelDamaged, UnsupportedModel, described
from hotstart.files import open_regular
from hotstart.safetensors import Tensor

_MAX_PICKLE = 25_000_000  # bytes; a hundred times that of the largest models
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member; its names and extras follow

_DTYPES = {
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "ByteStorage": ("U8", 1),
    "CharStorage": ("I8", 1),
    "BoolStorage": ("BOOL", 1),
}


def is_checkpoint(name: str) -> bool:
    """Return whether the file `name` is a PyTorch checkpoint by its name."""
    return name.endswith((".bin", ".pt"))


class _Storage(NamedTuple):
    """A member of the archive: dtype and bytes of an item, and the key of its member."""

    dtype: str
    item: int
    key: str


class _View(NamedTuple):
    """A tensor as the pickle describes it; offset and strides in items."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """Return the tensors of the checkpoint `path` by name.

    Raises:
        ModelDamaged: the file is no checkpoint, or a tensor is not within it.
        UnsupportedModel: it is of PyTorch before 1.6, or its pickle names anything but tensors.
    """
    with open_regular(path) as file:
        if file.read(4) != b"PK\x03\x04":
            got = "PyTorch before 1.6, or none"
            supported = ("safetensors", "PyTorch's zip archive")
            raise UnsupportedModel(path, feature="a checkpoint of", got=got, supported=supported)
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename: info for info in archive.infolist()}
                (described_by,) = [name for name in members if name.endswith("/data.pkl")]
                folder = described_by.removesuffix("data.pkl")
                if members[described_by].file_size > _MAX_PICKLE:
                    raise ModelDamaged(path, reason=f"its pickle is larger than {_MAX_PICKLE}")
                views = _views(path, archive.read(described_by))
                if f"{folder}byteorder" in members:
                    _check_byte_order(path, archive.read(f"{folder}byteorder"))
                return {
                    name: _located(path, file, members[f"{folder}data/{view.storage.key}"], view)
                    for name, view in views.items()
                }
        except (zipfile.BadZipFile, ValueError, KeyError, struct.error, OSError) as error:
            raise ModelDamaged(path, reason=f"no checkpoint ({described(error)})") from error


def _check_byte_order(path: str, order: bytes) -> None:
    if order != b"little":
        raise UnsupportedModel(
            path, feature="byte order", got=order.decode("ascii", "replace"), supported=("little",)
        )


def _views(path: str, content: bytes) -> dict[str, _View]:
    """Return the tensors that the pickle describes, by name."""
    try:
        found = _TensorUnpickler(path, io.BytesIO(content)).load()
    except (UnsupportedModel, ModelDamaged):
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelDamaged(path, reason=f"its pickle is damaged ({described(error)})") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping):
        raise ModelDamaged(path, reason=f"its pickle has {type(found).__name__}, no tensors")
    return {str(name): view for name, view in found.items() if isinstance(view, _View)}


def _located(path: str, file: BinaryIO, member: zipfile.ZipInfo, view: _View) -> Tensor:
    """Return where the numbers of `view` lie in the file."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ModelDamaged(path, reason=f"{member.filename} is compressed")
    if not _is_contiguous(view):
        reason = f"a tensor of shape {view.shape} has the strides {view.strides}"
        raise ModelDamaged(path, reason=reason)
    file.seek(member.header_offset)
    signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ModelDamaged(path, reason=f"{member.filename} has no header")
    begin = view.offset * view.storage.item
    length = math.prod(view.shape) * view.storage.item
    if view.offset < 0 or min(view.shape, default=0) < 0 or begin + length > member.file_size:
        reason = f"a tensor ends at byte {begin + length} of {member.file_size}"
        raise ModelDamaged(path, reason=reason)
    start = member.header_offset + _LOCAL_HEADER.size + name + extra
    return Tensor(path, view.storage.dtype, view.shape, start + begin, length)


def _is_contiguous(view: _View) -> bool:
    """Return whether the numbers lie row after row; the stride of an axis of length 1 is free."""
    expected = 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


class _TensorUnpickler(pickle.Unpickler):
    """Admits the descriptions of tensors alone."""

    def __init__(self, path: str, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for `module.name`; refuse anything else by name."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _DTYPES:
            return name
        supported = ("a pickle of tensors alone",)
        raise UnsupportedModel(
            self._path, feature="a pickle with", got=f"{module}.{name}", supported=supported
        )

    def persistent_load(self, described_by: Any) -> _Storage:
        """Return the storage that a persistent id describes."""
        kind, dtype, key, *_ = described_by
        if kind != "storage":
            raise ValueError(f"a persistent id of {kind!r}")
        return _Storage(_DTYPES[dtype][0], _DTYPES[dtype][1], str(key))


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _View:
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor without a storage")
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(view: _View, *_: Any) -> _View:
    return view
