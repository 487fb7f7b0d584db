from __future__ import annotations

import importlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.engines.static import StaticEngine
from hotstart.errors import InvalidInput, ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.models.description import describe
from hotstart.pool.pool import Pool
from support.engines import STATIC

NAMES = sorted(folder.name for folder in STATIC.iterdir() if folder.is_dir())


def atol(name: str) -> float:
    """Return the steps of float16 that a mean differs by in another order of its sum."""
    return 4e-3 if name == "st-half" else 1e-6


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
    np.testing.assert_allclose(
        engine.embed(texts()).vectors.array(), golden, atol=atol(name), rtol=0
    )
    alone = np.concatenate([engine.embed([text]).vectors.array() for text in texts()])
    np.testing.assert_allclose(alone, golden, atol=atol(name), rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_its_library_returns_the_golden_vectors(name: str) -> None:
    folder = STATIC / name
    if name.startswith("st-"):
        library = importlib.import_module("sentence_transformers")
        live = library.SentenceTransformer(str(folder / "model"), device="cpu", truncate_dim=16)
    else:
        library = importlib.import_module("model2vec")
        live = library.StaticModel.from_pretrained(folder / "model", force_download=False)
    vectors = np.stack([live.encode(text) for text in texts()])
    np.testing.assert_allclose(vectors, np.load(folder / "vectors.npy"), atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("st-")])
def test_an_embedder_is_sentence_transformers(name: str) -> None:
    library = importlib.import_module("sentence_transformers")
    folder = str(STATIC / name / "model")
    live, embedder = (
        library.SentenceTransformer(folder, device="cpu"),
        Embedder(folder, pool=Pool()),
    )
    for options in ({}, {"prompt_name": "query"}, {"truncate_dim": 5}, {"prompt": "fox "}):
        vectors, expected = embedder.encode(texts(), **options), live.encode(texts(), **options)
        np.testing.assert_allclose(vectors, expected, atol=atol(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_of_a_static_folder_is_found(name: str) -> None:
    folder = STATIC / name / "model"
    embedder, golden = Embedder(folder, pool=Pool()), np.load(STATIC / name / "vectors.npy")
    width = 12 if name.startswith("st-") else 16
    assert embedder.dimension == width
    np.testing.assert_allclose(embedder.encode(texts()), golden[:, :width], atol=atol(name))
    assert embedder.engine == "static"
    limits = {"st-truncated": 2, "st-half": 2, "wordpiece-short": 7, "unigram-quantized": 9}
    endless = name.startswith("st-") or name == "wordpiece-endless"
    assert embedder.max_seq_length == limits.get(name, None if endless else 512)
    assert embedder.fingerprint == Embedder(folder, engine="static", pool=Pool()).fingerprint


@pytest.mark.parametrize("name", ["unigram", "st-nested"])
def test_the_engine_of_a_static_repository_is_found(fresh: Settings, name: str) -> None:
    home = Path(fresh.hub_cache) / "models--owner--name"
    embedder = Embedder("owner/name", pool=Pool())  # nothing is here yet
    shutil.copytree(STATIC / name / "model", home / "snapshots" / ("1" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("1" * 40)
    golden = np.load(STATIC / name / "vectors.npy")
    for each in (Embedder("owner/name", pool=Pool()), embedder):  # as after a download
        vectors = each.encode(texts())
        np.testing.assert_allclose(vectors, golden[:, : vectors.shape[1]], atol=1e-6)
        assert each.engine == "static"


@pytest.mark.parametrize("name", ["st-nested", "unigram"])
@pytest.mark.parametrize(
    "argument",
    [
        {"engine": "onnx"},
        {"engine": "openvino"},
        {"precision": "int8"},
        {"file": "onnx/model.onnx"},
    ],
)
def test_what_a_static_model_would_ignore_is_refused(name: str, argument: dict[str, Any]) -> None:
    (key,) = argument
    with pytest.raises(InvalidInput, match=f"{key} must be left out for a static model"):
        Embedder(STATIC / name / "model", pool=Pool(), **argument)


@pytest.mark.parametrize("argument", [{"precision": "float32"}, {"strategy": "quantized"}])
def test_a_static_model_has_its_usual_precision(argument: dict[str, Any]) -> None:
    embedder = Embedder(STATIC / "st-nested" / "model", pool=Pool(), **argument)
    assert (len(embedder.encode("a")) > 0, embedder.engine) == (True, "static")


def test_a_static_model_needs_no_preparation() -> None:
    with pytest.raises(UnsupportedModel, match="It needs no preparation"):
        describe(str(STATIC / "st-nested" / "model"), "m")


def change(path: Path, new: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(new(json.loads(path.read_text()))))


def test_what_sentence_transformers_adds_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(STATIC / "st-wordpiece" / "model", folder)
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    change(folder / "modules.json", lambda modules: [*modules, dense])
    with pytest.raises(UnsupportedModel, match="'Dense'"):
        Embedder(folder, pool=Pool()).encode("a")
    change(folder / "modules.json", lambda modules: modules[:2])
    change(folder / "1_Normalize" / "config.json", lambda c: c | {"module_input_name": "tokens"})
    with pytest.raises(UnsupportedModel, match="module_input_name 'tokens'"):
        Embedder(folder, pool=Pool()).encode("a")
    change(folder / "modules.json", lambda modules: [modules[0] | {"path": "../other"}])
    with pytest.raises(ModelDamaged, match="outside of its folder"):
        Embedder(folder, pool=Pool()).encode("a")
    change(folder / "modules.json", lambda modules: [modules[0] | {"path": "nowhere"}])
    with pytest.raises(ModelIncomplete, match=r"nowhere/model\.safetensors"):
        Embedder(folder, pool=Pool()).encode("a")


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
