from __future__ import annotations

import importlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from hotstart.engines.static import StaticEngine
from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from support.engines import STATIC

NAMES = sorted(folder.name for folder in STATIC.iterdir() if folder.is_dir())


def texts() -> list[str]:
    entries = json.loads((STATIC / "texts.json").read_text())
    return [e["text"] * e["times"] if isinstance(e, dict) else e for e in entries]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATIC / "unigram" / "model", tmp_path / "model"))


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_the_golden_vectors_of_model2vec(name: str) -> None:
    golden = np.load(STATIC / name / "vectors.npy")
    engine = StaticEngine(str(STATIC / name / "model"))
    assert engine.dimension == golden.shape[1]
    np.testing.assert_allclose(engine.embed(texts()).vectors.array(), golden, atol=1e-6, rtol=0)
    alone = np.concatenate([engine.embed([text]).vectors.array() for text in texts()])
    np.testing.assert_allclose(alone, golden, atol=1e-6, rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_model2vec_returns_the_golden_vectors(name: str) -> None:
    model2vec = importlib.import_module("model2vec")
    folder = STATIC / name
    live = model2vec.StaticModel.from_pretrained(folder / "model", force_download=False)
    np.testing.assert_allclose(live.encode(texts()), np.load(folder / "vectors.npy"), atol=1e-6)


def test_a_text_without_a_known_token_has_the_zero_vector() -> None:
    engine = StaticEngine(str(STATIC / "wordlevel-half" / "model"))
    assert not engine.embed(["", "東京", "[UNK]"]).vectors.array().any()


def test_the_static_engine_imports_neither_model2vec_nor_onnxruntime(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    code = f"""if True:
        import sys
        from hotstart.engines import engine_class
        engine_class("static")({str(STATIC / "unigram" / "model")!r}).embed(["text"])
        print({{"model2vec", "onnxruntime", "safetensors", "torch"}} & sys.modules.keys())
    """
    assert python("-c", code).stdout == "set()\n"


def test_the_error_names_missing_files(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(ModelIncomplete, match=r"missing tokenizer\.json"):
        StaticEngine(str(model))


@pytest.mark.parametrize("length", [0, 5, 60, 500])
def test_truncated_tensors_raise(model: Path, length: int) -> None:
    tensors = model / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:length])
    with pytest.raises(ModelDamaged, match=r"model\.safetensors is damaged"):
        StaticEngine(str(model))


def write_tensors(path: Path, header: object, data: bytes = b"") -> None:
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"embeddings": 1},
        {"embeddings": {"dtype": "F32", "shape": [2, 2]}},
        {"embeddings": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 16]}},
        {"embeddings": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}},
        {"others": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}},
    ],
)
def test_invalid_tensors_raise(model: Path, header: object) -> None:
    write_tensors(model / "model.safetensors", header, bytes(16))
    with pytest.raises(ModelDamaged):
        StaticEngine(str(model))


def test_a_dtype_unknown_to_numpy_raises(model: Path) -> None:
    entry = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    write_tensors(model / "model.safetensors", {"embeddings": entry}, bytes(8))
    with pytest.raises(UnsupportedModel, match="BF16"):
        StaticEngine(str(model))


def test_an_unreadable_configuration_raises(model: Path) -> None:
    (model / "config.json").write_text("{")
    with pytest.raises(ModelDamaged, match=r"config\.json"):
        StaticEngine(str(model))
