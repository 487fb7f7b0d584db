"""Describe the model in a folder: all that the preparation must know of it.

This module opens no weights, but reads the shape of a table of tokens.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hotstart.errors import (
    HotstartError,
    ModelDamaged,
    ModelIncomplete,
    UnsupportedModel,
    WrongKind,
    described,
)
from hotstart.models.architectures import FAMILIES, LAYER_TYPES, refused_layers
from hotstart.models.chat_template import CHAT_TEMPLATE, read_template, without_template
from hotstart.models.configuration import (
    MOST_POSITIONS,
    RAW_ERRORS,
    SPECIAL_TOKENS,
    TRANSFORMER_CONFIGS,
    ConfigFiles,
    beside,
    check_prompts,
    inside,
    max_active_dims,
    max_seq_length,
    modules_of,
    prompts_of,
    read_config_files,
    read_json,
    truncate_dim,
)
from hotstart.models.files import (
    ADAPTER,
    CHECKPOINT,
    CHECKPOINT_INDEX,
    COLBERT_LINEAR,
    SINGLE_WEIGHTS,
    SPARSE_LINEAR,
    VOCABULARY_SETTINGS,
    WEIGHTS_INDEX,
    encoder_part,
    encoder_weights,
    graph_of,
    missing_files,
    tokenizer_file,
)
from hotstart.models.heads import HEAD_FILES, RERANKER, TASK_HEADS, check_kind, dimension_of
from hotstart.models.late_interaction import (
    COLBERT_SETTINGS,
    from_colbert,
    is_colbert,
    markers_of,
    with_markers,
)
from hotstart.models.modules import ROUTERS, TABLES, Pipeline, Pooling, read_pipeline
from hotstart.models.onnx_files import SHIPPED_GRAPH, graphs_in
from hotstart.models.routes import ROUTER_CONFIGS, has_router, routes_of
from hotstart.models.spec import is_static
from hotstart.models.tokenizer import overriding_normalizer, special_tokens_of, truncation_side
from hotstart.safetensors import read_header
from hotstart.types import KIND_OF, TOKENIZER, Classifier, TokenSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """The description of a model, as its folder gives it.

    Attributes:
        weights: safetensors files, relative to `folder`; empty if `shipped_graph` is used.
        shipped_graph: the repository's ONNX file, used if no graph can be built or it was chosen.
        tokenizer: the file of the tokenizer, relative to `folder`.
        part: the sub-folder of the encoder, empty for the model folder itself.
        pipeline: what comes after the transformer.
        dimension: length of a vector; for a reranker, the number of labels.
        max_seq_length: maximum tokens of a text, special tokens included.
        lowercase: whether texts are lower-cased before any other normalisation.
        normalizer: replaces the tokenizer's normaliser, unless None.
        special_tokens: the tokens to put around a text, as files beside tokenizer.json name them.
        truncate_dim: number of leading dimensions to keep, if the model sets one.
        prompts: texts to put before an input, by prompt name.
        segments: whether the encoder takes the segment (text of a pair) of each token.
        classifier: the outputs of a reranker; None for an embedding model.
        settings: settings of the architecture by BERT's key; empty if `shipped_graph` is used.
        truncation_side: `right` or `left`, the end at which longer texts are cut.
        add_prefix_space: overrides the setting of a byte-level tokenizer, unless None.
        tokens: see `hotstart.types.PreparedModel`.
        markers: texts that the tokenizer must keep whole, if its vocabulary has them.
        max_active_dims: see `hotstart.types.ModelInfo`.
        modules: the class and the sub-folder of each module.
        tasks: the tasks of the texts that this encoder is for; None without a Router.
        routes: the encoders for other tasks, of a model with a Router.
        route: the name of the encoder among `routes`; empty for the model itself.
        table: the tensor with a row for each token, of a model without a transformer.
        adds_special: whether special tokens are put around a text.
        is_cut: whether texts are cut at `max_seq_length`; otherwise tokenizer.json decides.
    """

    folder: str
    model_type: str
    weights: tuple[str, ...]
    shipped_graph: str | None
    tokenizer: str
    part: str
    pipeline: Pipeline
    dimension: int
    max_seq_length: int
    pad_token_id: int
    lowercase: bool
    normalizer: dict[str, Any] | None
    truncate_dim: int | None
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    segments: bool = False
    classifier: Classifier | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    truncation_side: str = "right"
    add_prefix_space: bool | None = None
    special_tokens: Collection[Any] = ()
    tokens: TokenSettings | None = None
    markers: tuple[str, ...] = ()
    max_active_dims: int | None = None
    modules: tuple[tuple[str, str], ...] = ()
    tasks: tuple[str, ...] | None = None
    routes: tuple[Description, ...] = ()
    route: str = ""
    table: str | None = None
    adds_special: bool = True
    is_cut: bool = True

    @property
    def parts(self) -> tuple[Description, ...]:
        """The description of each encoder: the model's own, and those of `routes`."""
        return (self, *self.routes)

    @property
    def all_tasks(self) -> tuple[str, ...] | None:
        """The tasks that the model has encoders for; None without a Router."""
        return self.tasks and tuple(task for part in self.parts for task in part.tasks or ())

    @property
    def padding_token(self) -> int:
        """The token that pads a batch, which no text attends to: any where pad_token_id is none."""
        return max(0, self.pad_token_id)

    @property
    def kind(self) -> str:
        """The kind of the model, a key of TASK_HEADS."""
        return RERANKER if self.classifier else KIND_OF[self.pipeline.returns]

    @property
    def reads_task(self) -> bool:
        """Whether a vector depends on what is the prompt of a text, or on its task."""
        pooling = self.pipeline.pooling
        excludes_prompt = pooling is not None and not pooling.include_prompt
        return self.tasks is not None or self.tokens is not None or excludes_prompt


