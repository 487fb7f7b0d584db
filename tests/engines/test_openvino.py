from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.engines import open_engine
from hotstart.engines.graph import Batch
from hotstart.errors import InvalidInput
from hotstart.files import exclusive
from hotstart.pool.pool import Pool
from hotstart.system import BF16_FLAGS, cpu_flags
from support.engines import openvino, prepared, skip_without_openvino
from support.golden import FAMILIES, RERANKERS, cosines, family_texts, reranker_pairs

NAMES = sorted(folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists())
TEXTS = family_texts()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stage", ["fast_start", "full"])
def test_openvino_runs_the_graph_of_every_family(name: str, stage: str) -> None:
    engine = openvino(name, stage)  # type: ignore[arg-type]
    expected = open_engine("onnx", prepared(name), "full", 2).embed(TEXTS).vectors.array()
    assert cosines(engine.embed(TEXTS).vectors.array(), expected).min() >= 0.9999
    engine.close()


def test_bfloat16_is_computed_on_a_cpu_with_bf16_units_only() -> None:
    half = prepared("bert-mean-normalize", precision="bfloat16")
    whole = prepared("bert-mean-normalize")
    skip_without_openvino()
    if BF16_FLAGS.isdisjoint(cpu_flags()):
        with pytest.raises(InvalidInput, match="float32 or int8 on a CPU without AMX"):
            open_engine("openvino", half, "full", 2)
        return
    expected = open_engine("openvino", whole, "full", 2).embed(TEXTS).vectors.array()
    found = cosines(open_engine("openvino", half, "full", 2).embed(TEXTS).vectors.array(), expected)
    assert 0.99 <= found.min() < 0.99999  # bfloat16 has 8 significant bits


def test_bfloat16_is_refused_without_bf16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_openvino()
    monkeypatch.setattr("hotstart.engines.openvino.cpu_flags", lambda: frozenset({"avx512f"}))
    with pytest.raises(InvalidInput, match="float32 or int8 on a CPU without AMX"):
        open_engine("openvino", prepared("bert-cls-mean", precision="bfloat16"), "full", 2)


def test_bfloat16_has_a_fingerprint_of_its_own() -> None:
    folder = FAMILIES / "bert-mean-normalize" / "model"
    half = Embedder(folder, engine="openvino", precision="bfloat16", pool=Pool())
    assert half.fingerprint != Embedder(folder, engine="openvino", pool=Pool()).fingerprint
    assert half.comparable_with is None


