"""Link or convert the weights of a model into an artifact folder."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping

from hotstart.checkpoint import is_checkpoint, read_checkpoint
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.files import open_regular
from hotstart.models.configuration import check_inner
from hotstart.models.description import Description
from hotstart.models.files import module_weights
from hotstart.models.modules import DenseLayer, NormLayer
from hotstart.models.onnx_files import external_files
from hotstart.safetensors import FLOATS, ITEM_BYTES, Tensor, read_floats, read_header

_CONVERTED = {"F16", "BF16"}
_COPIED = 1 << 20  # bytes at a time
_CONVERTED_NUMBERS = 1 << 20  # at a time: 4 MB, and as much again while they are converted
_SAFETENSORS = ".safetensors"
_UNUSED = {
    "I64",
    "I32",
    "I16",
    "U8",
    "I8",
    "BOOL",
}  # buffers such as position_ids, which graphs ignore


def place_weights(
    model: Description, folder: str, placed: dict[str, dict[str, Tensor]] | None = None
) -> dict[str, dict[str, Tensor]]:
    """Link or convert every weights file of `model` into `folder` and return its float32 tensors.

    The tensors of the encoder are under "", those of a Dense layer under its module's path.

    Args:
        model: one encoder of a model.
        folder: the artifact folder.
        placed: the tensors of each file that was placed for another encoder; those of `model` are
            added.
    """
    for name in _shipped_files(model):
        place_file(model.folder, name, folder)
    known = {} if placed is None else placed

    def tensors_of(name: str) -> dict[str, Tensor]:
        if name not in known:
            known[name] = _place(model, name, folder)
        return known[name]

    return _collect(model, tensors_of)


def read_weights(model: Description) -> dict[str, dict[str, Tensor]]:
    """Return the tensors in the folder of `model`, with dtypes of FLOATS.

    The tensors are grouped as in `place_weights`.
    """
    return _collect(model, lambda name: _read(model, name))


def weight_files(model: Description) -> list[str]:
    """Return the weight files of the model's folder, including a shipped graph."""
    names = [
        name
        for part in model.parts
        for name in (*part.weights, *_dense_files(part).values(), *_shipped_files(part))
    ]
    return list(dict.fromkeys(names))


def _collect(
    model: Description, tensors_of: Callable[[str], dict[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    collected: dict[str, dict[str, Tensor]] = {"": {}}
    for name in model.weights:
        collected[""].update(tensors_of(name))
    for path, name in _dense_files(model).items():
        tensors = tensors_of(name)
        is_one_layer = "weight" in tensors  # bge-m3: the state of the layer itself
        collected[path] = (
            {f"linear.{k}": t for k, t in tensors.items()} if is_one_layer else tensors
        )
    return collected


def _dense_files(model: Description) -> dict[str, str]:
    """Return the weights file of each layer after the transformer, by the layer's path."""
    steps = [*model.pipeline.token_steps, *model.pipeline.head]
    layers = [step for step in steps if isinstance(step, (DenseLayer, NormLayer))]
    paths = [layer.path for layer in layers if layer.path]  # else with the encoder's tensors
    return {path: module_weights(model.folder, path) for path in paths}


def _shipped_files(model: Description) -> list[str]:
    if model.shipped_graph is None:
        return []
    return [model.shipped_graph, *_external_data(model.folder, model.shipped_graph)]


def place_file(source: str, name: str, folder: str) -> str:
    """Hard-link `source`/`name` into `folder`, or copy it, and return the new path.

    Links are resolved first. A Hugging Face cache consists of symbolic links, and ONNX Runtime
    rejects weights behind a link that leads out of the model's folder.

    Raises:
        ModelDamaged: the model has the file twice; an existing file is never written over.
    """
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    original = os.path.realpath(os.path.join(source, name))
    try:
        os.link(original, path)
    except FileExistsError as error:
        raise ModelDamaged(source, reason=f"it has {name} for two of its parts") from error
    except OSError:  # another file system, or a file system without hard links
        with open_regular(original) as read, open(path, "xb") as written:
            shutil.copyfileobj(read, written, _COPIED)
    return path


def _place(model: Description, name: str, folder: str) -> dict[str, Tensor]:
    tensors = _read(model, name)
    if any(tensor.dtype in _CONVERTED for tensor in tensors.values()):
        path = os.path.join(folder, os.path.splitext(name)[0] + _SAFETENSORS)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _convert(tensors, path)
    else:
        path = place_file(model.folder, name, folder)
    return {key: t for key, t in read_tensors(path).items() if t.dtype == "F32"}


def read_tensors(path: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a PyTorch checkpoint by name."""
    return read_checkpoint(path) if is_checkpoint(path) else read_header(path)


def _read(model: Description, name: str) -> dict[str, Tensor]:
    """Return the floating-point tensors of one file of the model."""
    tensors = read_tensors(os.path.join(model.folder, name))
    dtypes = {tensor.dtype for tensor in tensors.values()} - _UNUSED
    if not dtypes <= set(FLOATS):
        raise UnsupportedModel(
            model.folder,
            feature="weights of type",
            got=sorted(dtypes),
            supported=FLOATS,
        )
    return {key: t for key, t in tensors.items() if t.dtype in FLOATS}


def _convert(tensors: Mapping[str, Tensor], path: str) -> None:
    """Write `tensors` as a float32 safetensors file, one at a time."""
    header = {}
    offset = 0
    for name, tensor in tensors.items():
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
    raw += b" " * (-len(raw) % 8)  # the format requires an aligned first tensor
    with open(path, "xb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for tensor in tensors.values():
            numbers = tensor.length // ITEM_BYTES[tensor.dtype]
            for first in range(0, numbers, _CONVERTED_NUMBERS):
                count = min(_CONVERTED_NUMBERS, numbers - first)
                file.write(read_floats(tensor, first, count).tobytes())


def _external_data(folder: str, graph: str) -> list[str]:
    """Return the external weight files of a shipped graph, such as onnx/model.onnx_data.

    Raises:
        ModelDamaged: the graph names a file outside of the model's folder, or one that is missing.
    """
    path = os.path.join(folder, graph)
    parent = os.path.dirname(graph)
    names = [f"{parent}/{name}" for name in external_files(path)]
    # The links of a Hugging Face cache lead to the blobs of the repository.
    homes = [os.path.realpath(home) for home in (folder, os.path.join(folder, "../../blobs"))]
    for name in names:
        real = os.path.realpath(os.path.join(folder, name))
        check_inner(path, name)
        if not any(real.startswith(os.path.join(home, "")) for home in homes):
            raise ModelDamaged(
                path, reason=f"{name} leads to {real}, outside of the model's folder"
            )
        if not os.path.isfile(real):
            raise ModelDamaged(path, reason=f"{name} is not a file")
    return names
