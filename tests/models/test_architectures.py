"""Settings of config.json that decide a vector: followed as transformers does, or refused by name.

Parity of what is followed: tests/parity/test_layouts.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.config import Settings
from hotstart.errors import InvalidInput, UnsupportedModel
from hotstart.models.description import describe
from hotstart.pool.pool import Pool
from hotstart.safetensors import read_header
from support.golden import FAMILIES, RERANKERS, SPARSE, cosines, family_texts

ENGINES = ["onnx", "openvino"]


def changed(source: Path, folder: Path, **settings: Any) -> Path:
    """Return a copy of the model folder `source` with other settings in config.json."""
    shutil.copytree(source / "model", folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["bert-mean-normalize", "llama-last", "gte-cls"])
def test_a_negative_pad_token_is_no_token(
    fresh: Settings, tmp_path: Path, name: str, engine: str
) -> None:
    """Configurations of the hub have -1; no text attends to the padding."""
    folder = changed(FAMILIES / name, tmp_path / "m", pad_token_id=-1)
    vectors = Embedder(folder, engine=engine, pool=Pool()).encode(family_texts())
    expected = np.load(FAMILIES / name / "vectors.npy")
    assert cosines(vectors, expected).min() > 0.999999


def test_a_classifier_of_the_last_token_needs_a_pad_token(fresh: Settings, tmp_path: Path) -> None:
    """In transformers its scores depend on the batch otherwise."""
    folder = changed(RERANKERS / "qwen3-score", tmp_path / "m", pad_token_id=-1)
    with pytest.raises(UnsupportedModel, match="pad_token_id -1"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_token_without_an_embedding_is_refused_in_the_text_that_has_it(
    fresh: Settings, tmp_path: Path, engine: str
) -> None:
    name = "bert-mean-normalize"
    folder = changed(FAMILIES / name, tmp_path / "m")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["hello"] = 10**6
    path.write_text(json.dumps(content))
    embedder = Embedder(folder, engine=engine, pool=Pool())
    expected = np.load(FAMILIES / name / "vectors.npy")
    texts = family_texts()
    known = [number for number, text in enumerate(texts) if "hello" not in text.lower()]
    vectors = embedder.encode([texts[number] for number in known])
    assert cosines(vectors, expected[known]).min() > 0.999999
    with pytest.raises(InvalidInput, match=r"texts without 'hello'.*got 'hello there'"):
        embedder.encode(["a text", "hello there"])


def test_a_decoder_may_have_no_bias(fresh: Settings, tmp_path: Path) -> None:
    """As ModernBERT with `decoder_bias: false`."""
    folders = [
        changed(SPARSE / "modernbert", tmp_path / name, decoder_bias=False)
        for name in ("zeros", "none")
    ]
    path = folders[0] / "model.safetensors"
    bias = read_header(str(path))["decoder.bias"]
    with open(path, "r+b") as file:
        file.seek(bias.offset)
        file.write(bytes(bias.length))
    path = folders[1] / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"decoder.bias"', b'"decoder.none"', 1))
    zeros, none = (Embedder(folder, pool=Pool()).encode_sparse("a text") for folder in folders)
    assert none.indices.tolist() == zeros.indices.tolist()
    np.testing.assert_allclose(none.values, zeros.values, rtol=1e-5)


FULL, LOCAL = "full_attention", "sliding_attention"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("modernbert-cls", {"layer_types": [FULL, LOCAL]}),
        ("modernbert-cls", {"layer_types": [FULL, LOCAL, "chunked_attention"]}),
        ("modernbert-cls", {"layer_types": [FULL, LOCAL, FULL, FULL, LOCAL]}),
        ("gemma3-last", {"layer_types": ["sliding", LOCAL, FULL]}),
        ("qwen3-last", {"layer_types": [LOCAL] * 3, "use_sliding_window": False}),
    ],
)
def test_layers_that_transformers_does_not_take_are_refused(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = changed(FAMILIES / name, tmp_path / "m", **settings)
    with pytest.raises(UnsupportedModel, match="layer_types"):
        describe(str(folder), "m")


def test_the_pad_token_of_mpnet_is_in_its_code(fresh: Settings, tmp_path: Path) -> None:
    name = "mpnet-mean-normalize"
    folder = changed(FAMILIES / name, tmp_path / "m", pad_token_id=0)
    expected = np.load(FAMILIES / name / "vectors.npy")
    vectors = Embedder(folder, pool=Pool()).encode(family_texts())
    assert cosines(vectors, expected).min() > 0.999999


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize("lacking", [*LLAMA3][1:])
def test_a_scaled_rotation_needs_all_of_its_settings(tmp_path: Path, lacking: str) -> None:
    scaling = {key: value for key, value in LLAMA3.items() if key != lacking}
    folder = changed(
        FAMILIES / "llama-last", tmp_path / "m", rope_parameters=None, rope_scaling=scaling
    )
    with pytest.raises(UnsupportedModel, match=f"'llama3' without .*{lacking}"):
        describe(str(folder), "m")


@pytest.mark.parametrize(
    ("name", "kind"), [("llama-last", "linear"), ("gemma3-last", "linear"), ("gte-cls", "ntk")]
)
def test_a_scaled_rotation_needs_a_factor(tmp_path: Path, name: str, kind: str) -> None:
    folder = changed(
        FAMILIES / name, tmp_path / "m", rope_parameters=None, rope_scaling={"rope_type": kind}
    )
    with pytest.raises(UnsupportedModel, match=f"'{kind}' without .*factor"):
        describe(str(folder), "m")


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_bits_of_a_model_without_layers(fresh: Settings, tmp_path: Path, engine: str) -> None:
    folder = changed(FAMILIES / "bert-mean-normalize", tmp_path / "m", num_hidden_layers=0)
    texts = family_texts()
    exact = Embedder(folder, pool=Pool()).encode(texts)
    found = Embedder(folder, precision="int8", engine=engine, pool=Pool()).encode(texts)
    assert cosines(found, exact).min() > 0.99
