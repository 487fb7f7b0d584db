"""Read the head of a model: what comes after its encoder, by the kind of the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hotstart.errors import UnsupportedModel, WrongKind
from hotstart.models.architectures import FAMILIES, family_of
from hotstart.models.configuration import (
    ConfigFiles,
    max_seq_length,
    positions_of,
    read_json,
    special_token,
)
from hotstart.models.files import COLBERT_LINEAR, SPARSE_LINEAR
from hotstart.models.late_interaction import (
    COLBERT,
    COLBERT_SETTINGS,
    PYLATE,
    PYLATE_DENSE,
    TokenLimits,
    is_colbert,
    read_token_settings,
)
from hotstart.models.modules import (
    LOGIT_SCORE,
    MASKED_HEADS,
    MULTI_VECTOR_MASK,
    TOKENS,
    ClassifierLayer,
    ClassifierNorm,
    DenseLayer,
    Pipeline,
    Pooling,
    TokenScore,
    last_width,
    read_pipeline,
    read_splade,
    refuse_settings,
)
from hotstart.models.tokenizer import gives_segments, vocabulary_of
from hotstart.scoring import ACTIVATIONS
from hotstart.types import Classifier, TokenSettings


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
    hidden = int(
        family.settings(files.config)["hidden_size"] if family else _hidden_size(files.config)
    )
    if is_built and family is not None and family.projected:
        width = int(files.config["num_labels"])
        last = DenseLayer("", hidden, width, bias=False, activation="Identity")
        pipeline = pipeline._replace(token_steps=(last, *pipeline.token_steps))
    return TaskHead(pipeline, dimension_of(hidden, pipeline))


def _hidden_size(config: dict[str, Any]) -> int:
    """Return the width of a shipped graph, whose architecture is unknown."""
    names = ("hidden_size", "dim", "d_model", "n_embd")
    return int(next(config[name] for name in names if config.get(name)))


def _read_modules(folder: str, modules: Sequence[tuple[str, str]]) -> Pipeline:
    """Return what comes after the transformer; a bare one is pooled by the mean."""
    if not modules:
        return Pipeline((), Pooling(("mean",)), ())
    for number, (kind, _) in enumerate(modules):
        if (number == 0) != (kind == "Transformer"):
            first = ("a Transformer before all others",)
            raise UnsupportedModel(folder, feature="module", got=kind, supported=first)
    return read_pipeline(folder, modules[1:], lambda name: read_json(folder, name))


_LARGEST_DIMENSION = 1_000_000


def dimension_of(hidden: int, pipeline: Pipeline) -> int:
    """Return the length of a vector. Raises ValueError for a length that no model has."""
    dimension = last_width(pipeline.token_steps, hidden)
    if pipeline.pooling is not None:
        dimension = last_width(pipeline.head, dimension * len(pipeline.pooling.modes))
    if not 1 <= dimension <= _LARGEST_DIMENSION:
        raise ValueError(f"vectors of length {dimension}")
    return dimension


RERANKER = "reranker"


def _reranker(files: ConfigFiles, is_built: bool) -> TaskHead:
    """Return the head of a CrossEncoder: a classifier over the first token.

    A shipped graph has its classifier inside.
    """
    refuse_settings(
        files.folder, files.transformer, RERANKER, generates=_is_causal_lm(files.config)
    )
    for kind, _ in files.modules:
        known = ("Transformer", LOGIT_SCORE)[: 1 + _is_causal_lm(files.config)]
        if kind not in known:
            raise UnsupportedModel(
                files.folder, feature="module", got=kind, supported=known, kind=RERANKER
            )
    pipeline = _classifier_pipeline(files) if is_built else Pipeline((), Pooling(("cls",)), ())
    classifier = _read_classifier(files.folder, files.config, files.sentence)
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
    if _is_causal_lm(files.config):
        return Pipeline((), Pooling(("lasttoken",)), (_logit_score(files),))
    pooling, layers = _classifier_layers(files.folder, files.config)
    if pooling == "late":  # the mean of scores is the score of the mean: the last layer is linear
        return Pipeline(layers[:-1], Pooling(("mean",)), layers[-1:])
    return Pipeline((), Pooling((pooling,)), layers)


_ARCHITECTURE = "ForSequenceClassification"


def _classifier_layers(
    folder: str, config: Mapping[str, Any]
) -> tuple[str, tuple[ClassifierLayer | ClassifierNorm, ...]]:
    """Return the pooling of a classifier and its layers.

    Raises:
        UnsupportedModel: `config` does not describe a supported classifier.
    """
    architectures = [str(name) for name in config.get("architectures") or ()]
    family = FAMILIES.get(family_of(config))
    has_head = family is not None and family.classifier
    is_classifier = not architectures or any(n.endswith(_ARCHITECTURE) for n in architectures)
    if family is None or not has_head or not is_classifier:
        names = [name for name, each in FAMILIES.items() if each.classifier]
        remedy = None
        if not is_classifier:
            remedy = "Load it with Embedder, or use a model that has a classifier"
        raise UnsupportedModel(
            folder,
            feature="architecture",
            got=architectures,
            supported=(f"...{_ARCHITECTURE} of {', '.join(names)}",),
            kind=RERANKER,
            remedy=remedy,
        )
    poolings = family.classifier_pooling
    named = config.get("classifier_pooling") if None not in poolings else None
    pooling = poolings.get(named or next(iter(poolings)))
    if pooling is None:
        known = tuple(map(str, poolings))
        raise UnsupportedModel(
            folder, feature="classifier_pooling", got=named, supported=known, kind=RERANKER
        )
    epsilon = float(family.settings(config)["layer_norm_eps"])
    layers = [
        replace(step, epsilon=epsilon) if isinstance(step, ClassifierNorm) else step
        for step in family.classifier
    ]
    return pooling, tuple(layers)


def _logit_score(files: ConfigFiles) -> TokenScore:
    """Return the score of a language model: of its LogitScore module, or of `yes` and `no`."""
    for kind, path in files.modules:
        if kind == LOGIT_SCORE:
            config = read_json(files.folder, f"{path}/config.json")
            ids = config["true_token_id"], config.get("false_token_id")
            return _token_score(files.folder, files.config, ids[0], ids[1])
    vocabulary = vocabulary_of(files.folder)
    if not {"yes", "no"} <= vocabulary.keys():
        raise UnsupportedModel(
            files.folder,
            feature="a tokenizer without the tokens",
            got=["yes", "no"],
            supported=("a language model scored by them, or by its LogitScore module",),
            kind=RERANKER,
        )
    return _token_score(files.folder, files.config, vocabulary["yes"], vocabulary["no"])


def _token_score(
    folder: str, config: Mapping[str, Any], true_token_id: int, false_token_id: int | None
) -> TokenScore:
    """Return the score of a language model.

    Raises:
        UnsupportedModel: the architecture is not built, or limits its logits.
        ValueError: an id is no token.
    """
    family = FAMILIES.get(family_of(config))
    words = FAMILIES["llama"].words
    if family is None or family.words != words:
        known = tuple(n for n, each in FAMILIES.items() if each.words == words)
        got = config.get("architectures")
        raise UnsupportedModel(
            folder, feature="architecture", got=got, supported=known, kind=RERANKER
        )
    if config.get("final_logit_softcapping"):
        raise UnsupportedModel(
            folder,
            feature="final_logit_softcapping",
            got=config["final_logit_softcapping"],
            supported=("None",),
            kind=RERANKER,
        )
    for token in (true_token_id, *([] if false_token_id is None else [false_token_id])):
        if type(token) is not int or token < 0:
            raise ValueError(f"the id of a token is {str(token)[:100]!r}")
    embeddings = tuple(prefix + family.words for prefix in family.prefixes)
    return TokenScore(true_token_id, false_token_id, ("lm_head.weight", *embeddings))


_CAUSAL_LM = "ForCausalLM"
"""How the class of a language model ends, in `architectures` of config.json."""


def _is_causal_lm(config: Mapping[str, Any]) -> bool:
    """Return whether a model is saved as a language model, as CrossEncoder looks at it."""
    architectures = config.get("architectures") or [""]
    return str(architectures[0]).endswith(_CAUSAL_LM)


_TORCH_NN = "torch.nn."
_DEFAULT_LABELS = 2  # transformers omits this number of labels from config.json
_MOST_LABELS = 100_000


def _read_classifier(
    folder: str, config: Mapping[str, Any], sentence: Mapping[str, Any]
) -> Classifier:
    """Return the labels and the activation; `sentence` overrides `config`.

    Args:
        folder: the model folder, for error messages.
        config: content of config.json.
        sentence: content of config_sentence_transformers.json.

    Raises:
        UnsupportedModel: the activation is unknown.
    """
    labels = ("LABEL_0",) if _is_causal_lm(config) else _labels(config)
    path = (
        sentence.get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or (f"{_TORCH_NN}Sigmoid" if len(labels) == 1 else f"{_TORCH_NN}Identity")
    )
    name = path.rpartition(".")[2].lower()
    if not path.startswith(_TORCH_NN) or name not in ACTIVATIONS:
        raise UnsupportedModel(
            folder, feature="activation", got=path, supported=tuple(ACTIVATIONS), kind=RERANKER
        )
    return Classifier(labels, name)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the label names; without names, the defaults of transformers.

    Raises:
        ValueError: the number of labels is none that a model has.
    """
    names = config.get("id2label") or {}
    count = len(names) or int(config.get("num_labels") or _DEFAULT_LABELS)
    if not 1 <= count <= _MOST_LABELS:
        raise ValueError(f"num_labels is {count}")
    return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(count))


