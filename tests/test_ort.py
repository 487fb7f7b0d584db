"""The binding of ONNX Runtime's library: the numbers of the package, and every fault an error."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hotstart import Embedder, ort
from hotstart.config import Settings
from hotstart.engines.onnx import OnnxEngine
from hotstart.models.spec import ModelSpec
from hotstart.ort import (
    LibraryUnavailable,
    OrtValue,
    RunOptions,
    RuntimeFault,
    Session,
    find_library,
    load_library,
)
from hotstart.ort_package import PackageSession
from hotstart.pool.loader import ensure
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, RERANKERS
from support.ort_graphs import A, B, graph, value

Python = Callable[..., "CompletedProcess[str]"]
MEAN = str(FAMILIES / "bert-mean-normalize" / "model")
TEXTS = ["a", "How do I reset my password?", "Ça dépend: 42 % of 漢字", "word " * 300, ""]


def test_a_product_is_that_of_numpy() -> None:
    session = Session(graph(), threads=1)
    assert session.inputs == {"a": "float32", "b": "float32"}
    assert session.outputs == ["c"]
    (product,) = session.run(["c"], {"a": A, "b": B})
    assert (product.shape, product.type) == ((2, 3), "float32")
    assert array("f", bytes(product.data)).tolist() == [1, 2, 8, 3, 4, 18]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.INT32, "int32"),
        (TensorProto.INT64, "int64"),
    ],
)
def test_other_element_types(kind: int, dtype: str) -> None:
    session = Session(graph(kind), threads=1)
    (product,) = session.run(["c"], {"a": value([[1, 2]], dtype), "b": value([[3], [4]], dtype)})
    assert (product.type, np.frombuffer(product.data, dtype).tolist()) == (dtype, [11])


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ({"a": A}, ["c"], "inputs must be"),
        ({"a": A, "b": value([[1], [2]], "float64")}, ["c"], "inputs must be"),
        ({"a": A, "b": B, "d": B}, ["c"], "inputs must be"),
        ({"a": A, "b": value([[1, 2, 3]])}, ["c"], "dimension|Got: 1"),
        ({"a": A, "b": B._replace(shape=(2, 2**40))}, ["c"], "not enough space"),
        ({"a": A, "b": B}, ["d"], "d"),
    ],
)
def test_a_run_that_cannot_be_raises(
    inputs: dict[str, OrtValue], outputs: list[str], reason: str
) -> None:
    session = Session(graph(), threads=1)
    with pytest.raises(RuntimeFault, match=reason):
        session.run(outputs, inputs)
    assert len(session.run(["c"], {"a": A, "b": B})) == 1


@pytest.mark.parametrize("content", [b"", b"no graph", graph()[:-20], graph(operator="Nope")])
def test_a_graph_that_cannot_be_raises(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(RuntimeFault):
        Session(str(path), threads=1)
    with pytest.raises(RuntimeFault):
        Session(str(tmp_path / "none.onnx"), threads=1)


def test_a_terminated_run_raises() -> None:
    session = Session(graph(), threads=1)
    options = RunOptions()
    session.run(["c"], {"a": A, "b": B}, options)
    options.terminate()
    with pytest.raises(RuntimeFault, match="terminate"):
        session.run(["c"], {"a": A, "b": B}, options)


def test_a_run_ends_early_if_another_thread_terminates_it() -> None:
    size = 1500
    square = OrtValue(bytearray(4 * size * size), (size, size), "float32")
    nodes = [
        helper.make_node("MatMul", ["a" if n == 0 else f"c{n}", "b"], [f"c{n + 1}"])
        for n in range(2000)
    ]
    kind = TensorProto.FLOAT
    infos = [helper.make_tensor_value_info(name, kind, [size, size]) for name in ("a", "b")]
    last = helper.make_tensor_value_info("c2000", kind, [size, size])
    made = helper.make_graph(nodes, "g", infos, [last])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(made, opset_imports=[opset], ir_version=8)
    session = Session(model.SerializeToString(), threads=1)
    options = RunOptions()
    threading.Timer(0.3, options.terminate).start()
    with pytest.raises(RuntimeFault, match="terminate"):  # it would take a minute
        session.run(["c2000"], {"a": square, "b": square}, options)


def test_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "hotstart.ort"):
        session = Session(graph(operator="Add"), threads=1)
        with pytest.raises(RuntimeFault):
            session.run(["c"], {"a": A, "b": B})  # (2, 2) and (2, 3)
    assert "Add" in caplog.text


def test_a_session_that_is_closed_during_a_run_ends_after_it() -> None:
    session = Session(graph(), threads=1)
    rows = value([[1.0, 2.0]] * 200_000)
    results: list[int] = []
    thread = threading.Thread(
        target=lambda: results.append(len(session.run(["c"], {"a": rows, "b": B})[0].data))
    )
    thread.start()
    session.close()
    thread.join()
    gc.collect()
    assert results in ([4 * 3 * 200_000], [])  # the run began before the end, or not at all


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_share_a_session() -> None:
    session = Session(graph(), threads=2)
    found: list[bytes] = []

    def work() -> None:
        for _ in range(200):
            found.append(bytes(session.run(["c"], {"a": A, "b": B})[0].data))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {np.array([[1, 2, 8], [3, 4, 18]], np.float32).tobytes()}
    assert len(found) == 1600


@pytest.mark.parametrize("folder", sorted(FAMILIES.iterdir()) + sorted(RERANKERS.iterdir()))
@pytest.mark.parametrize("stage", ["fast_start", "full"])
def test_the_vectors_are_those_of_the_package_bit_for_bit(
    folder: Path, stage: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (folder / "model").is_dir() or folder.name == "xlnet-unsupported":
        return
    is_reranker = folder.parent == RERANKERS
    kind = "reranker" if is_reranker else "embedding"
    texts: Any = [(text, "a document") for text in TEXTS] if is_reranker else TEXTS
    prepared = ensure(ModelSpec(str(folder / "model"), kind=kind), settings).prepared
    own = OnnxEngine(prepared, stage, 2).embed(texts).vectors
    monkeypatch.setattr("hotstart.engines.onnx.session_class", lambda: PackageSession)
    assert bytes(own.data) == bytes(OnnxEngine(prepared, stage, 2).embed(texts).vectors.data)


def test_without_the_library_the_package_answers(python: Python, tmp_path: Path) -> None:
    code = f"""
