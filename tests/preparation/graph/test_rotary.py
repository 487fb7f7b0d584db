"""Rotary positions: the model as its authors' code and as transformers saves it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts

NOMIC = FAMILIES / "nomic-mean"
TEXTS = family_texts()
HUB = {
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 64,
    "n_layer": 2,
    "n_positions": 128,
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_scaling_factor": None,
    "prenorm": False,
    "use_rms_norm": False,
    "causal": False,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
"""Settings as nomic-ai/nomic-embed-text-v1.5 names them."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "model"
    shutil.copytree(NOMIC / "model", copied)
    return copied


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.999999), ("int8", 0.998)])
def test_the_vectors_are_sentence_transformers(engine: str, precision: str, least: float) -> None:
    embedder = Embedder(NOMIC / "model", engine=engine, precision=precision, pool=Pool())
    expected = np.load(NOMIC / "vectors.npy")
    assert cosines(embedder.encode(TEXTS), expected).min() > least


def test_the_settings_of_the_hub_are_the_same_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(HUB))
    found = Embedder(folder, pool=Pool()).encode(TEXTS)
    assert cosines(found, np.load(NOMIC / "vectors.npy")).min() > 0.999999


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rotary_emb_interleaved", True),
        ("rotary_emb_fraction", 0.5),
        ("rotary_scaling_factor", 2.0),
        ("prenorm", True),
        ("use_rms_norm", True),
        ("num_experts", 8),
        ("activation_function", "gelu"),
        ("causal", True),
    ],
)
def test_what_is_not_built_is_refused_by_name(folder: Path, setting: str, value: Any) -> None:
    (folder / "config.json").write_text(json.dumps(HUB | {setting: value}))
    with pytest.raises(UnsupportedModel):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize(
    "change", [{"n_embd": 16}, {"n_head": 5}, {"n_head": 0}, {"head_dim": 4}, {"pad_token_id": 999}]
)
def test_settings_that_do_not_fit_the_weights_are_damage(
    folder: Path, change: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(HUB | change))
    with pytest.raises(ModelDamaged):
        Embedder(folder, pool=Pool()).encode("a text")
