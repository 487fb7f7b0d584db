"""Texts to vectors, against sentence-transformers' own; and the promises around them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.errors import InvalidInput, InvalidText, ModelNotFound, NotReady
from hotstart.pool.loader import load_model
from hotstart.pool.pool import Pool
from support.engines import skip_without_openvino
from support.golden import DATA, FAMILIES, cosines

GOLDEN = DATA / "golden"
ENTRIES = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))
OPTIONS = json.loads((GOLDEN / "options.json").read_text(encoding="utf-8"))
TEXTS = [entry["text"] * entry.get("times", 1) for entry in ENTRIES]
BY_ID = dict(zip((entry["id"] for entry in ENTRIES), TEXTS, strict=True))
OPTION_TEXTS = [BY_ID[name] for name in OPTIONS["texts"]]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder("all-MiniLM-L6-v2")


# Fidelity ---------------------------------------------------------------------------------


def test_the_golden_texts_cover_what_was_asked_for() -> None:
    groups = {entry["group"] for entry in ENTRIES}
    assert groups == {"short", "long", "multilingual", "code", "odd"}
    assert len(TEXTS) >= 200
    assert max(map(len, TEXTS)) >= 100_000
    assert sum(entry["tokens"] >= 256 for entry in ENTRIES) >= 5


def test_each_golden_text_alone(embedder: Embedder) -> None:
    golden = np.load(GOLDEN / "vectors.npy")
    vectors = np.stack([embedder.encode(text) for text in TEXTS])
    assert vectors.shape == (len(TEXTS), 384)
    assert cosines(vectors, golden).min() >= 0.9999


def test_the_golden_texts_in_float32_on_openvino() -> None:
    skip_without_openvino()
    golden = np.load(GOLDEN / "vectors.npy")
    vectors = Embedder("all-MiniLM-L6-v2", engine="openvino").encode(TEXTS)
    assert cosines(vectors, golden).min() >= 0.9999


def test_all_golden_texts_in_one_call_come_back_in_order(embedder: Embedder) -> None:
    golden = np.load(GOLDEN / "vectors.npy")
    assert cosines(embedder.encode(TEXTS), golden).min() >= 0.9999


@pytest.mark.parametrize("name", sorted(OPTIONS["encode"]))
def test_options_give_what_sentence_transformers_gives(embedder: Embedder, name: str) -> None:
    case = OPTIONS["encode"][name]
    golden = np.load(GOLDEN / case["file"])
    vectors = embedder.encode(OPTION_TEXTS, **case["kwargs"])
    assert vectors.shape == tuple(case["shape"])
    assert vectors.dtype == case["dtype"]
    if vectors.dtype == np.float32:
        assert cosines(vectors, golden).min() >= 0.9999
        assert np.abs(vectors - golden).max() < 1e-5
    elif "binary" in name:  # a value within rounding of zero may fall on either side
        assert np.unpackbits(vectors.view("uint8") ^ golden.view("uint8")).mean() < 0.001
    else:
        assert np.abs(vectors.astype(int) - golden.astype(int)).max() <= 1


# Shapes and inputs ------------------------------------------------------------------------


def test_shapes_and_types(embedder: Embedder) -> None:
    one, two, none = embedder.encode("a"), embedder.encode(["a", "b"]), embedder.encode([])
    assert (one.shape, two.shape, none.shape) == ((384,), (2, 384), (0, 384))
    assert one.dtype == two.dtype == none.dtype == np.float32
    assert embedder.encode(("a", "b")).shape == (2, 384)
    assert embedder.encode(np.array(["a", "b"]).tolist()).shape == (2, 384)
    assert embedder.encode(np.array(["a", "b"])).shape == (2, 384)  # type: ignore[arg-type]
    as_list = embedder.encode(["a", "b"], convert_to_numpy=False)
    assert as_list == embedder.encode(["a", "b"]).tolist()
    assert embedder.encode("a", convert_to_numpy=False) == one.tolist()
    assert embedder.encode([], convert_to_numpy=False) == []


def test_plain_lists_for_those_who_want_them(embedder: Embedder) -> None:
    query, documents = embedder.embed_query("a"), embedder.embed_documents(["a", "b"])
    assert isinstance(query[0], float)
    assert [len(query), *map(len, documents)] == [384, 384, 384]
    assert embedder.embed_documents([]) == []


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_batch_size_changes_no_vector(embedder: Embedder, batch_size: int) -> None:
    texts = TEXTS[:40]
    np.testing.assert_allclose(
        embedder.encode(texts, batch_size=batch_size), embedder.encode(texts), atol=2e-6
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["fine", "\ud800 bad"], "Text 1 .*character 0 is a lone surrogate"),
        (["fine", 5], "Text 1 .*it is int"),
        (["fine", None], "Text 1 .*NoneType"),
        ([["a", "pair"]], "Text 0 .*list"),
    ],
)
def test_a_text_that_is_none_is_named_by_its_position(
    embedder: Embedder, inputs: Any, message: str
) -> None:
    with pytest.raises(InvalidText, match=message) as caught:
        embedder.encode(inputs)
    assert caught.value.position == (1 if inputs[0] == "fine" else 0)


@pytest.mark.parametrize("inputs", [None, 5, b"bytes", {"a", "set"}, iter(["a"])])
def test_inputs_of_another_kind_are_refused(embedder: Embedder, inputs: Any) -> None:
    with pytest.raises(InvalidInput, match="a string, or a list of strings"):
        embedder.encode(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncate_dim": 0}, "from 1 to 384"),
        ({"truncate_dim": "a"}, "from 1 to 384"),
        ({"truncate_dim": 385}, "from 1 to 384"),
        ({"precision": "int4"}, "float32, int8"),
        ({"precision": "int8"}, "at least two texts"),
        ({"batch_size": 0}, "a positive integer"),
        ({"batch_size": "a"}, "a positive integer"),
        ({"prompt_name": "nope"}, "query, document"),
    ],
)
def test_options_that_cannot_be_used(
    embedder: Embedder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        embedder.encode("text", **options)


# Facts without a load ---------------------------------------------------------------------


def test_facts_need_no_load() -> None:
    embedder = Embedder("all-MiniLM-L6-v2", pool=Pool())
    assert (embedder.dimension, embedder.max_seq_length) == (384, 256)
    assert Embedder(truncate_dim=64, pool=Pool()).dimension == 64
    assert Embedder(FAMILIES / "bert-dense-tanh" / "model", pool=Pool()).dimension == 16
    assert embedder.state == "unloaded"


def test_the_catalog_tells_the_truth(embedder: Embedder) -> None:
    embedder.wait_ready()
    with embedder._instance.lease() as model:
        assert model.artifact is not None
        facts = model.artifact.metadata
    from hotstart.models.catalogue import known_model

    known = known_model("all-MiniLM-L6-v2")
    assert known
    assert (known.dimension, known.max_seq_length) == (facts.dimension, facts.max_seq_length)
    assert (known.parameters, known.weights_bytes) == (facts.parameters, facts.weights_bytes)


def test_the_fingerprint_names_the_space(embedder: Embedder) -> None:
    other = Embedder(FAMILIES / "bert-cls" / "model")
    cut = Embedder(truncate_dim=64)
    assert len({embedder.fingerprint, other.fingerprint, cut.fingerprint}) == 3
    assert embedder.fingerprint == Embedder("sentence-transformers/all-MiniLM-L6-v2").fingerprint


# One load, however many ask ---------------------------------------------------------------


def test_fifty_threads_that_call_first_cause_one_load() -> None:
    pool = Pool()
    embedders = [Embedder(pool=pool) for _ in range(50)]
    vectors: list[Any] = [None] * 50
    gate = threading.Barrier(50)

    def ask(number: int) -> None:
        gate.wait()
        vectors[number] = embedders[number].encode("how are models evicted?")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {e.status().loads for e in embedders} == {1}
    assert all(np.array_equal(v, vectors[0]) for v in vectors)


def test_load_wait_unload_and_load_again() -> None:
    embedder = Embedder(pool=Pool())
    embedder.start_loading()
    assert embedder.state in {"loading", "ready"}
    assert embedder.wait_ready(60)
    assert embedder.status().state == "ready"
    assert embedder.engine == "onnx"
    embedder.unload()
    assert embedder.status().reason == "unload() was called"
    assert embedder.status().state == "unloaded"
    assert embedder.engine is None
    assert embedder.encode("a").shape == (384,)
    assert embedder.status().loads == 2


def test_eager_is_ready_when_it_is_made() -> None:
    assert Embedder(strategy="eager", pool=Pool()).state == "ready"


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="lazy, background"):
        Embedder(strategy="soon")


def test_a_model_that_is_nowhere(fresh: Settings) -> None:
    embedder = Embedder("nobody/nothing", pool=Pool())
    with pytest.raises(ModelNotFound, match="hotstart models pull nobody/nothing"):
        embedder.encode("a")
    assert embedder.state == "failed"
    assert "not on this machine" in embedder.status().reason


def test_not_ready_in_time_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    def slow(*arguments: Any) -> Any:
        held.wait(60)
        return load_model(*arguments)

    monkeypatch.setattr("hotstart.pool.loader.load_model", slow)
    embedder = Embedder(pool=Pool())
    with pytest.raises(NotReady, match="is loading") as caught:
        embedder.encode("a", timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert 0.05 <= caught.value.elapsed < 10
    assert not embedder.wait_ready(0)
    held.set()
    assert embedder.wait_ready(60)  # the load went on


def test_retrained_weights_are_seen(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-cls" / "model", folder)
    before = Embedder(folder, pool=Pool())
    first = before.encode("a")
    shutil.copy(FAMILIES / "bert-max" / "model" / "model.safetensors", folder / "new")
    os.replace(folder / "new", folder / "model.safetensors")
    after = Embedder(folder, pool=Pool())
    changed = not np.allclose(first, after.encode("a"))
    same_file = (FAMILIES / "bert-max" / "model" / "model.safetensors").read_bytes() == (
        FAMILIES / "bert-cls" / "model" / "model.safetensors"
    ).read_bytes()
    assert changed != same_file


# Streams ----------------------------------------------------------------------------------


def test_a_stream_keeps_the_order_and_reads_no_further_than_it_must(embedder: Embedder) -> None:
    read: list[int] = []

    def texts() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield f"text number {number}"

    stream = embedder.encode_stream(texts(), window=8)
    vectors = [next(stream) for _ in range(20)]
    assert max(read) < 24
    np.testing.assert_allclose(
        np.stack(vectors), embedder.encode([f"text number {n}" for n in range(20)]), atol=2e-6
    )


def test_a_stream_holds_one_window_in_memory(embedder: Embedder) -> None:
    embedder.encode("warm")
    tracemalloc.start()
    for _ in embedder.encode_stream((f"short text {n}" for n in range(3000)), window=64):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3000 * 384 * 4 / 3


def test_a_stream_counts_its_texts_from_its_beginning(embedder: Embedder) -> None:
    stream = embedder.encode_stream(["a", "b", "c", "\ud800"], window=2)
    with pytest.raises(InvalidText) as caught:
        list(stream)
    assert caught.value.position == 3
    with pytest.raises(InvalidInput, match="float32, binary or ubinary"):
        list(embedder.encode_stream(["a"], precision="int8"))
    with pytest.raises(InvalidInput, match="window must be a positive integer, got 0"):
        list(embedder.encode_stream(["a"], window=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model must be a folder or a model name, got 3"),
        ({"model": b"bytes"}, "model must be"),
        ({"revision": 3}, "revision must be"),
        ({"cache": 3}, "cache must be an EmbeddingCache or an address, got 3"),
        ({"fallback": 3}, "fallback must be an Embedder or a model name, got 3"),
        ({"truncate_dim": "a"}, "truncate_dim must be a positive integer or None, got 'a'"),
        ({"keep_alive": "a"}, "keep_alive must be a number of seconds from 0 on or None, got 'a'"),
        ({"load_timeout": float("nan")}, "load_timeout must be a number of seconds"),
    ],
)
def test_arguments_of_another_kind_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Embedder(**arguments, pool=Pool())


def test_a_stage_that_does_not_exist_is_refused(embedder: Embedder) -> None:
    with pytest.raises(InvalidInput, match="stage must be one of fast_start, full, throughput"):
        embedder.promote("fast")  # type: ignore[arg-type]


def test_a_fresh_process_needs_no_torch(
    python: Callable[..., CompletedProcess[str]], settings: Settings
) -> None:
    code = (
        "import sys; from hotstart import Embedder; v = Embedder().encode('text');"
        "print(v.shape, [m for m in ('torch', 'onnx', 'huggingface_hub', 'filelock', 'rich') "
        "if m in sys.modules])"
    )
    python("-c", "from hotstart import Embedder; Embedder().wait_ready()")  # prepared by now
    assert python("-c", code).stdout == "(384,) []\n"