def describe(
    folder: str,
    source: str,
    kind: str = "embedding",
    file: str | None = None,
    max_length: int | None = None,
) -> Description:
    """Return the description of the model in `folder`.

    Where the weights cannot be run and the folder has an ONNX file, that file is described.

    Args:
        folder: the model folder.
        source: the user's name for the model, for error messages.
        kind: the kind of the model.
        file: the ONNX file to run, relative to `folder`; None for the weights or the best file.
        max_length: tokens kept of a text; None for the model's own limit.

    Raises:
        ModelIncomplete: files are missing.
        ModelDamaged: a configuration file is not valid JSON.
        UnsupportedModel: the architecture is unknown, and the folder has no ONNX file.
    """
    try:
        return _describe(folder, source, kind, file, max_length)
    except UnsupportedModel as error:
        graph = None if file else instead_of_weights(folder, error)
        if graph is None:
            raise
        return describe(folder, source, kind, graph, max_length)
    except HotstartError:
        raise
    except RAW_ERRORS as error:
        reason = f"a setting has an invalid value ({described(error)})"
        raise ModelDamaged(folder, reason=reason) from error


def instead_of_weights(folder: str, error: UnsupportedModel) -> str | None:
    """Return the ONNX file that is run because of `error`, and log it; None without one.

    None too if the model has no weights: then the error is about the ONNX file.
    """
    if has_router(folder):
        return None
    part = encoder_part(modules_of(folder))
    graph = graph_of(folder, part) if encoder_weights(folder, part) else None
    if graph is not None:
        logger.info("%s is run instead of the weights: %s", graph, error.facts)
    return graph


def _describe(
    folder: str, source: str, kind: str, file: str | None, max_length: int | None
) -> Description:
    if not file:
        _refuse_adapter(folder)
    missing = missing_files(folder, file)
    if missing:
        raise ModelIncomplete(source, folder=folder, missing=missing, on_hub=False)
    if is_static(folder) and not file:
        _refuse_static(folder, kind)
    routes = routes_of(folder)
    if not has_router(folder):
        return _describe_route(folder, routes[0].modules, kind, file, max_length)
    if kind not in _ROUTED or file:
        raise UnsupportedModel(
            folder,
            feature="module",
            got="Router",
            supported=(f"a Router of {' or '.join(_ROUTED)} models",),
            kind=kind,
        )
    main, *others = (
        replace(_describe_route(folder, route.modules, kind, file, max_length), tasks=route.tasks)
        for route in routes
    )
    for part in (main, *others):
        _check_route(part, main)
    named = tuple(replace(part, route=(part.tasks or ("",))[0] or "default") for part in others)
    return replace(main, routes=named)