import sys
from hotstart import Embedder, ort
def hidden(): raise ort.LibraryUnavailable("no library here")
ort.find_library = hidden
e = Embedder({MEAN!r})
print(e.embed_query("a")[0], "onnxruntime" in sys.modules, e.status().runtime)
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    first, imported, runtime = done.stdout.split(maxsplit=2)
    assert float(first) == pytest.approx(Embedder(MEAN, pool=Pool()).embed_query("a")[0])
    assert (imported, runtime.strip()) == ("True", "onnxruntime package (no library here)")


def test_status_names_the_library() -> None:
    embedder = Embedder(MEAN, pool=Pool())
    assert embedder.status().runtime == ""
    embedder.encode("a")
    assert embedder.status().runtime == f"ONNX Runtime {load_library().version}"


def test_an_older_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "OLDEST", (999, 0))
    with pytest.raises(LibraryUnavailable, match=r"is older than 999\.0"):
        ort.Library(find_library())


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "libonnxruntime.so").write_bytes(b"no library")
    with pytest.raises(LibraryUnavailable, match="cannot be loaded"):
        ort.Library(str(tmp_path / "libonnxruntime.so"))


def test_the_first_free_fork_computes_too() -> None:
    code = f"""
import os
from hotstart import Embedder
embedder = Embedder({MEAN!r})
before = embedder.embed_query("a")
child = os.fork()
if child == 0:
    os._exit(0 if embedder.embed_query("a") == before else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_is_kept_of_sessions_and_runs() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    content = graph()

    def work(sessions: int, runs: int) -> None:
        for _ in range(sessions):
            session = Session(content, threads=1)
            for _ in range(runs):
                session.run(["c"], {"a": A, "b": B})

    work(50, 20)
    before = resident()
    work(200, 50)
    assert resident() - before < 8_000_000