def blobs(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.blob"))


def test_a_compiled_model_is_cached(tmp_path: Path) -> None:
    first = openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array()
    (blob,) = blobs(tmp_path)
    written = blob.stat().st_mtime_ns
    np.testing.assert_array_equal(
        openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array(), first
    )
    assert [each.stat().st_mtime_ns for each in blobs(tmp_path)] == [written]


def test_a_truncated_compiled_model_is_compiled_again(tmp_path: Path) -> None:
    expected = openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array()
    (blob,) = blobs(tmp_path)
    for size in (blob.stat().st_size // 2, 40, 0):
        blob.chmod(0o600)
        os.truncate(blob, size)
        np.testing.assert_array_equal(
            openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array(), expected
        )


def flip_bits(path: Path, *, touched: bool) -> None:
    """Flip a high bit of four neighbouring bytes in the weights of a compiled model."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 & ~3
    for byte in range(middle, middle + 4):
        content[byte] ^= 64
    path.chmod(0o600)
    path.write_bytes(content)
    if not touched:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_changed_compiled_model_is_compiled_again(tmp_path: Path) -> None:
    expected = openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array()
    for _ in range(3):
        (blob,) = blobs(tmp_path)
        flip_bits(blob, touched=True)
        np.testing.assert_array_equal(
            openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array(), expected
        )


def test_a_compiled_model_without_a_record_is_compiled_again(tmp_path: Path) -> None:
    expected = openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array()
    (blob,) = blobs(tmp_path)
    flip_bits(blob, touched=False)
    (tmp_path / "files.json").unlink()
    np.testing.assert_array_equal(
        openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array(), expected
    )


def test_changed_weights_with_the_same_graph_are_compiled_again(tmp_path: Path) -> None:
    """The graph of a retrained model can be byte-identical, so the cache key includes weights."""
    cache, artifact = tmp_path / "cache", prepared("bert-max")
    moved = artifact._replace(folder=str(tmp_path / "artifact"))
    shutil.copytree(artifact.folder, moved.folder)
    before = (
        open_engine("openvino", moved, "full", 2, cache_folder=str(cache))
        .embed(TEXTS)
        .vectors.array()
    )
    weights = Path(moved.folder, "model.safetensors")
    content = bytearray(weights.read_bytes())
    middle = len(content) // 2 & ~3
    content[middle : middle + 400] = np.linspace(-1, 1, 100, dtype="<f4").tobytes()
    stamp = weights.stat()
    weights.unlink()
    weights.write_bytes(content)
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    engine = open_engine("openvino", moved, "full", 2, cache_folder=str(cache))
    after = engine.embed(TEXTS).vectors.array()
    expected = open_engine("onnx", moved, "full", 2).embed(TEXTS).vectors.array()
    assert cosines(before, expected).min() < 0.99
    assert cosines(after, expected).min() >= 0.9999


def test_a_concurrent_load_does_not_use_the_cache(tmp_path: Path) -> None:
    with exclusive(str(tmp_path / "lock")):
        assert openvino("bert-max", cache=tmp_path).embed(TEXTS).vectors.array().shape[0] == len(
            TEXTS
        )
    assert blobs(tmp_path) == []


def test_an_unwritable_cache_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    engine = openvino("bert-max", cache=tmp_path / "file" / "cache")
    assert len(engine.embed(TEXTS).vectors) == len(TEXTS)


def test_a_failed_batch_leaves_the_engine_usable() -> None:
    engine = openvino("bert-max")
    expected = engine.embed(TEXTS).vectors.array()
    run = engine._run  # type: ignore[attr-defined]
    ones = [1] * 10
    good = Batch(ones, ones, ones, ones, (2, 5))
    bad = good._replace(mask=[1] * 12)
    for _ in range(20):  # more than the number of requests that could be lost
        with pytest.raises((RuntimeError, ValueError)):
            list(run([good, bad, good]))
    np.testing.assert_array_equal(engine.embed(TEXTS).vectors.array(), expected)


@pytest.mark.parametrize("name", ["bert", "bert-three-labels", "xlm-roberta", "distilbert"])
def test_openvino_runs_rerankers(name: str) -> None:
    skip_without_openvino()
    reranker = Reranker(RERANKERS / name / "model", engine="openvino", pool=Pool())
    logits = reranker.predict(reranker_pairs(), activation="identity")
    expected = np.load(RERANKERS / name / "logits.npy")
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness per thread")
def test_only_bulk_work_has_a_lower_priority() -> None:
    def yielding() -> set[int]:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        threads = map(int, os.listdir("/proc/self/task"))
        return {each for each in threads if os.getpriority(os.PRIO_PROCESS, each) > own}

    before = yielding()
    engines = [openvino("bert-max", stage) for stage in ("fast_start", "full")]
    for engine in engines:
        engine.embed(TEXTS)
    assert yielding() <= before
    bulk = openvino("bert-max", "throughput")
    bulk.embed(TEXTS)
    assert yielding() - before
    assert threading.get_native_id() not in yielding(), "the calling thread must keep its priority"


def test_the_import_sends_no_telemetry(
    python: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    """OpenVINO's telemetry would write files into the home folder, and import urllib."""
    skip_without_openvino()
    code = """if True:
        import sys
        from hotstart.engines.openvino import _import_openvino
        assert hasattr(_import_openvino(), "Core")
        print(sys.modules["openvino_telemetry"], "urllib.request" in sys.modules)
    """
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    outcome = python("-c", code, env=environment | {"HOME": str(tmp_path)})
    assert outcome.stdout == "None False\n", outcome.stderr
    assert list(tmp_path.iterdir()) == []