def _refuse_adapter(folder: str) -> None:
    """Raise UnsupportedModel for an adapter, which sentence-transformers adds to other weights."""
    for part in {"", encoder_part(modules_of(folder))}:
        name = inside(part, ADAPTER)
        if os.path.isfile(os.path.join(folder, name)):
            raise UnsupportedModel(
                folder,
                feature="an adapter",
                got=name,
                supported=("models whose adapters are merged into their weights",),
                remedy="Merge it (merge_and_unload of peft) and save the model, or run it with "
                "engine='torch' (pip install 'hotstart[torch]' peft)",
            )


def _refuse_static(folder: str, kind: str) -> None:
    """Raise UnsupportedModel for a static model, which has an engine of its own."""
    if kind != "embedding":
        raise WrongKind(folder, kind="static", wanted=kind)
    raise UnsupportedModel(
        folder,
        feature="module",
        got="StaticEmbedding",
        supported=("Transformer",),
        remedy="It needs no preparation: load it with Embedder, on engine='static'",
    )


_ROUTED = ("embedding", "sparse")
"""The kinds of models that a Router is read of."""


def _check_route(part: Description, main: Description) -> None:
    """Raise UnsupportedModel for an encoder that has only an ONNX file, or other vectors."""
    if part.shipped_graph is not None:
        raise UnsupportedModel(
            part.folder,
            feature="only",
            got=part.shipped_graph,
            supported=(SINGLE_WEIGHTS,),
            kind=part.kind,
        )
    if part.dimension != main.dimension:
        raise UnsupportedModel(
            part.folder,
            feature="dimensions of a Router",
            got=[main.dimension, part.dimension],
            supported=("encoders of one dimension",),
            kind=part.kind,
        )


def _describe_route(
    folder: str,
    modules: tuple[tuple[str, str], ...],
    kind: str,
    file: str | None,
    max_length: int | None,
) -> Description:
    if modules and modules[0][0] in TABLES and not file:
        return _describe_table(folder, modules, kind, max_length)
    part = encoder_part(modules)
    shipped = file or graph_of(folder, part)
    tokenizer = tokenizer_file(folder, part, shipped)
    files = read_config_files(folder, part, tokenizer, modules)
    if kind == "multi_vector":
        files = _marked(files)
    can_build = files.model_type in FAMILIES and not file
    weights = encoder_weights(folder, part) if can_build else ()
    if not weights and shipped is None:
        _refuse_architecture(files, kind)
    settings = _settings(files, kind) if weights else {}
    check_prompts(files.sentence)
    check_kind(files, kind)
    template = read_template(files, kind)
    if template is not None:
        files = without_template(files, kind)
    if kind in HEAD_FILES and not weights:
        only = (SINGLE_WEIGHTS,)
        raise UnsupportedModel(folder, feature="only", got=shipped, supported=only, kind=kind)
    task = TASK_HEADS[kind](files, bool(weights))
    if template is not None:
        task = task._replace(tokens=TokenSettings(template=template))
    return Description(
        folder=folder,
        model_type=files.model_type,
        weights=weights,
        shipped_graph=None if weights else shipped,
        tokenizer=tokenizer,
        part=part,
        pipeline=task.pipeline,
        dimension=task.dimension,
        max_seq_length=_longest(files, task.tokens, max_length),
        pad_token_id=int(settings.get("pad_token_id", files.config.get("pad_token_id")) or 0),
        lowercase=bool(files.transformer.get("do_lower_case")),
        normalizer=overriding_normalizer(files.model_type, files.tokenizer),
        special_tokens=special_tokens_of(
            files.tokenizer, read_json(folder, beside(tokenizer, SPECIAL_TOKENS))
        ),
        truncate_dim=truncate_dim(files, task.dimension),
        prompts=prompts_of(files.sentence),
        default_prompt_name=files.sentence.get("default_prompt_name"),
        segments=task.segments,
        classifier=task.classifier,
        settings=settings,
        truncation_side=truncation_side(folder, files.tokenizer),
        add_prefix_space=files.tokenizer.get("add_prefix_space"),
        tokens=task.tokens,
        markers=tuple(markers_of(files.sentence).values()) if kind == "multi_vector" else (),
        max_active_dims=max_active_dims(files),
        modules=modules,
        adds_special=template is None,
    )


