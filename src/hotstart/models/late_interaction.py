"""Settings of late-interaction models (ColBERT), in the layouts that are in use.

sentence-transformers 6 keeps them with the transformer and in a MultiVectorMask module. PyLate
keeps them in config_sentence_transformers.json, and its mask and normalisation in its code.
ColBERT itself keeps them in artifact.metadata. The latter two are read as sentence-transformers'
MultiVectorEncoder reads them.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, NamedTuple

from hotstart.errors import UnsupportedModel
from hotstart.types import QueryExpansion, TokenSettings

COLBERT = "HF_ColBERT"
"""The architecture in config.json of a model that ColBERT saved."""

COLBERT_SETTINGS = "artifact.metadata"
PYLATE = "ColBERT"
"""The `model_type` in config_sentence_transformers.json of a model that PyLate saved."""

PYLATE_DENSE = "pylate.models.Dense.Dense"
_PREFIXES = {"query": "query_prefix", "document": "document_prefix"}
_PYLATE_KEYS = (
    *("query_length", "document_length", "query_expansion", "do_query_expansion"),
    *("attend_to_expansion_tokens", "attend_to_mask_tokens", "skiplist_words"),
    *_PREFIXES.values(),
)
_USUAL_LENGTH = 32  # tokens of a query
_STRATEGIES = ("fixed", "min")


def is_colbert(config: Mapping[str, Any]) -> bool:
    """Return whether ColBERT saved a model, of its config.json."""
    return COLBERT in (config.get("architectures") or ())


class TokenLimits(NamedTuple):
    """Limits of tokens: the model's usual one, and the rows of its position embedding."""

    usual: int
    positions: int


def from_colbert(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of artifact.metadata under their names in PyLate."""
    skips = metadata.get("mask_punctuation", True)
    expansion = {
        "strategy": "fixed",
        "attend": bool(metadata.get("attend_to_mask_tokens")),
        "length": metadata.get("query_maxlen") or _USUAL_LENGTH,
    }
    settings = {
        "query_prefix": f"{metadata.get('query_token_id') or '[unused0]'} ",
        "document_prefix": f"{metadata.get('doc_token_id') or '[unused1]'} ",
        "document_length": metadata.get("doc_maxlen"),
        "query_expansion": expansion,
        "skiplist_words": list(string.punctuation) if skips else [],
    }
    return {name: value for name, value in settings.items() if value is not None}


def markers_of(sentence: Mapping[str, Any]) -> dict[str, str]:
    """Return the marker of each task: the text that a model of PyLate puts before a text."""
    return {task: sentence[key] or "" for task, key in _PREFIXES.items() if key in sentence}


def with_markers(sentence: dict[str, Any]) -> dict[str, Any]:
    """Return config_sentence_transformers.json with each marker at the begin of its prompt."""
    markers = markers_of(sentence)
    if not markers:
        return sentence
    prompts = dict(sentence.get("prompts") or {})
    for task, marker in markers.items():
        prompts[task] = marker + (prompts.get(task) or "").removeprefix(marker)
    return sentence | {"prompts": prompts}


def read_token_settings(
    folder: str,
    transformer: Mapping[str, Any],
    sentence: Mapping[str, Any],
    mask: Mapping[str, Any] | None,
    fill: str | None,
    limits: TokenLimits,
) -> TokenSettings:
    """Return which tokens a late-interaction model reads and returns.

    Args:
        folder: the model folder, for error messages.
        transformer: content of sentence_bert_config.json.
        sentence: content of config_sentence_transformers.json.
        mask: the configuration of MultiVectorMask; None for a model without one.
        fill: the token that queries are filled up with, unless the model names another.
        limits: the limits of tokens.

    Raises:
        UnsupportedModel: a setting is not supported.
        ValueError: a setting has no valid value.
    """
    settings = _pylate_settings(sentence) | dict(transformer)
    if mask is None:
        words = sentence.get("skiplist_words")
        mask = {"skiplist_words": list(string.punctuation) if words is None else words}
    if mask.get("keep_only_token_ids"):
        got = mask["keep_only_token_ids"]
        supported = ("a model of texts",)
        raise UnsupportedModel(
            folder, feature="keep_only_token_ids", got=got, supported=supported, kind="multi_vector"
        )
    tasks = mask.get("skiplist_tasks") or ["document"]
    expansion = settings.get("query_expansion")
    return TokenSettings(
        length=limits.usual,
        query_length=_length(settings.get("query_length"), limits),
        document_length=_length(settings.get("document_length"), limits),
        expansion=None if expansion is None else _expansion(folder, expansion, fill, limits),
        skiplist=tuple(map(str, mask.get("skiplist_words") or ())),
        skiplist_tasks=(tasks,) if isinstance(tasks, str) else tuple(map(str, tasks)),
    )


def _pylate_settings(sentence: Mapping[str, Any]) -> dict[str, Any]:
    """Return PyLate's settings under their names in sentence-transformers."""
    if not any(key in sentence for key in _PYLATE_KEYS):
        return {}
    found = {
        key: sentence[key]
        for key in ("query_length", "document_length")
        if sentence.get(key) is not None
    }
    if "query_expansion" in sentence:
        return found | {"query_expansion": sentence["query_expansion"]}
    if sentence.get("do_query_expansion") is False:
        return found | {"query_expansion": None}
    attends = sentence.get("attend_to_expansion_tokens", sentence.get("attend_to_mask_tokens"))
    length = found.pop("query_length", None) or _USUAL_LENGTH
    expansion = {"strategy": "fixed", "attend": bool(attends), "length": length}
    return found | {"query_expansion": expansion}


def _length(value: Any, limits: TokenLimits) -> int:
    """Return a limit of tokens. Raises ValueError for a value that is none."""
    if value is None:
        return limits.usual
    if type(value) is not int or value < 1:
        raise ValueError(f"a length is {str(value)[:100]!r}")
    return min(value, limits.positions)


def _expansion(
    folder: str, settings: Mapping[str, Any], fill: str | None, limits: TokenLimits
) -> QueryExpansion:
    strategy = settings.get("strategy")
    if strategy not in _STRATEGIES:
        raise UnsupportedModel(
            folder,
            feature="query_expansion",
            got=dict(settings),
            supported=_STRATEGIES,
            kind="multi_vector",
        )
    token = settings.get("token") or fill
    length = settings.get("length")
    if type(length) is not int or not 1 <= length <= limits.positions or not token:
        raise ValueError(f"query_expansion is {str(settings)[:100]}, filled with {token!r}")
    attends = bool(settings.get("attend"))
    return QueryExpansion(length, str(token), strategy == "fixed", attends)
