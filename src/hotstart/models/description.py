"""Read a model folder of sentence-transformers or transformers.

Files read: config.json, modules.json, sentence_*_config.json, config_sentence_transformers.json,
tokenizer_config.json, and the config.json of each module. This module opens no weights, but reads
the shape of a table of tokens.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hotstart.errors import (
    HotstartError,
    ModelDamaged,
    ModelIncomplete,
    UnsupportedModel,
    described,
)
from hotstart.files import read_bounded
from hotstart.models.architectures import (
    FAMILIES,
    RERANKER,
    TokenScore,
    classifier_layers,
    family_of,
    is_causal_lm,
    read_classifier,
    token_score,
)
from hotstart.models.late_interaction import (
    COLBERT,
    COLBERT_SETTINGS,
    PYLATE,
    PYLATE_DENSE,
    TokenLimits,
    from_colbert,
    markers_of,
    read_token_settings,
    with_markers,
)
from hotstart.models.modules import (
    MASKED_HEADS,
    MODULES,
    TOKENS,
    WEIGHTED,
    WITHOUT_EFFECT,
    DenseLayer,
    Pipeline,
    Pooling,
    last_width,
    read_pipeline,
    read_splade,
    refuse_settings,
)
from hotstart.models.onnx_files import SHIPPED_GRAPH, find_graph, graphs_in
from hotstart.models.routes import (
    ROUTER_CONFIGS,
    ROUTERS,
    TaskRoute,
    inside,
    read_routes,
    router_config,
)
from hotstart.models.spec import is_static
from hotstart.models.tokenizer import (
    gives_segments,
    overriding_normalizer,
    special_tokens_of,
    truncation_side,
    vocabulary_of,
)
from hotstart.safetensors import read_header
from hotstart.types import TOKENIZER, Classifier, TokenSettings

logger = logging.getLogger(__name__)


class ConfigFiles(NamedTuple):
    """The configuration files of one model; an absent file is an empty dict.

    Attributes:
        config: config.json.
        sentence: config_sentence_transformers.json.
        tokenizer: tokenizer_config.json.
        transformer: sentence_bert_config.json, or its file under a legacy name.
        modules: the class and the sub-folder of each module of a route; empty for a bare
            transformer.
    """

    folder: str
    config: dict[str, Any]
    sentence: dict[str, Any]
    tokenizer: dict[str, Any]
    transformer: dict[str, Any]
    modules: Sequence[tuple[str, str]] = ()

    @property
    def model_type(self) -> str:
        """The model's family, as `family_of` names it."""
        return family_of(self.config)


def read_config_files(
    folder: str, part: str, tokenizer: str, modules: Sequence[tuple[str, str]]
) -> ConfigFiles:
    """Return the configuration files of `folder`.

    Without modules.json, the folder is a bare transformer: sentence-transformers reads no settings
    of its own then.

    Args:
        folder: the model folder.
        part: the sub-folder of the encoder, empty for the model folder itself.
        tokenizer: the file of the tokenizer, relative to `folder`; its configuration is beside it.
        modules: the class and the sub-folder of each module.

    Raises:
        ModelDamaged: a file is not JSON.
    """
    is_bare = not os.path.exists(os.path.join(folder, "modules.json"))
    return ConfigFiles(
        folder=folder,
        config=read_json(folder, _within(part, "config.json")),
        sentence={} if is_bare else read_json(folder, "config_sentence_transformers.json"),
        tokenizer=read_json(folder, _beside(tokenizer, "tokenizer_config.json")),
        transformer={} if is_bare else _transformer_config(os.path.join(folder, part)),
        modules=modules,
    )


def modules_of(folder: str) -> list[tuple[str, str]]:
    """Return (class name, sub-folder) of each entry of modules.json; empty without that file.

    A class of another library, or one that is not read, keeps its full name, so that it is not
    taken for one of the same name in sentence-transformers.
    """
    entries = read_json(folder, "modules.json", default=[])
    path = os.path.join(folder, "modules.json")
    try:
        modules = [(_class_name(entry["type"]), str(entry["path"])) for entry in entries]
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelDamaged(path, reason=f"not a list of modules ({described(error)})") from error
    for _, inner in modules:
        check_inner(path, inner)
    return modules


def routes_of(folder: str) -> list[TaskRoute]:
    """Return the routes of the model in `folder`; one of all tasks without a Router.

    Raises:
        ModelDamaged: the configuration of the Router is invalid.
        UnsupportedModel: no text has a route.
    """
    try:
        routes = read_routes(
            folder, modules_of(folder), lambda name: read_json(folder, name), _class_name
        )
    except _RAW_ERRORS as error:
        reason = f"its Router has an invalid configuration ({described(error)})"
        raise ModelDamaged(folder, reason=reason) from error
    for route in routes:
        for _, inner in route.modules:
            check_inner(folder, inner)
    return routes


