"""Write the ONNX files of an artifact."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.files import write_whole
from hotstart.models.architectures import FAMILIES
from hotstart.models.description import Description
from hotstart.models.modules import ClassifierLayer, Pipeline, Pooling, last_width
from hotstart.preparation.graph.builder import OUTPUT, GraphBuilder, GraphPort, read_ports
from hotstart.preparation.graph.encoder import Encoder
from hotstart.preparation.graph.head import add_splade, apply_steps, pool, up_to_last
from hotstart.preparation.graph.weights import LinkedWeights, Weights
from hotstart.safetensors import Tensor
from hotstart.types import GraphFiles

_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
_VECTOR_OUTPUTS = ("sentence_embedding",)
_LOGITS = ("logits",)
_ELEMENTS = ("FLOAT", "FLOAT16")
_INPUT_ELEMENTS = ("INT64", "INT32")
_OF_TOKENS = {"token_weights", "token_vectors"}


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
    names = ["input_ids", "attention_mask"]
    if model.segments:
        names.append("token_type_ids")
    mask = _pooled_mask(model.pipeline)
    if model.table is None:
        encoder = Encoder(graph, weights, model, tensors[""])
        encoder.check()
        tokens = encoder.tokens(*names)
        hidden, rows = encoder.hidden, encoder.rows
        names.append(mask)
    else:
        tokens, (rows, hidden) = _add_table(graph, weights, model.table, tensors[""])
        names = ["input_ids", *([mask] if model.pipeline.pooling else [])]
    inputs = dict.fromkeys(names, ("INT32", 2))
    head = model.pipeline.head
    if (
        head
        and model.pipeline.pooling == Pooling(("lasttoken",))
        and isinstance(head[0], ClassifierLayer)
    ):
        if model.pad_token_id < 0:  # in transformers, the scores depend on the batch then
            raise UnsupportedModel(
                model.folder,
                feature="pad_token_id",
                got=model.pad_token_id,
                supported=("a token, for a classifier of the last one",),
                kind=model.kind,
            )
        mask = up_to_last(graph, "input_ids", model.pad_token_id)
    if model.pipeline.splade is not None:
        result = add_splade(graph, weights, tokens, model, tensors[""])
    else:
        result = _add_pipeline(graph, weights, tokens, mask, model.pipeline, tensors, width=hidden)
    of_tokens = ["tokens"] if model.pipeline.returns in _OF_TOKENS else []
    width = 1 if model.pipeline.returns == "token_weights" else model.dimension
    content = graph.build(inputs, result, ["batch", *of_tokens, width])
    name = f"{model.route or 'model'}.onnx"
    write_whole(os.path.join(folder, name), content)
    return GraphFiles(
        encoder=name,
        output=OUTPUT,
        optimized=True,
        head=None,
        block=weights.block,
        returns=model.pipeline.returns,
        rows=rows if rows <= largest_token else None,
    )


def _add_table(
    graph: GraphBuilder,
    weights: Weights,
    name: str,
    tensors: Mapping[str, Tensor],
) -> tuple[str, tuple[int, int]]:
    """Add the row of each token in the table `name`, and return them and the table's shape.

    A row of a table with one axis is a number.
    """
    table = tensors.get(name)
    if table is None:
        raise ModelDamaged(name, reason="no such tensor of floating-point numbers")
    rows = graph.node("Gather", weights.whole(table), "input_ids")
    if len(table.shape) == 1:
        rows = graph.node("Unsqueeze", rows, graph.constant([-1], "INT64"))
    return rows, (table.shape[0], sum(table.shape[1:]) or 1)


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
    if pipeline.pooling is None:
        return tokens
    vectors = pool(graph, tokens, mask, pipeline.pooling)
    width = width and last_width(steps, width) * len(pipeline.pooling.modes)
    return apply_steps(graph, weights, vectors, pipeline.head, tensors, width)


def _check_labels(model: Description, tensors: Mapping[str, Tensor]) -> None:
    """Raise an error unless the classifier is there and has the outputs of config.json."""
    head = model.pipeline.head
    layer = head[-1] if head else None
    if not isinstance(layer, ClassifierLayer):
        return
    weight = tensors.get(f"{layer.name}.weight")
    if weight is None:
        raise UnsupportedModel(
            model.folder,
            feature="no tensor",
            got=f"{layer.name}.weight",
            supported=("models with their classifier",),
            kind=model.kind,
            remedy="Load it with Embedder, or use a model that has a classifier",
        )
    if weight.shape[0] != model.dimension:
        reason = f"{weight.shape[0]} outputs in its weights, {model.dimension} in config.json"
        raise ModelDamaged(model.folder, reason=reason)


def _write_head(
    model: Description, shipped: str, folder: str, tensors: Mapping[str, Mapping[str, Tensor]]
) -> GraphFiles:
    """Write pooling and head as a second graph; the shipped graph stays unchanged."""
    inputs, outputs = read_ports(os.path.join(folder, shipped))
    _check_inputs(model, inputs)
    known = _LOGITS if model.classifier else (*_TOKEN_OUTPUTS, *_VECTOR_OUTPUTS)
    output = next((name for name in known if name in outputs), None)
    element = outputs[output].element if output else None
    if output is None or element not in _ELEMENTS:
        got = [f"{name} ({port.element.lower()})" for name, port in outputs.items()]
        raise UnsupportedModel(
            model.folder, feature="ONNX outputs", got=got, supported=known, kind=model.kind
        )
    has_tokens = output in _TOKEN_OUTPUTS
    steps = model.pipeline.head
    if not has_tokens:  # the graph pools; a Dense layer is in it, and so may be the normalization
        steps = ("normalize",) if steps and steps[-1] == "normalize" else ()
    files = GraphFiles(encoder=shipped, output=output, optimized=False, head=None)
    if not has_tokens and not steps and element == "FLOAT":
        _check_width(model, outputs[output])
        return files
    graph = GraphBuilder(folder)
    vectors = "tokens" if element == "FLOAT" else graph.cast("tokens", "FLOAT")
    weights = LinkedWeights(graph)
    mask = _pooled_mask(model.pipeline)
    if has_tokens:
        vectors = _add_pipeline(graph, weights, vectors, mask, model.pipeline, tensors, width=None)
    else:
        _check_width(model, outputs[output])
        vectors = apply_steps(graph, weights, vectors, steps, tensors, width=None)
    head_inputs = {"tokens": (element, 3 if has_tokens else 2), mask: ("INT32", 2)}
    content = graph.build(head_inputs, vectors, ["batch", model.dimension])
    write_whole(os.path.join(folder, "head.onnx"), content)
    return files._replace(head="head.onnx")


def _check_inputs(model: Description, inputs: Mapping[str, GraphPort]) -> None:
    """Raise UnsupportedModel for an input of a shipped graph that no text gives."""
    family = FAMILIES.get(model.model_type)
    known = {"input_ids", "attention_mask"}
    if model.segments or not model.classifier:  # the segments of a single text are all 0
        known.add("token_type_ids")
    if family is None or family.positions != "after padding":
        known.add("position_ids")
    unknown = [
        f"{name} ({port.element.lower()})"
        for name, port in inputs.items()
        if name not in known or port.element not in _INPUT_ELEMENTS
    ]
    if unknown or "input_ids" not in inputs:
        raise UnsupportedModel(
            model.folder,
            feature="ONNX inputs",
            got=unknown or list(inputs),
            supported=tuple(sorted(known)),
            kind=model.kind,
        )


def _check_width(model: Description, port: GraphPort) -> None:
    """Raise ModelDamaged if the vectors of a shipped graph have another length than they should."""
    width = port.shape[-1] if port.shape else 0
    if width not in {0, model.dimension}:
        reason = f"its vectors have {width} numbers, its configuration says {model.dimension}"
        raise ModelDamaged(model.folder, reason=reason)
