"""Write the tokenizer of an artifact with all its settings.

Settings are in three files. In transformers (version 5, `BertTokenizer`, `MPNetTokenizer`)
tokenizer_config.json overrides the normaliser of tokenizer.json. This module merges the settings
once, so an engine configures nothing.

A WordPiece vocabulary is written to a separate file, one token per line. `tokenizers` reads 30,000
lines in 9 ms, and the same table as JSON in 18 ms, and holds the GIL during the read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from hotstart.errors import HotstartError, ModelDamaged, UnsupportedModel, described
from hotstart.files import read_bounded, write_whole
from hotstart.types import TOKENIZER, WORDPIECE

logger = logging.getLogger(__name__)

_LARGEST = 64_000_000  # bytes; the tokenizers of 262,000 tokens have 34 MB
_REBUILT = {"BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"}
_REBUILT_BY_DEFAULT = {"bert", "distilbert", "mpnet"}  # model types without a tokenizer_class


_WITHOUT_SEGMENTS = {
    "CamembertTokenizer",
    "DistilBertTokenizer",
    "MPNetTokenizer",
    "RobertaTokenizer",
    "XLMRobertaTokenizer",
}


def gives_segments(model_type: str, config: Mapping[str, Any]) -> bool:
    """Return whether transformers passes token_type_ids to the model.

    tokenizer_config.json decides, or else the tokenizer class that it names.
    """
    if config.get("model_input_names"):
        return "token_type_ids" in config["model_input_names"]
    class_name = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if class_name:
        return class_name not in _WITHOUT_SEGMENTS
    return model_type == "bert"


def overriding_normalizer(model_type: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the normaliser of tokenizer_config.json that replaces the tokenizer's own, or None.

    Only some tokenizer classes rebuild the normaliser.
    """
    class_name = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if class_name not in _REBUILT and (class_name or model_type not in _REBUILT_BY_DEFAULT):
        return None
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": bool(config.get("tokenize_chinese_chars", True)),
        "strip_accents": config.get("strip_accents"),
        "lowercase": bool(config.get("do_lower_case", True)),
    }


def special_tokens_of(*configs: Mapping[str, Any]) -> list[Any]:
    """Return the tokens to put around a text, as `configs` name them."""
    names = ("cls_token", "sep_token")
    named = [config[name] for config in configs for name in names if name in config]
    return [token.get("content") if isinstance(token, Mapping) else token for token in named]


def vocabulary_of(folder: str) -> dict[str, int]:
    """Return the id of each token in the tokenizer of `folder`.

    Raises:
        ValueError: the tokenizer has no such table.
    """
    path = os.path.join(folder, TOKENIZER)
    content = json.loads(read_bounded(path, _LARGEST))
    vocabulary = content["model"]["vocab"]
    if not isinstance(vocabulary, dict):
        raise ValueError(f"{path} has a vocabulary of {type(vocabulary).__name__}")
    return vocabulary | {token["content"]: token["id"] for token in content["added_tokens"]}


def truncation_side(folder: str, config: Mapping[str, Any]) -> str:
    """Return `right` or `left`, the end at which tokenizer_config.json cuts longer texts.

    Raises:
        UnsupportedModel: another side is given.
    """
    side = str(config.get("truncation_side") or "right")
    if side not in {"right", "left"}:
        supported = ("right", "left")
        raise UnsupportedModel(folder, feature="truncation_side", got=side, supported=supported)
    return side


