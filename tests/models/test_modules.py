"""Modules of sentence-transformers after the transformer: same vectors, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.modules import POOLINGS
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, MODULES, cosines, family_texts

ENGINES = ["onnx", "openvino"]
ADDED = 7  # the place of the added module


def added(
    tmp_path: Path, kind: str, config: dict[str, Any], source: str = "bert-dense-tanh"
) -> Path:
    """A copy of a family's model with one module more."""
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / source / "model", folder)
    modules = json.loads((folder / "modules.json").read_text())
    module = {"idx": ADDED, "name": str(ADDED), "path": f"{ADDED}_Added", "type": kind}
    (folder / "modules.json").write_text(json.dumps([*modules, module]))
    (folder / f"{ADDED}_Added").mkdir()
    (folder / f"{ADDED}_Added" / "config.json").write_text(json.dumps(config))
    return folder


def changed(tmp_path: Path, source: Path, file: str, **changes: Any) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | changes))
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_on_tokens_and_on_vectors(engine: str) -> None:
    embedder = Embedder(MODULES / "steps" / "model", engine=engine, pool=Pool())
    assert embedder.dimension == 16
    vectors = embedder.encode(family_texts())
    expected = np.load(MODULES / "steps" / "vectors.npy")
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", POOLINGS)
def test_tokens_of_a_prompt_are_left_out_of_pooling(tmp_path: Path, mode: str, engine: str) -> None:
    home = MODULES / "excluded-prompt"
    folder = changed(tmp_path, home / "model", "1_Pooling/config.json", pooling_mode=mode)
    embedder = Embedder(folder, engine=engine, pool=Pool())
    texts = family_texts()
    for found, name in (
        (embedder.encode_query(texts), "query"),
        (embedder.encode(texts, prompt_name="query"), "query"),
        (embedder.encode(texts, prompt="query: "), "query"),
        (embedder.encode(texts), "plain"),
    ):
        expected = np.load(home / f"vectors_{name}_{mode}.npy")
        assert cosines(found, expected).min() >= 0.99999


def test_a_prompt_is_known_to_a_cache_and_to_batches(tmp_path: Path) -> None:
    home = MODULES / "excluded-prompt"
    embedder = Embedder(home / "model", cache=f"sqlite:{tmp_path / 'cache.db'}", pool=Pool())
    texts = family_texts()
    for _ in range(2):
        for name in ("query", "plain"):
            ask = embedder.encode_query if name == "query" else embedder.encode
            expected = np.load(home / f"vectors_{name}_mean.npy")
            assert cosines(ask(texts), expected).min() >= 0.99999
    assert embedder.cache_info().misses == 2 * len(set(texts))


def test_a_shipped_graph_leaves_the_prompt_out_too(tmp_path: Path) -> None:
    """Against the built graph of the same model, on both engines."""
    source = FAMILIES / "onnx-only" / "model"
    shipped = changed(tmp_path / "a", source, "1_Pooling/config.json", include_prompt=False)
    source = FAMILIES / "bert-mean-normalize" / "model"
    built = changed(tmp_path / "b", source, "1_Pooling/config.json", include_prompt=False)
    texts = family_texts()
    expected = Embedder(built, pool=Pool()).encode(texts, prompt="the cat: ")
    assert cosines(expected, Embedder(built, pool=Pool()).encode(texts)).min() < 0.9999
    for engine in ENGINES:
        found = Embedder(shipped, engine=engine, pool=Pool()).encode(texts, prompt="the cat: ")
        assert cosines(found, expected).min() >= 0.99999


@pytest.mark.parametrize(
    "kind",
    [
        "sentence_transformers.sentence_transformer.modules.cnn.CNN",
        "sentence_transformers.models.LSTM",
        "sentence_transformers.models.WeightedLayerPooling",
        "sentence_transformers.models.BoW",
        "pylate.models.Dense.Dense",
        "custom_st.Normalize",
    ],
)
def test_an_unknown_module_is_refused_by_its_full_name(tmp_path: Path, kind: str) -> None:
    folder = added(tmp_path, kind, {})
    with pytest.raises(UnsupportedModel, match=kind.replace(".", r"\.")):
        Embedder(folder, pool=Pool()).encode("a text")


def test_dropout_has_no_effect(tmp_path: Path) -> None:
    folder = added(tmp_path, "sentence_transformers.models.Dropout", {"dropout": 0.5})
    expected = Embedder(FAMILIES / "bert-dense-tanh" / "model").encode(family_texts())
    assert np.array_equal(Embedder(folder, pool=Pool()).encode(family_texts()), expected)


@pytest.mark.parametrize(
    "config",
    [
        {"module_output_name": "another_embedding"},
        {"module_input_name": "token_embeddings"},
    ],
)
def test_normalize_of_another_value_changes_nothing(tmp_path: Path, config: dict[str, Any]) -> None:
    kind = "sentence_transformers.models.Normalize"
    folder = added(tmp_path, kind, config, "distilbert-mean")
    found = Embedder(folder, pool=Pool()).encode(family_texts())
    expected = np.load(FAMILIES / "distilbert-mean" / "vectors.npy")
    assert cosines(found, expected).min() >= 0.99999
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_an_activation_of_another_library_is_refused_by_name(tmp_path: Path) -> None:
    source = FAMILIES / "bert-dense-tanh" / "model"
    change = {"activation_function": "custom.ReLU"}
    folder = changed(tmp_path, source, "2_Dense/config.json", **change)
    with pytest.raises(UnsupportedModel, match=r"custom\.ReLU"):
        Embedder(folder, pool=Pool()).encode("a text")


def test_modules_that_make_no_vector_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-dense-tanh" / "model", folder)
    modules = json.loads((folder / "modules.json").read_text())
    kinds = {module["type"].rpartition(".")[2]: module for module in modules}
    (folder / "modules.json").write_text(json.dumps([kinds["Transformer"], kinds["Normalize"]]))
    with pytest.raises(UnsupportedModel, match="sentence_embedding"):
        Embedder(folder, pool=Pool()).encode("a text")


def test_weights_that_do_not_fit_a_layer_are_damage(tmp_path: Path) -> None:
    for file, change in (
        ("3_LayerNorm/config.json", {"dimension": 47}),
        ("1_Dense/config.json", {"out_features": 23}),
        ("4_Dense/config.json", {"use_residual": True, "in_features": 47}),
    ):
        folder = changed(tmp_path / file[0], MODULES / "steps" / "model", file, **change)
        with pytest.raises(ModelDamaged):
            Embedder(folder, pool=Pool()).encode("a text")
