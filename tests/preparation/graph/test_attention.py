"""Texts longer than a chunk: the vectors are those of attention over the whole text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.pool.pool import Pool
from hotstart.preparation.graph import encoder
from hotstart.preparation.graph.attention import CHUNK
from support.golden import FAMILIES, cosines, family_texts

WORDS = " ".join(family_texts()).split()
LENGTHS = (1, CHUNK - 2, CHUNK - 1, 2 * CHUNK, 3 * CHUNK + 17)
"""Words of each text; a word has a token or more."""


def made_long(name: str, folder: Path) -> Path:
    """Copy a tiny model that has no table of positions, and let it take 4,096 tokens."""
    shutil.copytree(FAMILIES / name / "model", folder)
    for file, change in (
        ("config.json", {"max_position_embeddings": 4096}),
        ("tokenizer_config.json", {"model_max_length": 4096}),
    ):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | change))
    return folder


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize(
    "name",
    [
        "nomic-mean",
        "modernbert-cls",
        "qwen3-last",
        "mistral-last",
        "gemma3-dense",
        "t5-mean",
        "jina-bert-mean",
        "nomic-moe-mean",
    ],
)
def test_chunks_change_no_vector(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join((WORDS * 20)[:count]) for count in LENGTHS]
    chunked = Embedder(made_long(name, tmp_path / "chunked"), engine=engine, pool=Pool())
    assert chunked.max_seq_length is not None
    assert chunked.max_seq_length >= 4096
    found = chunked.encode(texts)
    monkeypatch.setattr(encoder, "CHUNK", 10**9)
    whole = Embedder(made_long(name, tmp_path / "whole"), pool=Pool())
    assert cosines(found, whole.encode(texts)).min() > 0.999999
    assert np.isfinite(found).all()
