"""The identity of a vector space: vectors may be compared when, and only when, it is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass

from hotstart.models.description import Description


def fingerprint(model: Description, hashes: Mapping[str, str], precision: str) -> str:
    """Return 32 hexadecimal digits over everything that decides a vector's value.

    Args:
        model: pooling, head, prompts, token limit and casing are taken from it.
        hashes: SHA-256 of the original weights and of the tokenizer, by file name.
        precision: of the weights as they are run.
    """
    identity = {
        "weights": dict(hashes),
        "precision": precision,
        "poolings": model.poolings,
        "head": [asdict(s) if is_dataclass(s) else s for s in model.head],
        "dimension": model.dimension,
        "max_seq_length": model.max_seq_length,
        "lowercase": model.lowercase,
        "normalizer": model.normalizer,
        "truncate_dim": model.truncate_dim,
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt_name,
    }
    if model.classifier is not None:
        identity |= {"segments": model.segments, "classifier": model.classifier}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
