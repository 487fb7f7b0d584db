"""Every strategy and every engine, with real models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, LoadingStrategy, Reranker
from hotstart.config import Settings
from hotstart.errors import (
    ArtifactMissing,
    InsufficientMemory,
    InvalidInput,
    LoadFailed,
    ModelDamaged,
)
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import prepare_artifact, spec_of
from hotstart.pool.pool import Pool
from hotstart.safetensors import read_header
from hotstart.system import MemoryLeft, ResourceProfile, recommend
from support.compiled import damage_compiled
from support.engines import skip_without_openvino
from support.golden import DATA, FAMILIES, RERANKERS, cosines
from support.waiting import wait_until

TEXTS = ["how are models evicted?", "the cat sat on the mat", "", "Привет, мир"]
TINY = FAMILIES / "bert-mean-normalize" / "model"


@pytest.fixture(scope="module")
def expected() -> object:
    return Embedder().encode(TEXTS)


@pytest.mark.parametrize("strategy", [s for s in LoadingStrategy if s != "auto"])
def test_every_strategy_gives_the_same_vectors(strategy: LoadingStrategy, expected: object) -> None:
    prepare_artifact(ModelSpec("all-MiniLM-L6-v2"))
    embedder = Embedder(strategy=strategy, pool=Pool())
    assert isinstance(expected, np.ndarray)
    least = 0.999 if strategy == "quantized" else 0.9999
    assert cosines(embedder.encode(TEXTS), expected).min() >= least
    assert embedder.status().strategy == strategy.value
    assert embedder.status().stages


@pytest.mark.parametrize(
    ("strategy", "state"),
    [
        ("lazy", "unloaded"),
        ("quantized", "unloaded"),
        ("background", "loading"),
        ("progressive", "loading"),
        ("eager", "ready"),
    ],
)
def test_when_a_strategy_starts(strategy: str, state: str) -> None:
    began = time.monotonic()
    embedder = Embedder("fake:load_seconds=1", strategy=strategy, pool=Pool())
    took = time.monotonic() - began
    assert embedder.state == state
    assert took >= 1 if strategy == "eager" else took < 0.9
    assert embedder.wait_ready(10)


def test_progressive_is_promoted_beside_its_work() -> None:
    embedder = Embedder(strategy="progressive", pool=Pool())
    before = embedder.encode(TEXTS)
    wait_until(lambda: embedder.status().stage == "full")
    assert list(embedder.status().stages) == ["fast_start", "full"]
    np.testing.assert_allclose(embedder.encode(TEXTS), before, atol=2e-6)


def test_the_throughput_engine_is_taken_when_it_is_asked_for() -> None:
    embedder = Embedder(strategy="progressive", pool=Pool())
    before = embedder.encode(TEXTS)
    embedder.promote("throughput")
    wait_until(lambda: embedder.status().stage == "throughput", 60)
    assert embedder.engine == "openvino"
    assert cosines(embedder.encode(TEXTS), before).min() >= 0.9999


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_from_throughput_one_may_go_back(engine: str) -> None:
    embedder = Embedder(strategy="progressive", engine=engine, pool=Pool())
    before = embedder.encode(TEXTS)
    for stage in ("throughput", "full"):
        embedder.promote(stage)
        wait_until(lambda stage=stage: embedder.status().stage == stage, 60)  # type: ignore[misc]
    assert embedder.engine == engine
    assert cosines(embedder.encode(TEXTS), before).min() >= 0.9999


def test_cached_loads_what_was_prepared_and_names_the_command_otherwise(fresh: Settings) -> None:
    with pytest.raises(ArtifactMissing, match="hotstart models prepare"):
        Embedder(TINY, strategy="cached", pool=Pool()).encode("a")
    prepare_artifact(ModelSpec(str(TINY)))
    assert Embedder(TINY, strategy="cached", pool=Pool()).encode("a").shape == (32,)


def test_quantized_is_measured_when_it_is_prepared(fresh: Settings) -> None:
    metadata = prepare_artifact(ModelSpec("all-MiniLM-L6-v2", precision="int8")).metadata
    assert metadata.measured is not None
    assert metadata.measured.cosine_min >= 0.999
    assert 0 < metadata.measured.load_seconds < 30
    assert metadata.measured.memory_bytes > 10_000_000
    assert metadata.weights_bytes < 45_000_000
    quantized = Embedder(strategy="quantized")
    assert quantized.fingerprint != Embedder().fingerprint
    assert quantized.comparable_with == Embedder().fingerprint


def test_a_promotion_keeps_to_the_artifact_that_serves(fresh: Settings, tmp_path: Path) -> None:
    """Weights retrained meanwhile are for the next load: one instance, one vector space."""
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    embedder = Embedder(folder, strategy="background", pool=Pool())
    before = embedder.encode(TEXTS)
    shutil.copy(FAMILIES / "bert-cls-mean" / "model" / "model.safetensors", folder / "new")
    os.replace(folder / "new", folder / "model.safetensors")
    embedder.promote("fast_start")
    wait_until(lambda: embedder.status().stage == "fast_start")
    np.testing.assert_allclose(embedder.encode(TEXTS), before, atol=2e-6)


@pytest.mark.parametrize("factor", [-1.0, np.nan])
@pytest.mark.parametrize("kind", ["embedding", "reranker"])
def test_a_promotion_to_a_damaged_compiled_model_is_refused_and_the_next_is_not(
    fresh: Settings, kind: str, factor: float
) -> None:
    """The damage is where no check of the file looks: size, time and sampled pages are right."""
    skip_without_openvino()
    model = TINY if kind == "embedding" else RERANKERS / "bert-modern" / "model"
    inputs = TEXTS if kind == "embedding" else [(text, text) for text in TEXTS]

    def handle() -> Any:
        make: Any = Embedder if kind == "embedding" else Reranker
        return make(model, strategy="lazy", pool=Pool())

    def answers(handle: Any) -> Any:
        return handle.encode(inputs) if kind == "embedding" else handle.predict(inputs)

    first = handle()
    expected = answers(first)
    first.promote("throughput")
    wait_until(lambda: first.status().stage == "throughput")
    assert damage_compiled(fresh.cache_dir, model, factor) > 0
    second = handle()
    answers(second)
    second.promote("throughput")
    wait_until(lambda: second.status().refused)
    assert second.status().stage == "fast_start"
    np.testing.assert_allclose(answers(second), expected, atol=0.01)
    second.promote("throughput")
    wait_until(lambda: second.status().stage == "throughput")
    np.testing.assert_allclose(answers(second), expected, atol=0.05)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_weights_that_are_not_finite_are_refused(
    fresh: Settings, tmp_path: Path, engine: str
) -> None:
    if engine == "openvino":
        skip_without_openvino()
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    weights = folder / "model.safetensors"
    tensor = next(each for name, each in read_header(str(weights)).items() if "LayerNorm" in name)
    content = bytearray(weights.read_bytes())
    content[tensor.offset : tensor.offset + 4] = np.float32(np.nan).tobytes()
    weights.write_bytes(content)
    with pytest.raises(ModelDamaged, match="its vectors are not finite"):
        Embedder(folder, engine=engine, pool=Pool()).encode(TEXTS)


def replace_weights(folder: Path) -> None:
    shutil.copy(FAMILIES / "bert-cls-mean" / "model" / "model.safetensors", folder / "new")
    os.replace(folder / "new", folder / "model.safetensors")


def test_an_identity_is_that_of_the_loaded_model_then_that_of_the_next(
    fresh: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    embedder = Embedder(folder, pool=Pool(), cache="memory:1MB")
    before = embedder.embed("cached")
    replace_weights(folder)
    assert embedder.fingerprint == before.fingerprint == embedder.embed("other").fingerprint
    embedder.unload()
    after = embedder.embed("cached")
    assert after.fingerprint == embedder.fingerprint != before.fingerprint
    fresh_vector = Embedder(folder, pool=Pool()).encode("cached")
    np.testing.assert_array_equal(after.vectors, fresh_vector)


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tight() -> MemoryLeft:
        return MemoryLeft(100_000_000, "its cgroup")

    monkeypatch.setattr("hotstart.pool.loader.memory_left", tight)
    embedder = Embedder(pool=Pool())
    with pytest.raises(InsufficientMemory, match="its cgroup leaves 100 MB"):
        embedder.encode("a")
    assert isinstance(embedder.error, InsufficientMemory)


def test_an_address_space_limit_is_seen(python: Callable[..., CompletedProcess[str]]) -> None:
    code = (
        "import resource; from hotstart import Embedder; e = Embedder()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2); e.encode('a')"
    )
    assert "InsufficientMemory" in python("-c", code).stderr


def test_a_fake_model_fails_and_loads_as_it_is_told() -> None:
    embedder = Embedder("fake:name=loading,dimension=6,fail_loads=1", pool=Pool())
    assert embedder.dimension == 6
    with pytest.raises(LoadFailed):
        embedder.encode("a")
    wait_until(lambda: embedder.error is not None)
    time.sleep(0.6)  # the back-off
    assert embedder.encode(["a", "b"]).shape == (2, 6)
    assert embedder.error is None
    with pytest.raises(InvalidInput):
        Embedder("fake:nonsense=1", pool=Pool()).dimension  # noqa: B018


def test_a_static_model_has_a_space_of_its_own() -> None:
    folder = DATA / "static" / "unigram" / "model"
    embedder = Embedder(folder, engine="static", pool=Pool())
    vector = embedder.encode("hello world")
    assert vector.shape == (embedder.dimension,)
    assert embedder.engine == "static"
    assert embedder.fingerprint != Embedder().fingerprint


def test_an_engine_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match="onnx, openvino, torch, static, remote, fake"):
        Embedder(engine="tensorflow")


def test_the_strategy_comes_from_the_environment_or_the_file(tmp_path: Path) -> None:
    code = "from hotstart import Embedder; print(Embedder('fake:').status().strategy)"
    (tmp_path / "hotstart.toml").write_text('[models.default]\nstrategy = "background"\n')

    def said(**environ: str) -> str:
        env = os.environ | environ
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True
        ).stdout.strip()

    assert said() == "background"
    assert said(HOTSTART_STRATEGY="progressive") == "progressive"
    assert said(HOTSTART_STRATEGY="auto").split()[1] == "(auto:"


def test_progress_is_told_and_asked_for() -> None:
    told: list[str] = []
    embedder = Embedder(TINY, pool=Pool(), on_progress=lambda stage, fraction: told.append(stage))
    assert embedder.progress.fraction is None
    embedder.encode("a")
    assert (told[0], told[-1]) == ("metadata", "fast_start")
    assert embedder.progress.stage == "fast_start"
    assert embedder.load_time is not None
    assert (embedder.is_loaded, embedder.is_loading) == (True, False)


def test_auto_knows_the_size_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def detect(weights: int = 0) -> ResourceProfile:
        asked.append(weights)
        return recommend(2, MemoryLeft(10**10, "the machine"), frozenset(), ("cpu",), weights)

    monkeypatch.setattr(ResourceProfile, "detect", detect)
    for name in ("bert-mean-normalize", "bert-fp16"):  # of one size in float32
        spec_of(FAMILIES / name / "model", strategy="auto")
    spec_of("bge-m3", strategy="auto")  # not on this machine: the catalogue says
    spec_of("acme/unknown", strategy="auto")
    spec_of("openai:some-model", strategy="auto")
    assert asked[0] == asked[1] > 50_000
    assert asked[2] > 2_000_000_000
    assert asked[3:] == [0, 0]
