"""What differs from sentence-transformers without a word is refused by name, or followed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.config import Settings
from hotstart.errors import UnsupportedModel, WrongKind
from hotstart.models.architectures import FAMILIES as FAMILIES_BUILT
from hotstart.models.description import describe
from hotstart.models.locate import locate
from hotstart.models.spec import ModelSpec, check_kind
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, family_texts

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}"


def changed(source: Path, folder: Path, file: str, **changes: Any) -> str:
    if not folder.exists():
        shutil.copytree(source, folder)
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | changes))
    return str(folder)


def test_a_chat_template_is_read_by_models_that_know_messages_alone(tmp_path: Path) -> None:
    source = FAMILIES / "bert-mean-normalize" / "model"
    folder = changed(source, tmp_path / "m", "tokenizer_config.json", chat_template=TEMPLATE)
    assert describe(folder, "m").adds_special  # as Qwen3-Embedding: the texts are read as they are
    settings = {"text": {}, "message": {"format": "flat"}}
    changed(source, tmp_path / "m", "sentence_bert_config.json", modality_config=settings)
    assert not describe(folder, "m").adds_special


def test_a_setting_that_transformers_follows_by_halves_is_refused(tmp_path: Path) -> None:
    source = FAMILIES / "gemma-last" / "model"
    folder = changed(source, tmp_path / "m", "config.json", use_bidirectional_attention=True)
    with pytest.raises(UnsupportedModel, match="use_bidirectional_attention"):
        Embedder(folder, pool=Pool()).encode("a text")


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    source = FAMILIES / "bert-mean-normalize" / "model"
    folder = changed(source, tmp_path / "m", "adapter_config.json", peft_type="LORA")
    with pytest.raises(UnsupportedModel, match="merge_and_unload"):
        describe(folder, "m")


@pytest.mark.parametrize("name", ["modernbert-cls", "gemma3-dense"])
def test_another_kind_of_local_rotation_is_refused(name: str, tmp_path: Path) -> None:
    rotations = {
        "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    }
    folder = changed(
        FAMILIES / name / "model", tmp_path / "m", "config.json", rope_parameters=rotations
    )
    with pytest.raises(UnsupportedModel, match="local_rope_type 'linear'"):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_text_without_tokens_has_zeros_whatever_its_batch(engine: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FAMILIES / "qwen2-last" / "model", tmp_path / "m")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    embedder = Embedder(folder, engine=engine, pool=Pool())
    texts = [*family_texts()[:3], "", ""]
    together = embedder.encode(texts)
    assert not together[3:].any()
    np.testing.assert_allclose(together[:3], embedder.encode(texts[:3]), atol=1e-5)
    assert not embedder.encode("").any()
    assert embedder.encode([""]).shape == (1, 32)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("colbertv2", "embedding", r"a multi-vector model: .* Use Embedder\.encode_multi_vector"),
        ("splade-v3", "embedding", r"a sparse model: it gives no dense .*encode_sparse"),
        ("bge-reranker-v2-m3", "embedding", "a reranker: it gives no dense vectors. Use Reranker"),
        ("all-MiniLM-L6-v2", "reranker", r"an embedding model: it gives no scores. Use .*encode"),
        ("potion-base-8M", "sparse", "a static embedding model: it gives no sparse embeddings"),
        ("splade-v3", "multi_vector", "a sparse model: it gives no vectors of tokens"),
    ],
)
def test_a_known_model_of_another_kind_says_what_it_is(
    name: str, kind: str, said: str, fresh: Settings
) -> None:
    with pytest.raises(WrongKind, match=f"The model {name} is {said}"):
        locate(ModelSpec(name, kind=kind), fresh)


@pytest.mark.parametrize("name", ["bge-m3", "BAAI/bge-m3"])
@pytest.mark.parametrize("kind", ["embedding", "sparse", "multi_vector"])
def test_a_known_model_may_be_of_several_kinds(name: str, kind: str) -> None:
    check_kind(name, kind)


def test_a_static_model_is_no_reranker() -> None:
    folder = FAMILIES.parent / "static" / "st-wordpiece" / "model"
    with pytest.raises(WrongKind, match="a static embedding model: it gives no scores"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


def test_a_refusal_is_short(tmp_path: Path) -> None:
    folder = FAMILIES / "xlnet-unsupported" / "model"
    with pytest.raises(UnsupportedModel) as raised:
        describe(str(folder), "m")
    known = [*FAMILIES_BUILT]
    shown = f"{', '.join(known[:8])} and {len(known) - 8} more"
    assert raised.value.facts == (
        f"The model in {folder} has architecture 'xlnet'; supported: {shown}"
    )