def has_router(folder: str) -> bool:
    """Return whether a text's task decides its encoder."""
    return any(kind in ROUTERS for kind, _ in modules_of(folder))


def check_inner(path: str, name: str) -> None:
    """Raise ModelDamaged unless `name`, which the file `path` gives, stays within its folder."""
    if os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
        raise ModelDamaged(path, reason=f"it names {name!r}, which is outside of its folder")


_LOGIT_SCORE = "LogitScore"
_CLASSES_READ = {
    *("Transformer", "StaticEmbedding", "SparseStaticEmbedding", *ROUTERS, _LOGIT_SCORE),
    *("MLMTransformer", "SpladePooling", "MultiVectorMask"),
    *MODULES,
    *WITHOUT_EFFECT,
}


def _class_name(path: str) -> str:
    name = path.rpartition(".")[2]
    return name if path.startswith("sentence_transformers.") and name in _CLASSES_READ else path


_JSON_TYPES: dict[Any, str] = {dict: "object", list: "array"}
_LARGEST_CONFIG = 16_000_000  # bytes; the index of 1000 shards has less than one


def read_json(folder: str, name: str, default: Any = None) -> Any:
    """Return the JSON of the file `name`.

    If the file is absent, return `default`, or an empty dict if `default` is None.

    Raises:
        ModelDamaged: the file is not JSON of that type, cannot be read, or is too large.
    """
    path = os.path.join(folder, name)
    try:
        content = json.loads(read_bounded(path, _LARGEST_CONFIG))
    except FileNotFoundError:
        return {} if default is None else default
    except OSError as error:
        raise ModelDamaged(path, reason=str(error.strerror)) from error
    except ValueError as error:
        raise ModelDamaged(path, reason=f"not JSON ({error})") from error
    except RecursionError as error:
        raise ModelDamaged(path, reason="nested too deeply") from error
    expected = dict if default is None else type(default)
    if not isinstance(content, expected):
        raise ModelDamaged(path, reason=f"not a JSON {_JSON_TYPES[expected]}")
    return content


VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model")
VOCABULARY_SETTINGS = ("merges.txt", "added_tokens.json")
"""What older models have for tokenizer.json; see `hotstart.models.vocabulary`."""
SPECIAL_TOKENS = "special_tokens_map.json"
_TRANSFORMER_CONFIGS = [
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
"""Names of one file, in the order of sentence-transformers; later versions write the first."""


def _transformer_config(folder: str) -> dict[str, Any]:
    """Return the content of the first of _TRANSFORMER_CONFIGS that exists."""
    for name in _TRANSFORMER_CONFIGS:
        if os.path.exists(os.path.join(folder, name)):
            content: dict[str, Any] = read_json(folder, name)
            return content
    return {}


class TaskHead(NamedTuple):
    """The head after the encoder, and the inputs that it needs."""

    pipeline: Pipeline
    dimension: int
    segments: bool = False
    classifier: Classifier | None = None
    tokens: TokenSettings | None = None


def _embedding(files: ConfigFiles, is_built: bool) -> TaskHead:
    refuse_settings(files.folder, files.transformer)
    pipeline = _read_modules(files.folder, files.modules)
    family = FAMILIES.get(files.model_type)
    hidden = family.settings(files.config)["hidden_size"] if family else _hidden_size(files.config)
    return TaskHead(pipeline, _dimension(int(hidden), pipeline))


def _hidden_size(config: dict[str, Any]) -> int:
    """Return the width of a shipped graph, whose architecture is unknown."""
    names = ("hidden_size", "dim", "d_model", "n_embd")
    return int(next(config[name] for name in names if config.get(name)))


def _reranker(files: ConfigFiles, is_built: bool) -> TaskHead:
    """Return the head of a CrossEncoder: a classifier over the first token.

    A shipped graph has its classifier inside.
    """
    refuse_settings(files.folder, files.transformer, RERANKER, generates=is_causal_lm(files.config))
    for kind, _ in files.modules:
        known = ("Transformer", _LOGIT_SCORE)[: 1 + is_causal_lm(files.config)]
        if kind not in known:
            raise UnsupportedModel(
                files.folder, feature="module", got=kind, supported=known, kind=RERANKER
            )
    pipeline = _classifier_pipeline(files) if is_built else Pipeline((), Pooling(("cls",)), ())
    classifier = read_classifier(files.folder, files.config, files.sentence)
    family = FAMILIES.get(files.model_type)
    has_segments = family is None or (
        family.segments and family.settings(files.config)["type_vocab_size"] > 1
    )
    # The tokenizers of other architectures give segments unless they say otherwise.
    model_type = files.model_type if family else "bert"
    return TaskHead(
        pipeline=pipeline,
        dimension=len(classifier.labels),
        segments=has_segments and gives_segments(model_type, files.tokenizer),
        classifier=classifier,
    )


def _classifier_pipeline(files: ConfigFiles) -> Pipeline:
    """Return pooling and layers of a classifier, or the score of a language model."""
    if is_causal_lm(files.config):
        return Pipeline((), Pooling(("lasttoken",)), (_logit_score(files),))
    pooling, layers = classifier_layers(files.folder, files.config)
    if pooling == "late":  # the mean of scores is the score of the mean: the last layer is linear
        return Pipeline(layers[:-1], Pooling(("mean",)), layers[-1:])
    return Pipeline((), Pooling((pooling,)), layers)


def _logit_score(files: ConfigFiles) -> TokenScore:
    """Return the score of a language model: of its LogitScore module, or of `yes` and `no`."""
    for kind, path in files.modules:
        if kind == _LOGIT_SCORE:
            config = read_json(files.folder, f"{path}/config.json")
            ids = config["true_token_id"], config.get("false_token_id")
            return token_score(files.folder, files.config, ids[0], ids[1])
    vocabulary = vocabulary_of(files.folder)
    if not {"yes", "no"} <= vocabulary.keys():
        raise UnsupportedModel(
            files.folder,
            feature="a tokenizer without the tokens",
            got=["yes", "no"],
            supported=("a language model scored by them, or by its LogitScore module",),
            kind=RERANKER,
        )
    return token_score(files.folder, files.config, vocabulary["yes"], vocabulary["no"])


def _read_modules(folder: str, modules: Sequence[tuple[str, str]]) -> Pipeline:
    """Return what comes after the transformer; a bare one is pooled by the mean."""
    if not modules:
        return Pipeline((), Pooling(("mean",)), ())
    for number, (kind, _) in enumerate(modules):
        if (number == 0) != (kind == "Transformer"):
            first = ("a Transformer before all others",)
            raise UnsupportedModel(folder, feature="module", got=kind, supported=first)
    return read_pipeline(folder, modules[1:], lambda name: read_json(folder, name))


SPARSE_LINEAR = "sparse_linear.pt"
COLBERT_LINEAR = "colbert_linear.pt"


_HEADS = {"sparse": SPARSE_LINEAR, "multi_vector": COLBERT_LINEAR}
"""Files of bge-m3, by the kind of the head that they hold."""


def _sparse(files: ConfigFiles, is_built: bool) -> TaskHead:
    """Return the head of a SparseEncoder, or the sparse one of bge-m3."""
    folder = files.folder
    hidden = int(FAMILIES[files.model_type].settings(files.config)["hidden_size"])
    vocabulary = int(files.config["vocab_size"])
    if os.path.isfile(os.path.join(folder, SPARSE_LINEAR)):
        layer = DenseLayer(SPARSE_LINEAR, hidden, 1, bias=True, activation="ReLU")
        unused = TokenSettings(skiplist=_unused(files), skiplist_tasks=("query", "document"))
        pipeline = Pipeline((layer,), None, (), "token_weights")
        return TaskHead(pipeline, vocabulary, tokens=unused)
    refuse_settings(folder, files.transformer, "sparse")
    modules = files.modules
    kinds = [kind for kind, _ in modules]
    is_bare = not modules and _is_masked_model(files.config)
    task = files.transformer.get("transformer_task", "fill-mask")
    is_splade = kinds in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"])
    if files.model_type not in MASKED_HEADS or not (is_bare or is_splade) or task != "fill-mask":
        known = (f"SpladePooling over a {' or '.join(MASKED_HEADS)}", SPARSE_LINEAR)
        got = kinds or files.config.get("architectures")
        raise UnsupportedModel(folder, feature="modules", got=got, supported=known, kind="sparse")
    config = {} if is_bare else read_json(folder, f"{modules[1][1]}/config.json")
    return TaskHead(read_splade(folder, config), vocabulary)


_MASK = "MultiVectorMask"


def _multi_vector(files: ConfigFiles, is_built: bool) -> TaskHead:
    """Return the head of a late-interaction model, or that of bge-m3."""
    folder = files.folder
    hidden = int(FAMILIES[files.model_type].settings(files.config)["hidden_size"])
    if os.path.isfile(os.path.join(folder, COLBERT_LINEAR)):
        layer = DenseLayer(COLBERT_LINEAR, hidden, hidden, bias=True, activation="Identity")
        pipeline = Pipeline((layer, "normalize"), None, (), "token_vectors")
        return TaskHead(pipeline, hidden, tokens=TokenSettings(skipped=1))
    refuse_settings(folder, files.transformer, "multi_vector")
    modules = [("Dense" if kind == PYLATE_DENSE else kind, path) for kind, path in files.modules]
    masks = [path for kind, path in modules if kind == _MASK]
    is_pylate = files.sentence.get("model_type") == PYLATE
    if _is_colbert(files.config):
        layer = DenseLayer("", hidden, _colbert_dimension(files), bias=False, activation="Identity")
        pipeline = Pipeline((layer, "normalize"), None, (), "token_vectors")
    elif modules and modules[0][0] == "Transformer" and (masks or is_pylate):
        rest = [module for module in modules[1:] if module[0] != _MASK]
        pipeline = read_pipeline(
            folder,
            rest,
            lambda name: read_json(folder, name),
            result=TOKENS,
            dense_reads=TOKENS,
            kind="multi_vector",
        )
        if not masks:  # PyLate normalises in its code
            pipeline = pipeline._replace(token_steps=(*pipeline.token_steps, "normalize"))
    else:
        got = [kind for kind, _ in modules] or files.config.get("architectures")
        known = (f"Transformer, Dense, {_MASK}, Normalize", COLBERT, COLBERT_LINEAR)
        raise UnsupportedModel(
            folder, feature="modules", got=got, supported=known, kind="multi_vector"
        )
    fill = _special_token(files, "mask_token") or _special_token(files, "eos_token")
    tokens = read_token_settings(
        folder,
        files.transformer,
        files.sentence,
        read_json(folder, f"{masks[0]}/config.json") if masks else None,
        fill,
        TokenLimits(_max_seq_length(files, None), _positions(files)),
    )
    return TaskHead(pipeline, last_width(pipeline.token_steps, hidden), tokens=tokens)


def _is_colbert(config: Mapping[str, Any]) -> bool:
    return COLBERT in (config.get("architectures") or ())


def _colbert_dimension(files: ConfigFiles) -> int:
    return int(read_json(files.folder, COLBERT_SETTINGS).get("dim") or 128)


def _is_masked_model(config: Mapping[str, Any]) -> bool:
    return any(str(name).endswith("ForMaskedLM") for name in config.get("architectures") or ())


_UNUSED = {"cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
"""The tokens that bge-m3 gives no weight, with their defaults of XLM-RoBERTa."""


def _unused(files: ConfigFiles) -> tuple[str, ...]:
    return tuple(_special_token(files, name) or usual for name, usual in _UNUSED.items())


def _special_token(files: ConfigFiles, name: str) -> str | None:
    """Return the special token `name` of the tokenizer; None without one."""
    token = files.tokenizer.get(name) or read_json(files.folder, SPECIAL_TOKENS).get(name)
    content = token.get("content") if isinstance(token, Mapping) else token
    return None if content is None else str(content)


_LARGEST_DIMENSION = 1_000_000


def _dimension(hidden: int, pipeline: Pipeline) -> int:
    """Return the length of a vector. Raises ValueError for a length that no model has."""
    dimension = last_width(pipeline.token_steps, hidden)
    if pipeline.pooling is not None:
        dimension = last_width(pipeline.head, dimension * len(pipeline.pooling.modes))
    if not 1 <= dimension <= _LARGEST_DIMENSION:
        raise ValueError(f"vectors of length {dimension}")
    return dimension


TASK_HEADS: dict[str, Callable[[ConfigFiles, bool], TaskHead]] = {
    "embedding": _embedding,
    "reranker": _reranker,
    "sparse": _sparse,
    "multi_vector": _multi_vector,
}
"""Functions that read the head, by model kind; they are told whether the graph is built."""


SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
CHECKPOINT = "pytorch_model.bin"
CHECKPOINT_INDEX = "pytorch_model.bin.index.json"


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
    def kind(self) -> str:
        """The kind of the model, a key of TASK_HEADS."""
        if self.classifier:
            return "reranker"
        returns = self.pipeline.returns
        return {"vectors": "embedding", "token_vectors": "multi_vector"}.get(returns, "sparse")

    @property
    def reads_task(self) -> bool:
        """Whether a vector depends on what is the prompt of a text, or on its task."""
        pooling = self.pipeline.pooling
        excludes_prompt = pooling is not None and not pooling.include_prompt
        return self.tasks is not None or self.tokens is not None or excludes_prompt


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
        *_TRANSFORMER_CONFIGS,
        TOKENIZER,
        SINGLE_WEIGHTS,
        WEIGHTS_INDEX,
        CHECKPOINT,
        CHECKPOINT_INDEX,
        SHIPPED_GRAPH,
    ]
    return [
        *(_within(model.part, name) for name in of_encoder),
        _beside(model.tokenizer, "tokenizer_config.json"),
        _beside(model.tokenizer, SPECIAL_TOKENS),
        *tokenizer_files(model),
        *(SPARSE_LINEAR, COLBERT_LINEAR, COLBERT_SETTINGS),
        *model.weights,
        *modules,
    ]


def missing_files(folder: str, file: str | None = None) -> list[str]:
    """Return the required files that are absent from `folder`, sorted.

    A folder without modules.json is a bare transformer, as in sentence-transformers.
    The result is empty for an unsupported architecture; `describe` raises for one.

    Args:
        folder: the model folder.
        file: the ONNX file to run, relative to `folder`; None for the weights or the best file.
    """
    if is_static(folder):
        return _missing_static(folder)
    for kind, home in modules_of(folder):
        if kind in ROUTERS and not router_config(home, lambda name: read_json(folder, name)):
            return [inside(home, ROUTER_CONFIGS[0])]
    missing = (_missing_of(folder, route.modules, file) for route in routes_of(folder))
    return sorted({name for names in missing for name in names})


def _missing_of(folder: str, modules: Sequence[tuple[str, str]], file: str | None) -> list[str]:
    """Return the required files of a route that are absent from `folder`."""
    part = _encoder_part(modules)
    config_file = _within(part, "config.json")
    config = read_json(folder, config_file)
    graph = file or _graph(folder, part)
    weights = _weight_files(folder, part)
    if modules and modules[0][0] in _TABLES:
        needed = [_within(part, SINGLE_WEIGHTS), _tokenizer_file(folder, part, None)]
    else:
        is_known = str(config.get("model_type")) in FAMILIES
        if config and graph is None and (not is_known or (not weights and graphs_in(folder))):
            return []
        needed = [config_file, _tokenizer_file(folder, part, graph)]
        needed += [file] if file else weights or [graph or _within(part, SINGLE_WEIGHTS)]
    needed += _module_files(folder, modules)
    return [name for name in needed if not os.path.isfile(os.path.join(folder, name))]


def _missing_static(folder: str) -> list[str]:
    """Return the files that a static embedding model lacks."""
    parts = [path for kind, path in modules_of(folder) if kind == "StaticEmbedding"]
    part = os.path.normpath(parts[0] or ".") if parts else "."
    names = [_within("" if part == "." else part, name) for name in (SINGLE_WEIGHTS, TOKENIZER)]
    return [name for name in names if not os.path.isfile(os.path.join(folder, name))]


def _graph(folder: str, part: str) -> str | None:
    """Return the ONNX file that is run, relative to `folder`; that of the encoder's sub-folder."""
    graph = find_graph(graphs_in(os.path.join(folder, part)))
    return None if graph is None else _within(part, graph)


def _tokenizer_file(folder: str, part: str, graph: str | None) -> str:
    """Return the path of the tokenizer, relative to `folder`.

    It is tokenizer.json of the encoder or beside the ONNX file, or an older model's vocabulary.
    """
    usual = _within(part, TOKENIZER)
    vocabularies = [_within(part, name) for name in VOCABULARIES]
    for name in (usual, _beside(graph or usual, TOKENIZER), *vocabularies):
        if os.path.isfile(os.path.join(folder, name)):
            return name
    return usual


def tokenizer_files(model: Description) -> list[str]:
    """Return the files that decide the tokenizer of `model`, relative to its folder."""
    beside = (*VOCABULARY_SETTINGS, "tokenizer_config.json", SPECIAL_TOKENS)
    names = []
    for part in model.parts:
        names.append(part.tokenizer)
        if os.path.basename(part.tokenizer) != TOKENIZER:
            names += [_beside(part.tokenizer, name) for name in beside]
    found = [name for name in names if os.path.isfile(os.path.join(model.folder, name))]
    return list(dict.fromkeys(found))


def _within(part: str, name: str) -> str:
    """Return the path of the file `name` of the encoder's sub-folder `part`, which may be empty."""
    return f"{part}/{name}" if part else name


def _beside(name: str, other: str) -> str:
    """Return the path of the file `other` in the folder of `name`."""
    folder = os.path.dirname(name)
    return f"{folder}/{other}" if folder else other


def _encoder_part(modules: Sequence[tuple[str, str]]) -> str:
    """Return the sub-folder of the encoder; empty for the model folder itself.

    sentence-transformers wrote 0_Transformer until 2020.
    """
    for kind, path in modules:
        if kind in {"Transformer", "MLMTransformer", *_TABLES}:
            part = os.path.normpath(path or ".")
            return "" if part == "." else part
    return ""


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
    except _RAW_ERRORS as error:
        reason = f"a setting has an invalid value ({described(error)})"
        raise ModelDamaged(folder, reason=reason) from error


def instead_of_weights(folder: str, error: UnsupportedModel) -> str | None:
    """Return the ONNX file that is run because of `error`, and log it; None without one.

    None too if the model has no weights: then the error is about the ONNX file.
    """
    if has_router(folder):
        return None
    part = _encoder_part(modules_of(folder))
    graph = _graph(folder, part) if _weight_files(folder, part) else None
    if graph is not None:
        logger.info("%s is run instead of the weights: %s", graph, error.facts)
    return graph


_RAW_ERRORS = (TypeError, LookupError, ValueError, AttributeError, ArithmeticError, RecursionError)


def _refuse_static(folder: str) -> None:
    """Raise UnsupportedModel for a static model, which has an engine of its own."""
    raise UnsupportedModel(
        folder,
        feature="module",
        got="StaticEmbedding",
        supported=("Transformer",),
        remedy="Run it with engine='static'",
    )


def _describe(
    folder: str, source: str, kind: str, file: str | None, max_length: int | None
) -> Description:
    missing = missing_files(folder, file)
    if missing:
        raise ModelIncomplete(source, folder=folder, missing=missing, on_hub=False)
    if is_static(folder) and not file:
        _refuse_static(folder)
    routes = routes_of(folder)
    if not has_router(folder):
        return _describe_route(folder, routes[0].modules, kind, file, max_length)
    if kind not in _ROUTED or file:
        raise UnsupportedModel(
            folder,
            feature="module",
            got="Router",
            supported=("a Router of kind " + " or ".join(_ROUTED),),
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
    if modules and modules[0][0] in _TABLES and not file:
        return _describe_table(folder, modules, kind, max_length)
    part = _encoder_part(modules)
    shipped = file or _graph(folder, part)
    tokenizer = _tokenizer_file(folder, part, shipped)
    files = read_config_files(folder, part, tokenizer, modules)
    if kind == "multi_vector":
        files = _marked(files)
    can_build = files.model_type in FAMILIES and not file
    weights = _weight_files(folder, part) if can_build else ()
    if not weights and shipped is None:
        _refuse_architecture(files, kind)
    settings = FAMILIES[files.model_type].settings(files.config) if weights else {}
    if settings.get("is_decoder"):
        raise UnsupportedModel(
            folder, feature="is_decoder", got=True, supported=("an encoder",), kind=kind
        )
    _check_prompts(files.sentence)
    _check_class(files, kind)
    _refuse_chat_template(files, kind)
    if kind in _HEADS and not weights:
        only = (SINGLE_WEIGHTS,)
        raise UnsupportedModel(folder, feature="only", got=shipped, supported=only, kind=kind)
    task = TASK_HEADS[kind](files, bool(weights))
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
            files.tokenizer, read_json(folder, _beside(tokenizer, SPECIAL_TOKENS))
        ),
        truncate_dim=_truncate_dim(files, task.dimension),
        prompts=prompts_of(files.sentence),
        default_prompt_name=files.sentence.get("default_prompt_name"),
        segments=task.segments,
        classifier=task.classifier,
        settings=settings,
        truncation_side=truncation_side(folder, files.tokenizer),
        add_prefix_space=files.tokenizer.get("add_prefix_space"),
        tokens=task.tokens,
        markers=tuple(markers_of(files.sentence).values()) if kind == "multi_vector" else (),
        max_active_dims=_max_active_dims(files),
        modules=modules,
    )