_SAVED_BY = {
    "SentenceTransformer": "embedding",
    "CrossEncoder": "reranker",
    "SparseEncoder": "sparse",
    "MultiVectorEncoder": "multi_vector",
    PYLATE: "multi_vector",
}
"""The kinds of models by the class of sentence-transformers or PyLate that saved them."""

_KIND_OF_MODULE = {
    "SpladePooling": "sparse",
    "SparseStaticEmbedding": "sparse",
    MULTI_VECTOR_MASK: "multi_vector",
    LOGIT_SCORE: "reranker",
    "Pooling": "embedding",
    "StaticEmbedding": "embedding",
}


def check_kind(files: ConfigFiles, kind: str) -> None:
    """Raise WrongKind if the class that saved a model, or its modules, tell another kind.

    sentence-transformers would convert it: pool the mean, and leave its own modules out.

    Raises:
        UnsupportedModel: an unknown class has saved it.
    """
    if os.path.isfile(os.path.join(files.folder, HEAD_FILES.get(kind, ""))):
        return  # bge-m3, saved as the embedding model that it is too
    saved_by = files.sentence.get("model_type", "")
    names = [name for name, _ in files.modules]
    of_modules = (found for name, found in _KIND_OF_MODULE.items() if name in names)
    own = _SAVED_BY.get(str(saved_by)) or next(of_modules, kind)
    if own != kind:
        raise WrongKind(files.folder, kind=own, wanted=kind)
    if saved_by != "" and saved_by not in _SAVED_BY:
        raise UnsupportedModel(
            files.folder, feature="model_type", got=saved_by, supported=[*_SAVED_BY], kind=kind
        )


