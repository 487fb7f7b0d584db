"""A model's weights in an artifact folder: linked where they can be, converted where not."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Mapping

from hotstart.errors import UnsupportedModel
from hotstart.models.folder import SINGLE_WEIGHTS, Description
from hotstart.models.modules import DenseLayer
from hotstart.models.safetensors import Tensor, read_header

_SUPPORTED = ("F32", "F16", "BF16")
_CONVERTED = {"F16", "BF16"}
_UNUSED = {"I64", "I32", "U8", "I8", "BOOL"}  # buffers such as position_ids; the graph needs none


def place_weights(model: Description, folder: str) -> dict[str, dict[str, Tensor]]:
    """Place every weights file of `model` in `folder` and return its tensors, all float32.

    The encoder's tensors are under "", a Dense layer's under its module's path.
    """
    placed: dict[str, dict[str, Tensor]] = {"": {}}
    for name in model.weights:
        placed[""].update(_place(model, name, folder))
    for step in model.head:
        if isinstance(step, DenseLayer):
            placed[step.path] = _place(model, f"{step.path}/{SINGLE_WEIGHTS}", folder)
    if model.shipped_graph:
        place_file(model.folder, model.shipped_graph, folder)
        for name in _external_data(model.folder, model.shipped_graph):
            place_file(model.folder, name, folder)
    return placed


def place_file(source: str, name: str, folder: str) -> str:
    """Hard-link `source`/`name` into `folder`, or copy it, and return the new path.

    The link is made to the resolved file: ONNX Runtime refuses weights that a symbolic link leads
    to outside the model's folder, and a Hugging Face cache is made of such links.
    """
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    original = os.path.realpath(os.path.join(source, name))
    try:
        os.link(original, path)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(original, path)
    return path


def _place(model: Description, name: str, folder: str) -> dict[str, Tensor]:
    tensors = read_header(os.path.join(model.folder, name))
    dtypes = {tensor.dtype for tensor in tensors.values()} - _UNUSED
    if not dtypes <= set(_SUPPORTED):
        raise UnsupportedModel(
            model.folder,
            feature="weights of type",
            got=sorted(dtypes),
            supported=_SUPPORTED,
        )
    if dtypes & _CONVERTED:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _convert(tensors, path)
    else:
        path = place_file(model.folder, name, folder)
    return {key: t for key, t in read_header(path).items() if t.dtype == "F32"}


def _convert(tensors: Mapping[str, Tensor], path: str) -> None:
    """Write `tensors` as a float32 safetensors file, one at a time. Both widenings are exact."""
    kept = {name: t for name, t in tensors.items() if t.dtype not in _UNUSED}
    header, offset = {}, 0
    for name, tensor in kept.items():
        length = 4
        for n in tensor.shape:
            length *= n
        header[name] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [offset, offset + length],
        }
        offset += length
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)  # the format's alignment of the first tensor
    with open(path, "xb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for tensor in kept.values():
            file.write(_read_float32(tensor))


def _read_float32(tensor: Tensor) -> bytes:
    import numpy as np

    with open(tensor.path, "rb") as file:
        file.seek(tensor.offset)
        raw = file.read(tensor.length)
    if tensor.dtype == "F16":
        return bytes(np.frombuffer(raw, "<f2").astype("<f4").tobytes())
    if tensor.dtype == "BF16":  # the upper half of a float32
        return bytes((np.frombuffer(raw, "<u2").astype("<u4") << 16).tobytes())
    return raw


def _external_data(folder: str, graph: str) -> list[str]:
    """Files beside a shipped graph that hold its weights (model.onnx_data, model.onnx.data)."""
    home, name = os.path.split(graph)
    return [
        f"{home}/{entry}"
        for entry in sorted(os.listdir(os.path.join(folder, home)))
        if entry.startswith(name) and entry != name
    ]