_TABLES = {"StaticEmbedding": "embedding.weight", "SparseStaticEmbedding": "weight"}
"""Modules without a transformer, by class, with the tensor that has a row for each token."""


def _describe_table(
    folder: str, modules: tuple[tuple[str, str], ...], kind: str, max_length: int | None
) -> Description:
    """Return the description of a module without a transformer, and of what comes after it."""
    (name, _), *after = modules
    part = _encoder_part(modules)
    tokenizer = _tokenizer_file(folder, part, None)
    files = read_config_files(folder, part, tokenizer, modules)
    _check_prompts(files.sentence)
    _check_class(files, kind)
    shape = _shape_of_table(files, part, _TABLES[name])
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
        dimension = _dimension(shape[1], pipeline)
    longest = max_length or int(files.tokenizer.get("model_max_length") or _MOST_POSITIONS)
    return Description(
        folder=folder,
        model_type=name,
        weights=(_within(part, SINGLE_WEIGHTS),),
        shipped_graph=None,
        tokenizer=tokenizer,
        part=part,
        pipeline=pipeline,
        dimension=dimension,
        max_seq_length=min(longest, _MOST_POSITIONS),
        pad_token_id=0,
        lowercase=False,
        normalizer=overriding_normalizer("", files.tokenizer) if is_sparse else None,
        truncation_side=truncation_side(folder, files.tokenizer) if is_sparse else "right",
        truncate_dim=_truncate_dim(files, dimension),
        prompts=prompts_of(files.sentence),
        default_prompt_name=files.sentence.get("default_prompt_name"),
        max_active_dims=_max_active_dims(files),
        modules=modules,
        table=_TABLES[name],
        adds_special=False,
        is_cut=is_sparse or max_length is not None,
    )