HEAD_FILES = {"sparse": SPARSE_LINEAR, "multi_vector": COLBERT_LINEAR}
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


def _is_masked_model(config: Mapping[str, Any]) -> bool:
    return any(str(name).endswith("ForMaskedLM") for name in config.get("architectures") or ())


_UNUSED = {"cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
"""The tokens that bge-m3 gives no weight, with their defaults of XLM-RoBERTa."""


def _unused(files: ConfigFiles) -> tuple[str, ...]:
    return tuple(special_token(files, name) or usual for name, usual in _UNUSED.items())


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
    masks = [path for kind, path in modules if kind == MULTI_VECTOR_MASK]
    is_pylate = files.sentence.get("model_type") == PYLATE
    if is_colbert(files.config):
        layer = DenseLayer("", hidden, _colbert_dimension(files), bias=False, activation="Identity")
        pipeline = Pipeline((layer, "normalize"), None, (), "token_vectors")
    elif modules and modules[0][0] == "Transformer" and (masks or is_pylate):
        rest = [module for module in modules[1:] if module[0] != MULTI_VECTOR_MASK]
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
        known = (f"Transformer, Dense, {MULTI_VECTOR_MASK}, Normalize", COLBERT, COLBERT_LINEAR)
        raise UnsupportedModel(
            folder, feature="modules", got=got, supported=known, kind="multi_vector"
        )
    fill = special_token(files, "mask_token") or special_token(files, "eos_token")
    tokens = read_token_settings(
        folder,
        files.transformer,
        files.sentence,
        read_json(folder, f"{masks[0]}/config.json") if masks else None,
        fill,
        TokenLimits(max_seq_length(files, None), positions_of(files)),
    )
    return TaskHead(pipeline, last_width(pipeline.token_steps, hidden), tokens=tokens)


def _colbert_dimension(files: ConfigFiles) -> int:
    return int(read_json(files.folder, COLBERT_SETTINGS).get("dim") or 128)


TASK_HEADS: dict[str, Callable[[ConfigFiles, bool], TaskHead]] = {
    "embedding": _embedding,
    "reranker": _reranker,
    "sparse": _sparse,
    "multi_vector": _multi_vector,
}
"""Functions that read the head, by model kind; they are told whether the graph is built."""
