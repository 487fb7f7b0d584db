"""The tokenizer of an artifact: the model's own, with every setting that a load would make.

Settings lie in three files, and transformers (version 5, `BertTokenizer`, `MPNetTokenizer`) lets
tokenizer_config.json overrule the normaliser in tokenizer.json. All of it is settled here, once, so
that an engine reads one file and configures nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from hotstart.durable import write_whole
from hotstart.errors import ModelDamaged

TOKENIZER = "tokenizer.json"
_REBUILT = {"BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"}
_REBUILT_BY_DEFAULT = {"bert", "distilbert", "mpnet"}  # where no tokenizer_class is named


def overruling_normalizer(model_type: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the normaliser that tokenizer_config.json puts in place of the tokenizer's own.

    None where it leaves it alone, as for every class but those that rebuild it.
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
    raw = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    write_whole(os.path.join(folder, TOKENIZER), raw.encode())
