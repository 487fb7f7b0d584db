"""A damaged model folder is an error with a name, never a raw one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.errors import ModelDamaged
from hotstart.pool.pool import Pool
from support.golden import FAMILIES

DAMAGED: dict[str, tuple[str, str, Any]] = {
    "a list": ("bert-mean-normalize", "config.json", []),
    "nested": ("bert-mean-normalize", "config.json", "[" * 100_000),
    "heads": ("bert-mean-normalize", "config.json", {"num_attention_heads": 3}),
    "pad": ("bert-mean-normalize", "config.json", {"pad_token_id": 10**6}),
    "large pad": ("bert-mean-normalize", "config.json", {"pad_token_id": 2**31}),
    "text": ("bert-mean-normalize", "config.json", {"hidden_size": "wide"}),
    "width": ("bert-mean-normalize", "config.json", {"hidden_size": 8}),
    "positions": ("bert-mean-normalize", "config.json", {"max_position_embeddings": 10**8}),
    "infinite": ("bert-mean-normalize", "config.json", {"hidden_size": float("inf")}),
    "modules": ("bert-mean-normalize", "modules.json", {"type": 1}),
    "module": ("bert-mean-normalize", "modules.json", [1]),
    "prompts": ("bert-mean-normalize", "config_sentence_transformers.json", {"prompts": [1]}),
    "limit": ("bert-mean-normalize", "sentence_bert_config.json", {"max_seq_length": "long"}),
    "dense": ("bert-dense-tanh", "2_Dense/config.json", {"out_features": 2**32}),
    "dense text": ("bert-dense-tanh", "2_Dense/config.json", {"in_features": "many"}),
    "tokenizer": ("bert-mean-normalize", "tokenizer.json", []),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_named(fresh: Settings, tmp_path: Path, damage: str) -> None:
    family, name, content = DAMAGED[damage]
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / family / "model", folder)
    path = folder / name
    if isinstance(content, dict):
        old = json.loads(path.read_text()) if path.exists() else {}
        content = old | content if isinstance(old, dict) else content
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ModelDamaged):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize("attribute", ["dimension", "max_seq_length", "fingerprint"])
def test_damage_is_named_without_loading(fresh: Settings, tmp_path: Path, attribute: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", folder)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": [1]}')
    with pytest.raises(ModelDamaged):
        getattr(Embedder(folder, pool=Pool()), attribute)