def _reader(folder: str) -> Callable[[str], Mapping[str, Any]]:
    """Return a function that reads the configuration of a module; empty without a sub-folder."""
    return lambda name: {} if name.startswith("/") else read_json(folder, name)


def _shape_of_table(files: ConfigFiles, part: str, tensor: str) -> tuple[int, ...]:
    """Return the shape of the table `tensor` in the weights of `part`."""
    config = read_json(files.folder, _within(part, "config.json"))
    if tensor == "weight" and config.get("path") is not None:
        supported = (SINGLE_WEIGHTS,)
        raise UnsupportedModel(
            files.folder, feature="path", got=config["path"], supported=supported, kind="sparse"
        )
    tensors = read_header(os.path.join(files.folder, _within(part, SINGLE_WEIGHTS)))
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
        supported = tuple(f"file={name!r}" for name in graphs)
        raise UnsupportedModel(
            folder, feature="several ONNX files and file", got=None, supported=supported, kind=kind
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


def _max_active_dims(files: ConfigFiles) -> int | None:
    """Return the number of values that a sparse embedding keeps; None for all."""
    kept = files.sentence.get("max_active_dims")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise ValueError(f"max_active_dims is {str(kept)[:100]!r}")
    return kept


def _marked(files: ConfigFiles) -> ConfigFiles:
    """Return the files of a late-interaction model with its markers in its prompts."""
    sentence = files.sentence
    if _is_colbert(files.config) and not modules_of(files.folder):
        sentence = from_colbert(read_json(files.folder, COLBERT_SETTINGS))
    return files._replace(sentence=with_markers(sentence))


def _longest(files: ConfigFiles, tokens: TokenSettings | None, chosen: int | None) -> int:
    """Return the most tokens of a text of any task."""
    usual = _max_seq_length(files, chosen)
    if tokens is None:
        return usual
    expanded = tokens.expansion.length if tokens.expansion else 0
    return max(usual, tokens.query_length or 0, tokens.document_length or 0, expanded)


def _truncate_dim(files: ConfigFiles, dimension: int) -> int | None:
    """Return the number of dimensions to keep; None for all, as for more than there are."""
    kept = files.sentence.get("truncate_dim")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise ValueError(f"truncate_dim is {str(kept)[:100]!r}")
    return None if kept is None or kept >= dimension else kept


_CLASSES = {
    "embedding": ("SentenceTransformer",),
    "reranker": ("CrossEncoder",),
    "sparse": ("SparseEncoder",),
    "multi_vector": ("MultiVectorEncoder", PYLATE),
}
"""The classes of sentence-transformers and PyLate that saved a model, by kind."""


def _check_class(files: ConfigFiles, kind: str) -> None:
    """Raise UnsupportedModel for a model that another class saved.

    sentence-transformers would convert it: pool the mean, and leave its own modules out.
    """
    supported = _CLASSES[kind]
    if os.path.isfile(os.path.join(files.folder, _HEADS.get(kind, ""))):
        supported = (*_CLASSES["embedding"], *supported)
    saved_by = files.sentence.get("model_type", supported[0])
    if saved_by not in supported:
        raise UnsupportedModel(
            files.folder, feature="model_type", got=saved_by, supported=supported, kind=kind
        )


def reads_task(folder: str) -> bool:
    """Return whether sentence-transformers reads the prompt or the task of a text on its own."""
    return any(
        kind in ROUTERS
        or (
            kind == "Pooling"
            and read_json(folder, f"{path}/config.json").get("include_prompt") is False
        )
        for kind, path in modules_of(folder)
    )


def _refuse_chat_template(files: ConfigFiles, kind: str) -> None:
    """Raise UnsupportedModel where sentence-transformers writes texts into a chat template.

    It does so if its settings know messages, and without settings of its own.
    """
    path = os.path.join(files.folder, "chat_template.jinja")
    if not files.tokenizer.get("chat_template") and not os.path.isfile(path):
        return
    is_bare = not files.transformer and (kind == RERANKER or not files.modules)
    if is_bare or "message" in (files.transformer.get("modality_config") or {}):
        raise UnsupportedModel(
            files.folder,
            feature="a tokenizer with",
            got="chat_template",
            supported=("models that read texts as they are",),
            kind=kind,
        )


def _check_prompts(sentence: dict[str, Any]) -> None:
    """Raise ValueError unless prompts are texts by name, and the default one is one of them."""
    prompts = sentence.get("prompts") or {}
    for name, text in prompts.items():
        f"{name}{'' if text is None else text}".encode()  # raises for a lone surrogate
        if not isinstance(text, (str, type(None))):
            raise TypeError(f"the prompt {name} is {str(text)[:100]!r}")
    default = sentence.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(f"default_prompt_name is {str(default)[:100]!r}, which is no prompt")


def prompts_of(sentence: dict[str, Any]) -> dict[str, str]:
    """Return the non-empty prompts of config_sentence_transformers.json."""
    return {name: text for name, text in (sentence.get("prompts") or {}).items() if text}


def _weight_files(folder: str, part: str) -> tuple[str, ...]:
    """Return the weight files that the encoder in `part` needs, including missing ones.

    They are safetensors, or else PyTorch checkpoints.
    """
    home = os.path.join(folder, part)
    for single, index in ((SINGLE_WEIGHTS, WEIGHTS_INDEX), (CHECKPOINT, CHECKPOINT_INDEX)):
        if os.path.isfile(os.path.join(home, single)):
            return (_within(part, single),)
        if os.path.isfile(os.path.join(home, index)):
            return tuple(_within(part, name) for name in _shards(home, index))
    return ()


def _shards(folder: str, index: str) -> tuple[str, ...]:
    path = os.path.join(folder, index)
    try:
        names = sorted(set(read_json(folder, index)["weight_map"].values()))
        for name in names:
            check_inner(path, name)
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelDamaged(path, reason=f"no weight_map ({described(error)})") from error
    return tuple(names)


def module_weights(folder: str, path: str) -> str:
    """Return the weights file of the module in the sub-folder `path`, relative to `folder`.

    A path to a file is returned unchanged.
    """
    if path in (SPARSE_LINEAR, COLBERT_LINEAR):
        return path
    name = f"{path}/{SINGLE_WEIGHTS}"
    checkpoint = f"{path}/{CHECKPOINT}"
    is_there = os.path.isfile(os.path.join(folder, name))
    return checkpoint if not is_there and os.path.isfile(os.path.join(folder, checkpoint)) else name


def _is_of_pylate(folder: str) -> bool:
    sentence = read_json(folder, "config_sentence_transformers.json")
    return bool(sentence.get("model_type") == PYLATE)


def _module_files(folder: str, modules: Sequence[tuple[str, str]]) -> list[str]:
    files = []
    for kind, path in modules:
        is_weighted = kind in WEIGHTED or (kind == PYLATE_DENSE and _is_of_pylate(folder))
        if kind == "Pooling" or is_weighted:
            files.append(f"{path}/config.json")
        if is_weighted:
            files.append(module_weights(folder, path))
    return files


def _max_seq_length(files: ConfigFiles, chosen: int | None) -> int:
    """Return the limit `chosen`, or sentence-transformers'.

    It is capped by the rows of the position embedding.
    """
    family = FAMILIES.get(files.model_type)
    limit = chosen or files.transformer.get("max_seq_length")
    limit = limit or files.tokenizer.get("model_max_length")
    if family is None:
        own = int(chosen or files.transformer.get("max_seq_length") or 0)
        if 0 < own <= _MOST_POSITIONS:
            return own
        longest = int(files.tokenizer.get("model_max_length") or 0)
        positions = _positions_of_graph(files.config)
        if not 0 < longest <= _MOST_POSITIONS:
            return positions or _USUAL_POSITIONS
        return min(longest, positions or longest)
    positions = _positions(files)
    given = chosen or files.transformer.get("max_seq_length")
    if given and family.positions not in {"absolute", "after padding"}:
        return min(int(given), _MOST_POSITIONS)  # no table ends there, so the model reads on
    return min(int(limit or positions), positions)


def _positions(files: ConfigFiles) -> int:
    """Return the tokens that the position embedding of a built graph has rows for."""
    family = FAMILIES[files.model_type]
    settings = family.settings(files.config)
    positions = int(settings["max_position_embeddings"] or 512)
    if family.positions == "after padding":
        positions -= int(settings["pad_token_id"]) + 1
    return positions


_USUAL_POSITIONS = 512
_MOST_POSITIONS = 1_000_000  # transformers writes 10**30 for a tokenizer without a limit


def _positions_of_graph(config: Mapping[str, Any]) -> int:
    """Return the positions of a shipped graph, whose architecture is unknown; 0 if not stated."""
    names = ("max_position_embeddings", "n_positions", "max_trained_positions")
    return int(next((config[name] for name in names if config.get(name)), 0))
