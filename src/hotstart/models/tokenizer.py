"""Write the tokenizer of an artifact with all its settings.

Settings lie in three files, and transformers (version 5, `BertTokenizer`, `MPNetTokenizer`) lets
tokenizer_config.json overrule the normaliser in tokenizer.json. All of it is settled here, once, so
that an engine configures nothing.

A WordPiece vocabulary is laid beside the settings, a token a line: `tokenizers` reads 30,000 lines
in 9 ms and the same table as JSON in 18, and it holds the interpreter all the while.
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
_REBUILT_BY_DEFAULT = {"bert", "distilbert", "mpnet"}  # where no tokenizer_class is named


_WITHOUT_SEGMENTS = {
    "CamembertTokenizer",
    "DistilBertTokenizer",
    "MPNetTokenizer",
    "RobertaTokenizer",
    "XLMRobertaTokenizer",
}


def gives_segments(model_type: str, config: Mapping[str, Any]) -> bool:
    """Return whether transformers hands on which text of a pair a token belongs to.

    As tokenizer_config.json, or the class it names, has it.
    """
    if config.get("model_input_names"):
        return "token_type_ids" in config["model_input_names"]
    named = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    return named not in _WITHOUT_SEGMENTS if named else model_type == "bert"


def overruling_normalizer(model_type: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the normaliser that tokenizer_config.json puts in place of the tokenizer's own.

    None if it leaves it alone, as for every class but those that rebuild it.
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
    """Write tokenizer.json of the model folder `source` into `folder`, its settings made.

    Args:
        source: the model's folder.
        folder: the artifact's.
        normalizer: goes in place of the tokenizer's own, if given.
        lowercase: lower texts before any other normalisation.
        max_seq_length: the limit of its truncation. Padding is left to the engine.
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
    """Take the vocabulary out of `content`, all but its added tokens, and return it as lines.

    None, and `content` as it was, where lines could not say the same: only a WordPiece model is
    read from lines, a line's number is the token's id, and white space at its end is dropped.
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