def _marked(files: ConfigFiles) -> ConfigFiles:
    """Return the files of a late-interaction model with its markers in its prompts."""
    sentence = files.sentence
    if is_colbert(files.config) and not modules_of(files.folder):
        sentence = from_colbert(read_json(files.folder, COLBERT_SETTINGS))
    return files._replace(sentence=with_markers(sentence))


def _settings(files: ConfigFiles, kind: str) -> dict[str, Any]:
    """Return the settings of the architecture. Raises UnsupportedModel for one that is not built.

    What the graph does not follow beyond that is told where the graph is built.
    """
    family = FAMILIES[files.model_type]
    settings = family.settings(files.config)
    refuse = partial(UnsupportedModel, files.folder, kind=kind)
    if settings["is_decoder"]:
        raise refuse(feature="is_decoder", got=True, supported=("an encoder",))
    lacking = family.lacks(files.config)
    if lacking:
        feature = f"rope_type {settings['rope_type']!r} without"
        raise refuse(feature=feature, got=lacking, supported=("it with all of its settings",))
    layers = refused_layers(settings)
    if layers is not None:
        one_each = (f"one of {' and '.join(LAYER_TYPES)} for each layer, if there is a window",)
        raise refuse(feature="layer_types", got=layers, supported=one_each)
    return settings


def _longest(files: ConfigFiles, tokens: TokenSettings | None, chosen: int | None) -> int:
    """Return the most tokens of a text of any task."""
    usual = max_seq_length(files, chosen)
    if tokens is None:
        return usual
    expanded = tokens.expansion.length if tokens.expansion else 0
    return max(usual, tokens.query_length or 0, tokens.document_length or 0, expanded)


def _describe_table(
    folder: str, modules: tuple[tuple[str, str], ...], kind: str, max_length: int | None
) -> Description:
    """Return the description of a module without a transformer, and of what comes after it."""
    (name, _), *after = modules
    part = encoder_part(modules)
    tokenizer = tokenizer_file(folder, part, None)
    files = read_config_files(folder, part, tokenizer, modules)
    check_prompts(files.sentence)
    check_kind(files, kind)
    shape = _shape_of_table(files, part, TABLES[name])
    is_sparse = name == "SparseStaticEmbedding"
    if is_sparse != (kind == "sparse") or (is_sparse and after):
        got = [each for each, _ in modules]
        known = ("SparseStaticEmbedding",) if kind == "sparse" else ("StaticEmbedding",)
        raise UnsupportedModel(folder, feature="modules", got=got, supported=known, kind=kind)
    if is_sparse:
        pipeline = Pipeline((), None, (), "token_weights")
        dimension = shape[0]
    else:  # the mean of the rows of its tokens; the module has no configuration
        mean = Pooling(("mean",), may_be_empty=True)
        rest = read_pipeline(folder, [("Pooling", ""), *after], _reader(folder))
        pipeline = rest._replace(pooling=mean)
        dimension = dimension_of(shape[1], pipeline)
    longest = max_length or int(files.tokenizer.get("model_max_length") or MOST_POSITIONS)
    return Description(
        folder=folder,
        model_type=name,
        weights=(inside(part, SINGLE_WEIGHTS),),
        shipped_graph=None,
        tokenizer=tokenizer,
        part=part,
        pipeline=pipeline,
        dimension=dimension,
        max_seq_length=min(longest, MOST_POSITIONS),
        pad_token_id=0,
        lowercase=False,
        normalizer=overriding_normalizer("", files.tokenizer) if is_sparse else None,
        truncation_side=truncation_side(folder, files.tokenizer) if is_sparse else "right",
        truncate_dim=truncate_dim(files, dimension),
        prompts=prompts_of(files.sentence),
        default_prompt_name=files.sentence.get("default_prompt_name"),
        max_active_dims=max_active_dims(files),
        modules=modules,
        table=TABLES[name],
        adds_special=False,
        is_cut=is_sparse or max_length is not None,
    )


