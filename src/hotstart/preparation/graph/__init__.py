"""Write the ONNX files of an artifact."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.files import write_whole
from hotstart.models.architectures import FAMILIES, ClassifierLayer
from hotstart.models.description import Description
from hotstart.models.modules import Pipeline, last_width
from hotstart.preparation.graph.builder import OUTPUT, GraphBuilder, output_names
from hotstart.preparation.graph.encoder import Encoder
from hotstart.preparation.graph.head import apply_steps, pool
from hotstart.preparation.graph.rotary import RotaryEncoder
from hotstart.preparation.graph.weights import LinkedWeights, Weights
from hotstart.safetensors import Tensor
from hotstart.types import GraphFiles

_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
_VECTOR_OUTPUTS = ("sentence_embedding",)


def write_graphs(
    model: Description,
    folder: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    weights: Callable[[GraphBuilder], Weights],
    largest_token: int,
) -> GraphFiles:
    """Write the graph files of `model` into `folder` and return how to run them.

    Args:
        model: the model to build.
        folder: the artifact folder.
        tensors: the weights: the encoder's under "", a Dense layer's under its module's path. With
            LinkedWeights they must be float32 and in `folder`.
        weights: creates the object that adds weights to a built graph.
        largest_token: the largest id that the tokenizer gives.
    """
    if model.shipped_graph is None:
        return _write_built(model, folder, tensors, weights, largest_token)
    return _write_head(model, model.shipped_graph, folder, tensors)


def _write_built(
    model: Description,
    folder: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    make_weights: Callable[[GraphBuilder], Weights],
    largest_token: int,
) -> GraphFiles:
    _check_labels(model, tensors[""])
    graph = GraphBuilder(folder)
    weights = make_weights(graph)
    make_encoder = RotaryEncoder if FAMILIES[model.model_type].rotary else Encoder
    encoder = make_encoder(graph, weights, model, tensors[""])
    encoder.check(largest_token)
    names = ["input_ids", "attention_mask"]
    if model.segments:
        names.append("token_type_ids")
    tokens = encoder.tokens(*names)
    mask = _pooled_mask(model.pipeline)
    vectors = _add_pipeline(
        graph, weights, tokens, mask, model.pipeline, tensors, width=encoder.hidden
    )
    inputs = dict.fromkeys([*names, mask], ("INT32", 2))
    write_whole(os.path.join(folder, "model.onnx"), graph.build(inputs, vectors, model.dimension))
    return GraphFiles(
        encoder="model.onnx", output=OUTPUT, optimized=True, head=None, block=weights.block
    )


def _pooled_mask(pipeline: Pipeline) -> str:
    """Return the input that is 1 for each token that is pooled."""
    includes_prompt = pipeline.pooling is None or pipeline.pooling.include_prompt
    return "attention_mask" if includes_prompt else "pooling_mask"


def _add_pipeline(
    graph: GraphBuilder,
    weights: Weights,
    tokens: str,
    mask: str,
    pipeline: Pipeline,
    tensors: Mapping[str, Mapping[str, Tensor]],
    width: int | None,
) -> str:
    """Add what comes after the transformer to `tokens` (batch, tokens, width)."""
    steps = pipeline.token_steps
    tokens = apply_steps(graph, weights, tokens, steps, tensors, width, of_tokens=True)
    assert pipeline.pooling is not None
    vectors = pool(graph, tokens, mask, pipeline.pooling)
    width = width and last_width(steps, width) * len(pipeline.pooling.modes)
    return apply_steps(graph, weights, vectors, pipeline.head, tensors, width)


def _check_labels(model: Description, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelDamaged if the classifier's outputs and the labels of config.json differ."""
    head = model.pipeline.head
    layer = head[-1] if head else None
    if not isinstance(layer, ClassifierLayer):
        return
    weight = tensors.get(f"{layer.name}.weight")
    if weight is not None and weight.shape[0] != model.dimension:
        reason = f"{weight.shape[0]} outputs in its weights, {model.dimension} in config.json"
        raise ModelDamaged(model.folder, reason=reason)


def _write_head(
    model: Description, shipped: str, folder: str, tensors: Mapping[str, Mapping[str, Tensor]]
) -> GraphFiles:
    """Write pooling and head as a second graph; the shipped graph stays unchanged."""
    outputs = output_names(os.path.join(folder, shipped))
    for name in _TOKEN_OUTPUTS:
        if name in outputs:
            graph = GraphBuilder(folder)
            weights = LinkedWeights(graph)
            mask = _pooled_mask(model.pipeline)
            vectors = _add_pipeline(
                graph, weights, "tokens", mask, model.pipeline, tensors, width=None
            )
            inputs = {"tokens": ("FLOAT", 3), mask: ("INT32", 2)}
            content = graph.build(inputs, vectors, model.dimension)
            write_whole(os.path.join(folder, "head.onnx"), content)
            return GraphFiles(encoder=shipped, output=name, optimized=False, head="head.onnx")
    for name in _VECTOR_OUTPUTS:
        if name in outputs:
            return GraphFiles(encoder=shipped, output=name, optimized=False, head=None)
    known = (*_TOKEN_OUTPUTS, *_VECTOR_OUTPUTS)
    raise UnsupportedModel(folder, feature="ONNX outputs", got=outputs, supported=known)