def write_tokenizer(
    path: str,
    folder: str,
    *,
    model_type: str = "",
    normalizer: Mapping[str, Any] | None,
    special_tokens: Collection[Any] = (),
    lowercase: bool,
    max_seq_length: int | None,
    truncation_side: str = "right",
    add_prefix_space: bool | None = None,
    adds_special: bool = True,
    markers: Mapping[str, int] = MappingProxyType({}),
) -> int:
    """Write the tokenizer of the file `path` into `folder`, with all settings.

    Return the largest token id.

    The tokenizer does not pad; the engine does.

    Args:
        path: tokenizer.json of the model, or the vocabulary of an older model.
        folder: the artifact folder.
        model_type: the family of the model, which decides what a vocabulary means.
        normalizer: replaces the tokenizer's normaliser, unless None.
        special_tokens: the tokens to put around a text, as other files of the folder name them.
        lowercase: lower-case texts before any other normalisation.
        max_seq_length: the token limit for truncation; None for what tokenizer.json says.
        truncation_side: `right` or `left`, the end at which longer texts are cut.
        add_prefix_space: overrides the setting of a byte-level tokenizer, unless None.
        adds_special: whether special tokens are put around a text.
        markers: tokens of the vocabulary, with their ids, that a text may name as a whole.

    Raises:
        ModelDamaged: tokenizer.json cannot be read, or contradicts itself or `special_tokens`.
        UnsupportedModel: the tokenizer cannot follow `add_prefix_space`, or cannot be built.
    """
    try:
        content = _read(path, model_type)
        if normalizer and _rebuilds(path, content):
            _check_special_tokens(content, special_tokens)
            content["normalizer"] = normalizer
        content["normalizer"] = _joined(lowercase, content.get("normalizer"))
        if add_prefix_space is not None:
            _set_prefix_space(os.path.dirname(path), content, add_prefix_space)
        _add_markers(content, markers)
        content["padding"] = None
        content["post_processor"] = content.get("post_processor") if adds_special else None
        content["truncation"] = _truncation(content, max_seq_length, truncation_side)
        largest = _largest_id(content)
        files = _serialized(content)
    except HotstartError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelDamaged(path, reason=f"not a tokenizer ({described(error)})") from error
    for name, raw in files.items():
        write_whole(os.path.join(folder, name), raw)
    return largest


def _read(path: str, model_type: str) -> dict[str, Any]:
    """Return the content of tokenizer.json, built if `path` is a vocabulary."""
    if os.path.basename(path) != TOKENIZER:
        from hotstart.models.vocabulary import build_tokenizer  # only older models need it

        return build_tokenizer(path, model_type)
    content: dict[str, Any] = json.loads(read_bounded(path, _LARGEST))
    return content


def _rebuilds(path: str, content: Mapping[str, Any]) -> bool:
    """Return whether a normaliser of other files replaces that of tokenizer.json.

    Only where its model is WordPiece: transformers 4 keeps the normaliser of another model; 5 would
    build a WordPiece tokenizer over the vocabulary, which gives other tokens than the model was
    trained with.
    """
    if (content.get("model") or {}).get("type") == "WordPiece":
        return True
    logger.info("%s keeps its normalizer: its model is not WordPiece", path)
    return False


def _truncation(content: Mapping[str, Any], max_length: int | None, side: str) -> Any:
    """Return the setting that cuts longer texts at `side`; without a limit, that of `content`."""
    if max_length is None:
        return content.get("truncation")
    strategy = {"strategy": "LongestFirst", "stride": 0}
    return {"direction": side.capitalize(), "max_length": max_length, **strategy}


