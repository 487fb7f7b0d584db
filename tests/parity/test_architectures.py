"""Live: tiny models of each architecture, longer than their windows and than a chunk, in batches.

The golden families keep one model of each architecture; here are the settings that change a vector,
and texts of thousands of tokens.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.pool.pool import Pool
from support.golden import DATA, cosines, family_texts

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

LONG: dict[str, Any] = {"max_position_embeddings": 2048}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
MODELS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "modernbert": ("modernbert", "bert", "mean", LONG | {"local_attention": 64}),
    "modernbert with biases": (
        "modernbert",
        "bert",
        "cls",
        LONG | {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
    ),
    "gte, scaled positions": ("gte", "bert", "cls", LONG | {"rope_parameters": LINEAR}),
    "qwen3": ("qwen3", "bert", "lasttoken", LONG | {"attention_bias": True}),
    "qwen2, window in one layer": (
        "qwen2",
        "qwen2",
        "lasttoken",
        LONG | {"use_sliding_window": True, "sliding_window": 50, "max_window_layers": 1},
    ),
    "mistral": ("mistral", "bert", "lasttoken", LONG | {"sliding_window": 100}),
    "llama, one head of keys": (
        "llama",
        "bert",
        "mean",
        LONG | {"num_key_value_heads": 1, "head_dim": 12},
    ),
    "qwen3, bidirectional": ("qwen3", "bert", "mean", LONG | {"is_causal": False}),
    "gemma": ("gemma", "bert", "lasttoken", LONG | {"head_dim": 12}),
    "gemma, bidirectional": ("gemma", "bert", "mean", LONG | {"is_causal": False}),
    "gemma3": (
        "gemma3_text",
        "bert",
        "mean",
        LONG | {"use_bidirectional_attention": True, "sliding_window": 128},
    ),
    "gemma3, causal": ("gemma3_text", "bert", "lasttoken", LONG | {"sliding_window": 100}),
    "xlm-roberta": (
        "xlm-roberta",
        "xlm-roberta",
        "mean",
        {"max_position_embeddings": 2050},
    ),
    "t5": ("t5", "bert", "mean", {}),
    "deberta-v2": ("deberta-v2", "bert", "cls", {"max_position_embeddings": 2048}),
    "deberta-v2, keys of positions": (
        "deberta-v2",
        "bert",
        "cls",
        {
            "max_position_embeddings": 2048,
            "share_att_key": False,
            "pos_att_type": ["c2p"],
            "position_buckets": -1,
            "max_relative_positions": 40,
            "position_biased_input": True,
            "norm_rel_ebd": "none",
        },
    ),
}
"""Architecture, tokenizer, pooling and settings, by name."""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    whole = " ".join(family_texts())
    return [whole[:length] for length in (1, 40, 300, 900, 1500, len(whole))] + ["x"]


@pytest.mark.parametrize("name", MODELS)
def test_vectors_are_those_of_sentence_transformers(
    name: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch
    from sentence_transformers import SentenceTransformer

    monkeypatch.syspath_prepend(str(DATA))
    from family_models import Family, assembled

    kind, tokenizer, pooling, config = MODELS[name]
    family = Family(
        name, kind, tokenizer=tokenizer, pooling=pooling, max_length=2000, config=config
    )
    folder = tmp_path / "model"
    with tempfile.TemporaryDirectory() as passing:
        assembled(family, passing).save(str(folder), create_model_card=False)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    peer = SentenceTransformer(str(folder), device="cpu", model_kwargs=options)
    expected = np.stack([peer.encode(text) for text in texts])
    for engine in ("onnx", "openvino"):
        embedder = Embedder(folder, engine=engine, pool=Pool())
        together = embedder.encode(texts)
        alone = np.stack([embedder.encode(text) for text in texts])
        for found in (together, alone):
            assert cosines(found, expected).min() > 0.99999
