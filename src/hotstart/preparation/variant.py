"""The files of one precision of a model, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hotstart.errors import InvalidInput
from hotstart.models.description import Description
from hotstart.models.tokenizer import write_tokenizer
from hotstart.preparation.graph import write_graphs
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.weights import (
    SCHEME,
    LinkedWeights,
    ObservedWeights,
    QuantizedWeights,
    Weights,
)
from hotstart.preparation.weights import place_weights, read_weights
from hotstart.safetensors import FLOATS, ITEM_BYTES, Tensor
from hotstart.types import GraphFiles

if TYPE_CHECKING:
    from hotstart.preparation.graph.weights import Ranges


def fingerprint(model: Description, hashes: Mapping[str, str], precision: str) -> str:
    """Return 32 hexadecimal digits over everything that decides a vector's value.

    Args:
        model: pooling, head, prompts, token limit and casing are taken from it.
        hashes: SHA-256 of the original weights and of the tokenizer, by file name.
        precision: of the weights as they are run.
    """
    identity = {
        "weights": dict(hashes),
        "precision": precision,
        "poolings": model.poolings,
        "head": [asdict(s) if is_dataclass(s) else s for s in model.head],
        "dimension": model.dimension,
        "max_seq_length": model.max_seq_length,
        "lowercase": model.lowercase,
        "normalizer": model.normalizer,
        "truncate_dim": model.truncate_dim,
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt_name,
    }
    if model.classifier is not None:
        identity |= {"segments": model.segments, "classifier": model.classifier}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


SCHEMES = {"float32": "float32", "int8": SCHEME}
"""What a fingerprint says of each precision."""


class WrittenFiles(NamedTuple):
    """The graphs of one precision, and the number of weights."""

    graphs: GraphFiles
    parameters: int


def check_precision(model: Description, precision: str) -> None:
    """Raise InvalidInput for a model that comes as an ONNX file, whose weights stay as they are."""
    if precision != "float32" and model.shipped_graph is not None:
        raise InvalidInput(
            "precision",
            got=precision,
            expected=f"float32: {model.folder} has no safetensors, and its ONNX file is used as is",
        )


def write_variant(
    model: Description, folder: str, precision: str, ranges: Ranges | None = None
) -> WrittenFiles:
    """Write all that an engine reads of `model` at `precision` into `folder`.

    Args:
        model: what is written.
        folder: where to.
        precision: a key of SCHEMES.
        ranges: what the linear layers are given, as `write_observed` shows it; with it the same
            model is closer to float32 in 8 bits.

    Raises:
        ModelError: its weights cannot be read, or no graph can be built over them.
    """
    if precision == "int8":
        eight_bits = partial(QuantizedWeights, folder=folder, ranges=ranges or {})
        return _write(model, folder, read_weights(model), eight_bits)
    return _write(model, folder, place_weights(model, folder), LinkedWeights)


def write_observed(model: Description, folder: str) -> WrittenFiles:
    """Write `model` in float32 with further outputs: of each linear layer whose weights 8 bits can
    hold, the greatest absolute value of each input, under the layer's name.

    Raises:
        ModelError: as for `write_variant`.
    """
    return _write(model, folder, place_weights(model, folder), ObservedWeights)


def _write(
    model: Description,
    folder: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    weights: Callable[[GraphBuilder], Weights],
) -> WrittenFiles:
    graphs = write_graphs(model, folder, tensors, weights)
    write_tokenizer(
        model.folder,
        folder,
        normalizer=model.normalizer,
        lowercase=model.lowercase,
        max_seq_length=model.max_seq_length,
    )
    return WrittenFiles(graphs, _parameters(tensors))


def _parameters(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(
        tensor.length // ITEM_BYTES[tensor.dtype]
        for group in tensors.values()
        for tensor in group.values()
        if tensor.dtype in FLOATS
    )