def _reader(folder: str) -> Callable[[str], Mapping[str, Any]]:
    """Return a function that reads the configuration of a module; empty without a sub-folder."""
    return lambda name: {} if name.startswith("/") else read_json(folder, name)


def _shape_of_table(files: ConfigFiles, part: str, tensor: str) -> tuple[int, ...]:
    """Return the shape of the table `tensor` in the weights of `part`."""
    config = read_json(files.folder, inside(part, "config.json"))
    if tensor == "weight" and config.get("path") is not None:
        supported = (SINGLE_WEIGHTS,)
        raise UnsupportedModel(
            files.folder, feature="path", got=config["path"], supported=supported, kind="sparse"
        )
    tensors = read_header(os.path.join(files.folder, inside(part, SINGLE_WEIGHTS)))
    if tensor not in tensors:
        got = sorted(tensors)[:3]
        raise UnsupportedModel(files.folder, feature="tensor names", got=got, supported=(tensor,))
    shape = tensors[tensor].shape
    if len(shape) != (1 if tensor == "weight" else 2):
        raise ValueError(f"a table of shape {shape}")
    return shape


def _refuse_architecture(files: ConfigFiles, kind: str) -> None:
    """Raise UnsupportedModel for a model without a graph that could be built or run."""
    folder = files.folder
    graphs = graphs_in(folder)
    if graphs:
        names = " or ".join(f"file={name!r}" for name in graphs)
        raise UnsupportedModel(
            folder,
            feature="ONNX files",
            got=graphs,
            supported=("one of them, by its name",),
            kind=kind,
            remedy=f"Choose one with {names}",
        )
    remedy = None
    if files.config.get("auto_map"):
        options = "engine='torch', trust_remote_code=True"
        remedy = f"If you trust its code, run it with {options} (pip install 'hotstart[torch]')"
    raise UnsupportedModel(
        folder,
        feature="architecture",
        got=files.model_type,
        supported=tuple(FAMILIES),
        kind=kind,
        remedy=remedy,
    )


def files_read(model: Description) -> list[str]:
    """Return the files that decide the artifact of `model`, relative to its folder.

    Files that do not exist are included: their appearance would change the artifact.
    """
    names = ["modules.json", "config_sentence_transformers.json"]
    names += [
        inside(path, name)
        for kind, path in modules_of(model.folder)
        if kind in ROUTERS
        for name in ROUTER_CONFIGS
    ]
    for part in model.parts:
        names += _files_of_part(part)
    return list(dict.fromkeys(names))


def _files_of_part(model: Description) -> list[str]:
    modules = [
        f"{path}/{name}"
        for _, path in model.modules
        if path
        for name in ("config.json", SINGLE_WEIGHTS, CHECKPOINT)
    ]
    of_encoder = [
        "config.json",
        *TRANSFORMER_CONFIGS,
        TOKENIZER,
        SINGLE_WEIGHTS,
        WEIGHTS_INDEX,
        CHECKPOINT,
        CHECKPOINT_INDEX,
        SHIPPED_GRAPH,
        CHAT_TEMPLATE,
        ADAPTER,
    ]
    return [
        *(inside(model.part, name) for name in of_encoder),
        beside(model.tokenizer, "tokenizer_config.json"),
        beside(model.tokenizer, SPECIAL_TOKENS),
        *tokenizer_files(model),
        *(SPARSE_LINEAR, COLBERT_LINEAR, COLBERT_SETTINGS),
        *model.weights,
        *modules,
    ]


def tokenizer_files(model: Description) -> list[str]:
    """Return the files that decide the tokenizer of `model`, relative to its folder."""
    settings = (*VOCABULARY_SETTINGS, "tokenizer_config.json", SPECIAL_TOKENS)
    names = []
    for part in model.parts:
        names.append(part.tokenizer)
        if os.path.basename(part.tokenizer) != TOKENIZER:
            names += [beside(part.tokenizer, name) for name in settings]
    found = [name for name in names if os.path.isfile(os.path.join(model.folder, name))]
    return list(dict.fromkeys(found))
