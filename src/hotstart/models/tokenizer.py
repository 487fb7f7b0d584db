"""Write the tokenizer of an artifact with all its settings.

Three files have settings, and transformers (version 5, `BertTokenizer`, `MPNetTokenizer`) lets
tokenizer_config.json override the normaliser of tokenizer.json. Preparation resolves all of them,
so that an engine configures nothing.

A WordPiece vocabulary is a separate file with one token a line: `tokenizers` reads 30,000 lines in
9 ms, and the same table as JSON in 18 ms, holding the GIL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from hotstart.errors import ModelDamaged
from hotstart.files import write_whole
from hotstart.types import TOKENIZER, WORDPIECE

_REBUILT = {"BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"}
_REBUILT_BY_DEFAULT = {"bert", "distilbert", "mpnet"}  # without a tokenizer_class


_WITHOUT_SEGMENTS = {
    "CamembertTokenizer",
    "DistilBertTokenizer",
    "MPNetTokenizer",
    "RobertaTokenizer",
    "XLMRobertaTokenizer",
}


def gives_segments(model_type: str, config: Mapping[str, Any]) -> bool:
    """Return whether transformers passes segments (which text of a pair) to the model.

    tokenizer_config.json or its tokenizer class decides.
    """
    if config.get("model_input_names"):
        return "token_type_ids" in config["model_input_names"]
    named = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    return named not in _WITHOUT_SEGMENTS if named else model_type == "bert"


def overruling_normalizer(model_type: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the normaliser that tokenizer_config.json sets instead of the tokenizer's.

    None for classes that do not rebuild it.
    """
    named = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if named not in _REBUILT and (named or model_type not in _REBUILT_BY_DEFAULT):
        return None
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": bool(config.get("tokenize_chinese_chars", True)),
        "strip_accents": config.get("strip_accents"),
        "lowercase": bool(config.get("do_lower_case", True)),
    }


def write_tokenizer(
    source: str,
    folder: str,
    *,
    normalizer: Mapping[str, Any] | None,
    lowercase: bool,
    max_seq_length: int,
) -> None:
    """Write tokenizer.json of the model folder `source` with all settings into `folder`.

    Args:
        source: folder of the model.
        folder: folder of the artifact.
        normalizer: replacement of the tokenizer's normaliser, if any.
        lowercase: lower-case texts before any other normalisation.
        max_seq_length: limit of truncation. The engine pads.
    """
    path = os.path.join(source, TOKENIZER)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        steps = [normalizer or content.get("normalizer")]
    except (ValueError, AttributeError) as error:
        raise ModelDamaged(path, reason=f"not a tokenizer ({error})") from error
    if lowercase:
        steps.insert(0, {"type": "Lowercase"})
    present = [step for step in steps if step]
    content["normalizer"] = (
        {"type": "Sequence", "normalizers": present} if len(present) > 1 else (present or [None])[0]
    )
    content["padding"] = None
    content["truncation"] = {
        "direction": "Right",
        "max_length": max_seq_length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    lines = take_vocabulary(content)
    if lines is not None:
        ended = "".join(f"{line}\n" for line in lines)
        write_whole(os.path.join(folder, WORDPIECE), ended.encode())
    raw = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    write_whole(os.path.join(folder, TOKENIZER), raw.encode())


def take_vocabulary(content: dict[str, Any]) -> list[str] | None:
    """Remove the vocabulary, except added tokens, from `content` and return it as lines.

    Return None and leave `content` unchanged if lines cannot express it: only a WordPiece model is
    read from lines, the number of a line is the id, and trailing white space is dropped.
    """
    model = content.get("model") or {}
    vocabulary = model.get("vocab")
    if model.get("type") != "WordPiece" or not isinstance(vocabulary, dict):
        return None
    lines = sorted(vocabulary, key=vocabulary.__getitem__)
    numbered = [vocabulary[token] for token in lines] == list(range(len(lines)))
    if not numbered or any(token != token.rstrip() or "\n" in token for token in lines):
        return None
    added = {entry["content"] for entry in content.get("added_tokens") or ()}
    model["vocab"] = {token: number for token, number in vocabulary.items() if token in added}
    return lines
