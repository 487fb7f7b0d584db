"""The files of one variant of a model that an engine reads: graph, weights, tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hotstart.errors import InvalidInput
from hotstart.models.floats import FLOATS
from hotstart.models.folder import Description
from hotstart.models.graph.files import write_graphs
from hotstart.models.graph.weights import SCHEME
from hotstart.models.safetensors import ITEM_BYTES, Tensor
from hotstart.models.tokenizer import write_tokenizer
from hotstart.models.weights import place_weights, read_weights
from hotstart.types import Graphs

SCHEMES = {"float32": "float32", "int8": SCHEME}
"""What a fingerprint says of each precision."""


class Written(NamedTuple):
    """A variant's graphs, and how many weights the model has."""

    graphs: Graphs
    parameters: int


def write_variant(model: Description, folder: str, precision: str) -> Written:
    """Write all that an engine reads of `model` at `precision` into `folder`.

    Raises:
        InvalidInput: the model comes as an ONNX file, whose weights stay as they are.
        ModelError: its weights cannot be read, or no graph can be built over them.
    """
    quantized = precision == "int8"
    if quantized and model.shipped_graph is not None:
        raise InvalidInput(
            "precision",
            got=precision,
            expected=f"float32: {model.folder} has no safetensors, and its ONNX file is used as is",
        )
    tensors = read_weights(model) if quantized else place_weights(model, folder)
    graphs = write_graphs(model, folder, tensors, quantized=quantized)
    write_tokenizer(
        model.folder,
        folder,
        normalizer=model.normalizer,
        lowercase=model.lowercase,
        max_seq_length=model.max_seq_length,
    )
    return Written(graphs, _parameters(tensors))


def _parameters(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(
        tensor.length // ITEM_BYTES[tensor.dtype]
        for group in tensors.values()
        for tensor in group.values()
        if tensor.dtype in FLOATS
    )
