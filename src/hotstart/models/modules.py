"""Modules of sentence-transformers and classifiers of transformers after the encoder, as data.

Modules pass values on by name: a transformer gives `token_embeddings`, Pooling makes
`sentence_embedding` of them. Only the modules that the wanted value depends on are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from hotstart.errors import UnsupportedModel
from hotstart.types import Returns

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The pooling modes, named and ordered as in sentence-transformers.

Several modes are concatenated in this order.
"""

DENSE_ACTIVATIONS = (
    *("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU"),
    *("ELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "ReLU6"),
    *("SELU", "Softplus", "Softsign", "Tanhshrink"),
)
"""Names of activations in torch.nn."""

TOKENS = "token_embeddings"
VECTOR = "sentence_embedding"

_LEGACY_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_COMMON_SETTINGS = dict.fromkeys(
    ("processing_kwargs", "query_length", "document_length", "query_expansion")
)
_SETTINGS = {
    "embedding": _COMMON_SETTINGS
    | {"transformer_task": "feature-extraction", "module_output_name": TOKENS},
    "sparse": _COMMON_SETTINGS | {"module_output_name": TOKENS},
    "multi_vector": {
        "processing_kwargs": None,
        "transformer_task": "feature-extraction",
        "module_output_name": TOKENS,
    },
    "reranker": _COMMON_SETTINGS
    | {"transformer_task": "sequence-classification", "module_output_name": "scores"},
}
"""The supported values of keys in sentence_bert_config.json, by model kind."""


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer, `activation(x @ weight.T + bias)`, stored in `path`/model.safetensors.

    Attributes:
        residual: whether the input is added to the output, by a matrix if their lengths differ.
    """

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: str
    residual: bool = False

    @property
    def name(self) -> str:
        """Prefix of the tensor names."""
        return "linear"


@dataclass(frozen=True)
class NormLayer:
    """A layer normalisation over vectors of length `dimension`, stored like a DenseLayer."""

    path: str
    dimension: int


@dataclass(frozen=True)
class ClassifierLayer:
    """A dense layer of a classifier head, stored with the encoder's tensors.

    Attributes:
        bias: whether the layer has a bias; None if the weights tell.
    """

    name: str
    activation: str
    bias: bool | None = True

    @property
    def path(self) -> str:
        """Folder of the tensors: empty, the encoder's folder."""
        return ""


@dataclass(frozen=True)
class ClassifierNorm:
    """A layer normalisation of a classifier head, stored with the encoder's tensors."""

    name: str
    epsilon: float = 1e-5


@dataclass(frozen=True)
class TokenScore:
    """The logit of one token of a language model, less that of another one unless None.

    Attributes:
        matrices: names of the language model's output matrix; the first that is there counts. A
            model may use its embeddings for it.
    """

    true_token_id: int
    false_token_id: int | None
    matrices: tuple[str, ...]


HeadStep = (
    DenseLayer | NormLayer | ClassifierLayer | ClassifierNorm | TokenScore | Literal["normalize"]
)


class Pooling(NamedTuple):
    """How token embeddings become one vector.

    Attributes:
        modes: modes of POOLINGS, concatenated in this order.
        include_prompt: whether the tokens of the prompt are pooled too.
        may_be_empty: whether a text may have no token; its mean is zero.
    """

    modes: tuple[str, ...]
    include_prompt: bool = True
    may_be_empty: bool = False


@dataclass(frozen=True)
class Splade:
    """How the logits of a masked language model become weights of the vocabulary.

    Attributes:
        strategy: `max` or `sum` over the tokens.
        activation: `relu` or `log1p_relu`, before another log1p.
    """

    strategy: str
    activation: str


class Pipeline(NamedTuple):
    """What comes after the transformer.

    Attributes:
        token_steps: the steps before pooling, for each token.
        pooling: None where the token embeddings are the result.
        head: the steps after pooling.
        returns: what the model returns for each text.
        splade: what comes after the head of a masked language model, for a sparse model that has
            one; there are no other steps then.
    """

    token_steps: tuple[HeadStep, ...]
    pooling: Pooling | None
    head: tuple[HeadStep, ...]
    returns: Returns = "vectors"
    splade: Splade | None = None


def last_width(steps: Sequence[HeadStep], width: int) -> int:
    """Return the length of vectors of length `width` after `steps`."""
    layers = [step.out_features for step in steps if isinstance(step, DenseLayer)]
    return layers[-1] if layers else width


class _Module(NamedTuple):
    """A step, and the names of the values that it reads and writes."""

    step: HeadStep | Pooling
    reads: str
    writes: str


def refuse_settings(
    folder: str, config: Mapping[str, Any], kind: str = "embedding", *, generates: bool = False
) -> None:
    """Raise UnsupportedModel for an unsupported setting in sentence_bert_config.json.

    Args:
        folder: the model folder, for error messages.
        config: content of sentence_bert_config.json.
        kind: the kind of the model.
        generates: whether a reranker is a language model.
    """
    settings = dict(_SETTINGS[kind])
    if generates:
        settings |= {"transformer_task": "text-generation", "module_output_name": "causal_logits"}
    for key, supported in settings.items():
        if config.get(key) not in (None, {}, supported):
            raise UnsupportedModel(
                folder, feature=key, got=config[key], supported=(str(supported),), kind=kind
            )


def read_pipeline(
    folder: str,
    modules: Sequence[tuple[str, str]],
    read: Callable[[str], Mapping[str, Any]],
    *,
    result: str = VECTOR,
    dense_reads: str = VECTOR,
    kind: str = "embedding",
) -> Pipeline:
    """Return what comes after the transformer, up to the value `result`.

    Args:
        folder: the model folder, for error messages.
        modules: the class and the sub-folder of each module after the transformer.
        read: returns the JSON of a file of the model, empty without one.
        result: the value that the model returns, TOKENS or VECTOR.
        dense_reads: the value that a Dense module reads if its configuration names none.
        kind: the kind of the model, for error messages.

    Raises:
        UnsupportedModel: a module or one of its settings is unknown, or no module gives `result`.
    """
    found = []
    for name, path in modules:
        if name in WITHOUT_EFFECT:
            continue
        if name not in MODULES:
            known = ("Transformer", *MODULES)
            raise UnsupportedModel(folder, feature="module", got=name, supported=known, kind=kind)
        given = {key: v for key, v in read(f"{path}/config.json").items() if v is not None}
        usual = {"module_input_name": dense_reads} if name == "Dense" else {}
        found.append(MODULES[name](folder, path, usual | given))
    chain, start = _chain(found, result)
    places = [n for n, step in enumerate(chain) if isinstance(step, Pooling)]
    if start != TOKENS or (result == VECTOR and len(places) != 1):
        names = [name for name, _ in modules]
        needed = (f"modules that make a {result} of {TOKENS}",)
        raise UnsupportedModel(folder, feature="modules", got=names, supported=needed, kind=kind)
    steps = [None if isinstance(step, Pooling) else step for step in chain]
    place = places[0] if places else len(chain)
    return Pipeline(
        token_steps=tuple(step for step in steps[:place] if step is not None),
        pooling=next((step for step in chain if isinstance(step, Pooling)), None),
        head=tuple(step for step in steps[place:] if step is not None),
        returns="vectors" if result == VECTOR else "token_vectors",
    )


def _chain(modules: Sequence[_Module], result: str) -> tuple[list[HeadStep | Pooling], str]:
    """Return the steps that `result` depends on, in order, and the value that the first reads."""
    chain: list[HeadStep | Pooling] = []
    wanted = result
    for module in reversed(modules):
        if module.writes == wanted:
            chain.insert(0, module.step)
            wanted = module.reads
    return chain, wanted


SPLADE_STRATEGIES = ("max", "sum")
SPLADE_ACTIVATIONS = ("relu", "log1p_relu")


def read_splade(folder: str, config: Mapping[str, Any]) -> Pipeline:
    """Return what comes after the transformer of a model with a SpladePooling module.

    Raises:
        UnsupportedModel: a setting is unknown.
    """
    strategy = config.get("pooling_strategy", "max")
    activation = config.get("activation_function", "relu")
    for feature, got, supported in (
        ("pooling_strategy", strategy, SPLADE_STRATEGIES),
        ("activation_function", activation, SPLADE_ACTIVATIONS),
    ):
        if got not in supported:
            raise UnsupportedModel(
                folder, feature=feature, got=got, supported=supported, kind="sparse"
            )
    return Pipeline((), None, (), "sparse", Splade(strategy, activation))


@dataclass(frozen=True)
class MaskedHead:
    """Names of tensors between an encoder and the logits of its masked language model."""

    dense: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    activation: str | None = "gelu"  # None for that of the encoder
    needs_bias: bool = True  # of the decoder


_BERT_HEAD = MaskedHead(
    dense="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    decoder="cls.predictions.decoder",
    biases=("cls.predictions.decoder.bias", "cls.predictions.bias"),
    activation=None,
)
_ROBERTA_HEAD = MaskedHead(
    dense="lm_head.dense",
    norm="lm_head.layer_norm",
    decoder="lm_head.decoder",
    biases=("lm_head.decoder.bias", "lm_head.bias"),
)
_DISTILBERT_HEAD = MaskedHead(
    dense="vocab_transform",
    norm="vocab_layer_norm",
    decoder="vocab_projector",
    biases=("vocab_projector.bias",),
    activation=None,
)
_MODERNBERT_HEAD = MaskedHead(
    dense="head.dense",
    norm="head.norm",
    decoder="decoder",
    biases=("decoder.bias",),
    needs_bias=False,
)
_GTE_HEAD = MaskedHead(
    dense="lm_head.dense",
    norm="lm_head.norm",
    decoder="lm_head.decoder",
    biases=("lm_head.decoder.bias",),
)
MASKED_HEADS = {
    "bert": _BERT_HEAD,
    "roberta": _ROBERTA_HEAD,
    "xlm-roberta": _ROBERTA_HEAD,
    "camembert": _ROBERTA_HEAD,
    "mpnet": _ROBERTA_HEAD,
    "distilbert": _DISTILBERT_HEAD,
    "modernbert": _MODERNBERT_HEAD,
    "gte": _GTE_HEAD,
    "new": replace(_GTE_HEAD, activation=None),
}
"""Heads of masked language models by `model_type` of config.json."""


def read_pooling(folder: str, path: str, config: Mapping[str, Any]) -> _Module:
    """Return a Pooling module. Raises UnsupportedModel for an unknown mode."""
    setting = config.get("pooling_mode")
    if setting is None:
        setting = [mode for key, mode in _LEGACY_KEYS.items() if config.get(key)] or "mean"
    modes = (setting,) if isinstance(setting, str) else tuple(setting)
    for mode in modes:
        if mode not in POOLINGS:
            raise UnsupportedModel(folder, feature="pooling", got=mode, supported=POOLINGS)
    include_prompt = bool(config.get("include_prompt", True))
    return _Module(Pooling(modes, include_prompt), TOKENS, VECTOR)


def read_dense(folder: str, path: str, config: Mapping[str, Any]) -> _Module:
    """Return a Dense module. Raises UnsupportedModel for an unknown activation."""
    function = str(config.get("activation_function", "torch.nn.Tanh"))
    activation = function.rpartition(".")[2]
    if not function.startswith("torch.") or activation not in DENSE_ACTIVATIONS:
        supported = tuple(f"torch.nn.{name}" for name in DENSE_ACTIVATIONS)
        raise UnsupportedModel(folder, feature="activation", got=function, supported=supported)
    layer = DenseLayer(
        path=path,
        in_features=int(config["in_features"]),
        out_features=int(config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=activation,
        residual=bool(config.get("use_residual")),
    )
    return _named(layer, config)


def _normalize(folder: str, path: str, config: Mapping[str, Any]) -> _Module:
    return _named("normalize", config)


def _layer_norm(folder: str, path: str, config: Mapping[str, Any]) -> _Module:
    return _Module(NormLayer(path, int(config["dimension"])), VECTOR, VECTOR)


def _named(step: HeadStep, config: Mapping[str, Any]) -> _Module:
    """Return the module of `step` with the names that its configuration gives."""
    reads = str(config.get("module_input_name", VECTOR))
    return _Module(step, reads, str(config.get("module_output_name", reads)))


WEIGHTED = ("Dense", "LayerNorm")
"""The modules with weights."""

MODULES: dict[str, Callable[[str, str, Mapping[str, Any]], _Module]] = {
    "Pooling": read_pooling,
    "Dense": read_dense,
    "Normalize": _normalize,
    "LayerNorm": _layer_norm,
}
"""Functions that read a module after the transformer, by its class."""

WITHOUT_EFFECT = ("Dropout",)  # the identity at inference

ROUTERS = ("Router", "Asym")
TABLES = {"StaticEmbedding": "embedding.weight", "SparseStaticEmbedding": "weight"}
"""Modules without a transformer, by class, with the tensor that has a row for each token."""

LOGIT_SCORE = "LogitScore"
MULTI_VECTOR_MASK = "MultiVectorMask"
_READ_ELSEWHERE = ("Transformer", "MLMTransformer", "SpladePooling", MULTI_VECTOR_MASK, LOGIT_SCORE)
CLASSES = frozenset((*_READ_ELSEWHERE, *TABLES, *ROUTERS, *MODULES, *WITHOUT_EFFECT))
"""The classes of sentence-transformers' modules that are read."""
