"""The torch engine on the CPU, in the environment that has torch."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.config import Settings
from hotstart.engines.torch import TorchEngine
from hotstart.errors import ModelIncomplete, UnsupportedModel
from hotstart.models.routes import reads_task
from hotstart.pool.pool import Pool
from hotstart.types import TaskText
from support.golden import DATA, FAMILIES, MODULES, RERANKERS, cosines, family_texts, reranker_pairs
from support.old_folders import as_checkpoint, in_sub_folder, with_vocabulary

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

TEXTS = family_texts()
PAIRS = reranker_pairs()
RERANKER_NAMES = sorted(folder.name for folder in RERANKERS.iterdir() if folder.is_dir())
NOT_OF_TORCH = {"onnx-only", "jina-bert-mean", "jina-code-mean", "nomic-moe-mean"}
"""No weights; code that lies on the hub."""
NAMES = sorted(
    {folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists()}
    - NOT_OF_TORCH
)


def folder_of(name: str) -> str:
    return str(FAMILIES / name / "model")


@pytest.fixture(scope="module")
def engine() -> Iterator[TorchEngine]:
    opened = TorchEngine(folder_of("bert-mean-normalize"), "cpu")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_those_of_sentence_transformers(name: str) -> None:
    """The engine adds no default prompt; the caller adds it."""
    engine = TorchEngine(folder_of(name), "cpu")
    golden = np.load(FAMILIES / name / "vectors.npy")
    before = "" if name != "bert-prompts" else _default_prompt(engine)
    vectors = engine.embed([before + text for text in TEXTS]).vectors.array()
    assert (engine.dimension, engine.device) == (golden.shape[1], "cpu")
    assert vectors.dtype == np.float32
    assert cosines(vectors, golden).min() >= 0.9999
    np.testing.assert_allclose(vectors, golden, atol=2e-4, rtol=2e-4)


def _default_prompt(engine: TorchEngine) -> str:
    model: Any = engine._model
    return str(model.prompts[model.default_prompt_name])


def test_vectors_have_the_order_of_the_texts(engine: TorchEngine) -> None:
    alone = np.concatenate([engine.embed([text]).vectors.array() for text in TEXTS])
    for batch_size in (None, 1, 4, 100):
        together = engine.embed(TEXTS, batch_size).vectors.array()
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-4)
    none = engine.embed([]).vectors.array()
    assert none.shape == (0, engine.dimension)
    assert none.dtype == np.float32


def test_concurrent_threads_get_correct_vectors(engine: TorchEngine) -> None:
    expected = engine.embed(TEXTS).vectors.array()
    with ThreadPoolExecutor(8) as threads:
        for vectors in threads.map(lambda _: engine.embed(TEXTS, 3).vectors.array(), range(16)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=1e-4)


def test_concurrent_constructors_give_correct_models() -> None:
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda name: TorchEngine(folder_of(name), "cpu"), NAMES[:4]))
    for name, engine in zip(NAMES[:4], engines, strict=True):
        golden = np.load(FAMILIES / name / "vectors.npy")
        assert cosines(engine.embed(TEXTS).vectors.array(), golden).min() >= 0.9999


def test_close_frees_the_model() -> None:
    engine = TorchEngine(folder_of("bert-max"), "cpu")
    model = weakref.ref(engine._model)
    engine.close()
    gc.collect()
    assert model() is None
    with pytest.raises(AssertionError, match="close"):
        engine.embed(["text"])


Change = Callable[[Path], Any]
LAYOUTS: dict[str, tuple[str, Change]] = {
    "checkpoint": ("bert-mean-normalize", as_checkpoint),
    "vocabulary": ("bert-mean-normalize", with_vocabulary),
    "sub-folder": ("bert-dense-tanh", in_sub_folder),
    "bare": ("bert-mean-normalize", lambda folder: (folder / "modules.json").unlink()),
    "prompts": ("bert-prompts", lambda folder: None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_embedder_loads_what_sentence_transformers_loads(
    fresh: Settings, tmp_path: Path, layout: str
) -> None:
    from sentence_transformers import SentenceTransformer

    family, apply = LAYOUTS[layout]
    folder = Path(shutil.copytree(FAMILIES / family / "model", tmp_path / "model"))
    apply(folder)
    model = SentenceTransformer(str(folder), device="cpu")
    embedder = Embedder(folder, engine="torch", device="cpu", pool=Pool())
    expected = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=1e-5)
    assert embedder.max_seq_length == model.max_seq_length


def test_a_model_without_a_limit_has_none(fresh: Settings) -> None:
    folder = DATA / "static" / "st-nested" / "model"
    embedder = Embedder(folder, engine="torch", device="cpu", pool=Pool())
    golden = np.load(DATA / "static" / "st-nested" / "vectors.npy")
    np.testing.assert_allclose(
        embedder.encode(["a model that is ready"])[0], golden[2][:12], atol=1e-6
    )
    assert embedder.max_seq_length is None


@pytest.mark.parametrize("name", RERANKER_NAMES)
def test_a_reranker_is_a_cross_encoder(fresh: Settings, name: str) -> None:
    from sentence_transformers import CrossEncoder

    folder = str(RERANKERS / name / "model")
    model = CrossEncoder(folder, device="cpu")
    reranker = Reranker(folder, engine="torch", device="cpu", pool=Pool())
    np.testing.assert_allclose(reranker.predict(PAIRS), model.predict(PAIRS), atol=1e-6)
    assert len(reranker.labels) == model.num_labels
    assert reranker.max_seq_length == model.max_seq_length
    logits = np.load(RERANKERS / name / "logits.npy")
    found = reranker.predict(PAIRS, activation="identity")
    np.testing.assert_allclose(found, logits.reshape(found.shape), atol=1e-4)


@pytest.mark.parametrize("kind", ["albert", "deberta-v2"])
def test_a_reranker_of_another_architecture_runs(
    fresh: Settings, tmp_path: Path, kind: str
) -> None:
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(RERANKERS / "bert" / "model"))
    tokenizer.save_pretrained(tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        kind, **sizes, intermediate_size=64, vocab_size=len(tokenizer), num_labels=1, pad_token_id=0
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="engine='torch'"):
        Reranker(tmp_path, pool=Pool()).predict(PAIRS)
    expected = CrossEncoder(str(tmp_path), device="cpu").predict(PAIRS)
    reranker = Reranker(tmp_path, engine="torch", device="cpu", pool=Pool())
    np.testing.assert_allclose(reranker.predict(PAIRS), expected, atol=1e-6)


def test_code_of_a_folder_runs_if_the_program_trusts_it(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", folder)
    code = "from transformers import BertModel\nclass Own(BertModel):\n    pass\n"
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "own.Own"}
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["Own"]}))
    embedder = Embedder(folder, engine="torch", device="cpu", trust_remote_code=True, pool=Pool())
    golden = np.load(FAMILIES / "bert-mean-normalize" / "vectors.npy")
    assert cosines(embedder.encode(TEXTS), golden).min() > 0.999999


def test_what_the_cache_lacks_is_named(fresh: Settings) -> None:
    home = Path(fresh.hub_cache) / "models--owner--name" / "snapshots" / ("1" * 40)
    shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", home)
    (home.parents[1] / "refs").mkdir()
    (home.parents[1] / "refs" / "main").write_text("1" * 40)
    assert Embedder("owner/name", engine="torch", device="cpu", pool=Pool()).encode("a").shape
    (home / "model.safetensors").unlink()
    with pytest.raises(ModelIncomplete, match=r"missing model\.safetensors"):
        Embedder("owner/name", engine="torch", device="cpu", pool=Pool()).encode("a")


def test_the_prompt_and_the_task_of_a_text_are_read() -> None:
    home = MODULES / "excluded-prompt"
    embedder = Embedder(home / "model", engine="torch", device="cpu", pool=Pool())
    texts = family_texts()
    for found, name in (
        (embedder.encode_query(texts), "query"),
        (embedder.encode(texts), "plain"),
    ):
        assert cosines(found, np.load(home / f"vectors_{name}_mean.npy")).min() >= 0.99999


def test_a_router_takes_the_encoder_of_the_task(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    sides = [
        list(SentenceTransformer(str(FAMILIES / name / "model"), device="cpu").children())
        for name in ("bert-cls", "distilbert-mean")
    ]
    router = Router.for_query_document(query_modules=sides[0], document_modules=sides[1])
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path), create_model_card=False)
    assert reads_task(str(tmp_path))
    engine = TorchEngine(str(tmp_path), "cpu")
    texts = [TaskText(text, task=task) for text in TEXTS for task in ("query", "document")]
    vectors = engine.embed(texts).vectors.array()
    for found, name in ((vectors[::2], "bert-cls"), (vectors[1::2], "distilbert-mean")):
        assert cosines(found, np.load(FAMILIES / name / "vectors.npy")).min() >= 0.99999