def _serialized(content: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of the tokenizer, by name; the vocabulary of WordPiece is one of its own."""
    files = {}
    lines = take_vocabulary(content)
    if lines is not None:
        files[WORDPIECE] = "".join(f"{line}\n" for line in lines).encode()
    files[TOKENIZER] = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return files


def _add_markers(content: dict[str, Any], markers: Mapping[str, int]) -> None:
    """Add `markers` as whole tokens, which normaliser and splitting into words would break."""
    if not markers:
        return
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [each for each in content.get("added_tokens") or () if each["content"] not in markers]
    added += [
        {"id": number, "content": token, "special": True, **plain}
        for token, number in markers.items()
    ]
    content["added_tokens"] = sorted(added, key=lambda each: each["id"])


def _joined(lowercase: bool, normalizer: Any) -> Any:
    """Return the normaliser, after lower-casing if that is set; None for neither."""
    steps = [{"type": "Lowercase"}] if lowercase else []
    steps += [normalizer] if normalizer else []
    if len(steps) > 1:
        return {"type": "Sequence", "normalizers": steps}
    return steps[0] if steps else None


def _check_special_tokens(content: Mapping[str, Any], special_tokens: Collection[Any]) -> None:
    """Raise ValueError if a special token has two ids, or another name than in `special_tokens`.

    transformers builds these tokens anew from the vocabulary; tokenizer.json would give others.
    """
    vocabulary = content["model"]["vocab"]
    pairs = [(entry["content"], entry["id"]) for entry in content.get("added_tokens") or ()]
    around = _tokens_around(content.get("post_processor") or {})
    for token, number in [*pairs, *around]:
        expected = vocabulary.get(token, number)
        if number != expected:
            raise ValueError(f"token {token!r} has id {number} and, in the vocabulary, {expected}")
    if not around:
        raise ValueError("no post_processor puts special tokens around a text")
    names = [token for token, _ in around]
    for token in names:
        if token not in vocabulary:
            raise ValueError(f"special token {token!r} is not in its vocabulary")
    for token in special_tokens:
        if token not in names:
            raise ValueError(f"special token {token!r} is not in its post_processor")


def _tokens_around(step: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Return the tokens that a post-processor puts around a text; None as id if it gives none."""
    if step.get("type") == "TemplateProcessing":
        return [
            (token, number)
            for entry in step["special_tokens"].values()
            for token, number in zip_longest(entry["tokens"], entry["ids"])
        ]
    return [tuple(step[name]) for name in ("cls", "sep") if name in step]


def _largest_id(content: dict[str, Any]) -> int:
    """Return the largest token id; -1 without tokens."""
    vocabulary: Any = (content.get("model") or {}).get("vocab") or []
    added = [entry["id"] for entry in content.get("added_tokens") or ()]
    # Unigram has a list of pieces, the other models a table of ids.
    is_table = isinstance(vocabulary, dict)
    ids = vocabulary.values() if is_table else [len(vocabulary) - 1]
    return max([*ids, *added], default=-1)


def _set_prefix_space(source: str, content: dict[str, Any], value: bool) -> None:
    """Set whether a byte-level tokenizer puts a space before a text.

    Tokenizers without bytes or word marks ignore the setting, as in transformers.
    """
    step = content.get("pre_tokenizer") or {}
    for each in step.get("pretokenizers") or [step]:
        if each.get("type") == "ByteLevel":
            each["add_prefix_space"] = value
        elif each.get("type") == "Metaspace" and not value:
            raise UnsupportedModel(
                source, feature="add_prefix_space", got=value, supported=("True with Metaspace",)
            )


def take_vocabulary(content: dict[str, Any]) -> list[str] | None:
    """Remove the vocabulary, except added tokens, from `content` and return it as lines.

    Return None and leave `content` unchanged if lines cannot represent the vocabulary. Lines work
    only for WordPiece; the line number is the token id, and trailing white space is lost. The
    library numbers added tokens behind the vocabulary that it reads, so all must be in it.
    """
    model = content.get("model") or {}
    vocabulary = model.get("vocab")
    if model.get("type") != "WordPiece" or not isinstance(vocabulary, dict):
        return None
    lines = sorted(vocabulary, key=vocabulary.__getitem__)
    is_consecutive = [vocabulary[token] for token in lines] == list(range(len(lines)))
    if not is_consecutive or any(token != token.rstrip() or "\n" in token for token in lines):
        return None
    added = {entry["content"] for entry in content.get("added_tokens") or ()}
    if not added <= vocabulary.keys():
        return None
    model["vocab"] = {token: number for token, number in vocabulary.items() if token in added}
    return lines
