"""The files of one precision of a model, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.engines.graph import open_tokenizer
from hotstart.errors import InvalidInput, ModelDamaged, described
from hotstart.models.description import Description
from hotstart.models.modules import HeadStep
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
from hotstart.types import TOKENIZER, GraphFiles, PreparedRoute

if TYPE_CHECKING:
    from hotstart.preparation.graph.weights import Ranges


def fingerprint(model: Description, hashes: Mapping[str, str], precision: str) -> str:
    """Return 32 hexadecimal digits that identify the vector space.

    Args:
        model: the source of pooling, head, prompts, token limit and casing.
        hashes: SHA-256 of the original weights and of the tokenizer, by file name.
        precision: a value of SCHEMES.
    """
    identity = {"weights": dict(hashes), "precision": precision} | _identity(model)
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _identity(model: Description) -> dict[str, Any]:
    """Return what decides the vectors of `model` besides its weights."""
    pipeline = model.pipeline
    identity: dict[str, Any] = {
        "poolings": pipeline.pooling.modes if pipeline.pooling else None,
        "head": [_identity_of_step(step) for step in pipeline.head],
        "dimension": model.dimension,
        "max_seq_length": model.max_seq_length,
        "lowercase": model.lowercase,
        "normalizer": model.normalizer,
        "settings": model.settings,
        "truncation_side": model.truncation_side,
        "add_prefix_space": model.add_prefix_space,
        "truncate_dim": model.truncate_dim,
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt_name,
    }
    if pipeline.token_steps:
        identity["token_steps"] = [_identity_of_step(step) for step in pipeline.token_steps]
    if pipeline.pooling and not pipeline.pooling.include_prompt:
        identity["include_prompt"] = False
    if pipeline.returns != "vectors":
        identity |= {
            "returns": pipeline.returns,
            "splade": pipeline.splade and asdict(pipeline.splade),
        }
    if model.tokens is not None:
        identity["tokens"] = model.tokens
        identity["markers"] = model.markers
    if model.classifier is not None:
        identity |= {"segments": model.segments, "classifier": model.classifier}
    if model.table is not None:
        identity |= {"table": model.table, "is_cut": model.is_cut}
    if model.tasks is not None:
        identity |= {"tasks": model.tasks, "files": [model.tokenizer, *model.weights]}
        identity["routes"] = [_identity(route) for route in model.routes]
    return identity


def _identity_of_step(step: HeadStep) -> Any:
    """Return what decides the vectors of `step`; older fingerprints know of no `residual`."""
    if isinstance(step, str):
        return step
    return {name: value for name, value in asdict(step).items() if value or name != "residual"}


SCHEMES = {"float32": "float32", "bfloat16": "bfloat16", "int8": SCHEME}
"""The precision in a fingerprint, by precision."""


class WrittenFiles(NamedTuple):
    """The graphs of one precision, the number of weights, and what reads other tasks."""

    graphs: GraphFiles
    parameters: int
    routes: tuple[PreparedRoute, ...] = ()


def check_precision(model: Description, precision: str) -> None:
    """Raise InvalidInput if the model cannot be quantized and the precision asks for it."""
    if precision != "int8":
        return
    reason = None
    if model.shipped_graph is not None:
        reason = "has only an ONNX file, which cannot be quantized"
    elif model.tasks is not None:
        reason = "has a Router, whose encoders are not quantized"
    if reason:
        raise InvalidInput("precision", got=precision, expected=f"float32: {model.folder} {reason}")


def write_variant(
    model: Description, folder: str, precision: str, ranges: Ranges | None = None
) -> WrittenFiles:
    """Write graph, weights and tokenizer of `model` at `precision` into `folder`.

    Args:
        model: the model to write.
        folder: the artifact folder.
        precision: a key of SCHEMES.
        ranges: maximum inputs of the linear layers, measured with `write_observed`. They make an
            8-bit model more accurate.

    Raises:
        ModelError: the weights cannot be read, or no graph can be built.
    """
    if precision == "int8":
        make_weights = partial(QuantizedWeights, folder=folder, ranges=ranges or {})
        return _write(model, folder, read_weights(model), make_weights)
    placed: dict[str, dict[str, Tensor]] = {}  # encoders may share their weights
    written = _write(model, folder, place_weights(model, folder, placed), LinkedWeights)
    routes = []
    for part in model.routes:
        of_part = _write(part, folder, place_weights(part, folder, placed), LinkedWeights)
        routes.append(
            PreparedRoute(
                tasks=part.tasks or (),
                graphs=of_part.graphs,
                tokenizer=f"{part.route}/{TOKENIZER}",
                pad_token_id=part.padding_token,
                tokens=part.tokens,
            )
        )
    return written._replace(parameters=_parameters(placed), routes=tuple(routes))


def write_observed(model: Description, folder: str) -> WrittenFiles:
    """Write `model` in float32 with the ranges of layer inputs as additional outputs.

    For each linear layer that 8 bits quantize, an output with the layer's name has the maximum
    absolute value of each input.

    Raises:
        ModelError: see `write_variant`.
    """
    return _write(model, folder, place_weights(model, folder), ObservedWeights)


def _write(
    model: Description,
    folder: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    weights: Callable[[GraphBuilder], Weights],
) -> WrittenFiles:
    home = os.path.join(folder, model.route)
    os.makedirs(home, exist_ok=True)
    write = partial(
        write_tokenizer,
        os.path.join(model.folder, model.tokenizer),
        home,
        model_type=model.model_type,
        normalizer=model.normalizer,
        special_tokens=model.special_tokens,
        lowercase=model.lowercase,
        max_seq_length=model.max_seq_length if model.is_cut else None,
        truncation_side=model.truncation_side,
        add_prefix_space=model.add_prefix_space,
        adds_special=model.adds_special,
    )
    largest_token = write()
    tokenizer = _opened_tokenizer(model, home)
    if model.markers:
        write(markers=_broken_markers(tokenizer, model.markers))
    graphs = write_graphs(model, folder, tensors, weights, largest_token)
    return WrittenFiles(graphs, _parameters(tensors))


def _opened_tokenizer(model: Description, folder: str) -> Any:
    """Return the tokenizer; raise ModelDamaged if it cannot be opened."""
    try:
        return open_tokenizer(os.path.join(folder, TOKENIZER))
    except Exception as error:  # the library's errors have no class of their own
        path = os.path.join(model.folder, model.tokenizer)
        raise ModelDamaged(path, reason=f"not a tokenizer ({described(error)})") from error


def _broken_markers(tokenizer: Any, markers: Collection[str]) -> dict[str, int]:
    """Return the tokens of `markers` that the tokenizer knows but does not keep whole, with ids.

    A marker is a token itself, its space included, or its first word is one; sentence-transformers
    registers it.
    """
    broken = {}
    for marker in markers:
        for token in (marker, *marker.split(None, 1)[:1]):
            number = tokenizer.token_to_id(token)
            if number is not None:
                if tokenizer.encode(token, add_special_tokens=False).tokens != [token]:
                    broken[token] = number
                break
    return broken


def _parameters(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(
        tensor.length // ITEM_BYTES[tensor.dtype]
        for group in tensors.values()
        for tensor in group.values()
        if tensor.dtype in FLOATS
    )
