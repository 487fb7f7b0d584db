"""What configuration files say of the longest text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hotstart import Embedder
from hotstart.models.description import describe
from hotstart.pool.pool import Pool
from support.golden import FAMILIES


def changed(source: Path, folder: Path, file: str, **changes: Any) -> str:
    if not folder.exists():
        shutil.copytree(source, folder)
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | changes))
    return str(folder)


def test_a_model_without_a_table_of_positions_reads_as_far_as_it_is_told(tmp_path: Path) -> None:
    folder = changed(
        FAMILIES / "llama-last" / "model",
        tmp_path / "m",
        "sentence_bert_config.json",
        max_seq_length=100,
    )
    changed(Path(folder), tmp_path / "m", "config.json", max_position_embeddings=32)
    assert describe(folder, "m").max_seq_length == 100
    other = changed(
        FAMILIES / "bert-mean-normalize" / "model",
        tmp_path / "n",
        "sentence_bert_config.json",
        max_seq_length=100,
    )
    assert describe(other, "n").max_seq_length == 64  # so many rows there are


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        ({"n_embd": 32, "n_positions": 8192}, {}, 8192),  # as nomic-embed-text-v1.5 has it
        ({"hidden_size": 32}, {"model_max_length": 4096}, 4096),
        ({"hidden_size": 32, "n_positions": 2048}, {"model_max_length": 10**30}, 2048),
        ({"hidden_size": 32}, {}, 512),
    ],
)
def test_the_limit_of_a_shipped_graph_is_its_own(
    tmp_path: Path, config: dict[str, Any], tokenizer: dict[str, Any], expected: int
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "onnx-only" / "model", folder)
    for name in ("modules.json", "sentence_bert_config.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "unknown", **config}))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    embedder = Embedder(folder, pool=Pool())
    assert (embedder.max_seq_length, embedder.dimension) == (expected, 32)
    assert len(embedder.encode("a text")) == 32
