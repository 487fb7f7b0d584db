"""The 8-bit variant: accuracy of its vectors, size, and vector space."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.engines import open_engine
from hotstart.errors import InvalidInput
from hotstart.models.artifacts import Artifact, find, list_artifacts, verify
from hotstart.models.metadata import Measurements
from hotstart.models.spec import ModelSpec, artifact_folder
from hotstart.pool.loader import ensure
from hotstart.preparation import calibrate
from hotstart.preparation.calibrate import COMPARABLE, PROBES, comparison_probes, greatest
from hotstart.preparation.calibrate import cosines as probe_cosines
from hotstart.preparation.prepare import prepare, remove
from hotstart.types import PreparedModel
from support.golden import DATA, FAMILIES, cosines, family_texts

DEFAULT = ModelSpec("all-MiniLM-L6-v2", precision="int8")
TINY = ModelSpec(str(FAMILIES / "bert-mean-normalize" / "model"), precision="int8")
BUILT = sorted(
    folder.name
    for folder in FAMILIES.iterdir()
    if (folder / "vectors.npy").exists() and folder.name != "onnx-only"
)


def embed(prepared: PreparedModel, texts: list[str], engine: str = "onnx") -> NDArray[np.float32]:
    opened = open_engine(engine, prepared, "full", 2)
    try:
        return opened.embed(texts).vectors.array()
    finally:
        opened.close()


def measure(prepared: PreparedModel, float32: PreparedModel) -> Measurements:
    """Measure cosines in this process; the other measurements are constants."""
    similarities = probe_cosines(
        embed(prepared, comparison_probes()), embed(float32, comparison_probes())
    )
    return Measurements(1, 0.1, 2.0, float(similarities.min()), float(similarities.mean()))


def ranges(observed: PreparedModel) -> dict[str, NDArray[np.float32]]:
    return greatest(observed, PROBES, 2)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrate in this process: fresh processes are tested in tests/pool."""
    monkeypatch.setattr(calibrate, "ranges", ranges)
    monkeypatch.setattr(calibrate, "measure", measure)


def measure_below_comparable(prepared: PreparedModel, float32: PreparedModel) -> Measurements:
    return Measurements(1, 0.1, 2.0, cosine_min=np.nextafter(COMPARABLE, 0), cosine_mean=0.9999)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_default_model_has_the_documented_accuracy(settings: Settings, engine: str) -> None:
    entries = json.loads((DATA / "golden" / "texts.json").read_text())
    texts = [entry["text"] * entry.get("times", 1) for entry in entries]
    golden = np.load(DATA / "golden" / "vectors.npy")
    prepared = ensure(DEFAULT, settings).prepared
    similarities = cosines(embed(prepared, texts, engine), golden)
    assert similarities.min() >= 0.999
    assert similarities.mean() >= 0.9997


@pytest.mark.parametrize("name", BUILT)
def test_every_family_supports_8_bits(settings: Settings, name: str) -> None:
    """The bound is wider, because errors of random weights in 32 dimensions do not average out."""
    spec = ModelSpec(str(FAMILIES / name / "model"), precision="int8")
    artifact = ensure(spec, settings)
    prompt = artifact.metadata.prompts.get(artifact.metadata.default_prompt_name or "", "")
    vectors = embed(artifact.prepared, [prompt + text for text in family_texts()])
    # A token at the border of two experts may go to the other one.
    least = 0.95 if "moe" in name else 0.99
    assert cosines(vectors, np.load(FAMILIES / name / "vectors.npy")).min() >= least


def test_the_artifact_is_a_third_of_float32_and_has_no_original_file(fresh: Settings) -> None:
    artifact = ensure(DEFAULT, fresh)
    plain = ensure(DEFAULT.replace(precision="float32"), fresh)
    assert sorted(os.listdir(artifact.folder)) == [
        "metadata.json",
        "model.onnx",
        "tokenizer.json",
        "weights.int8.bin",
        "wordpiece.txt",
    ]
    assert artifact.metadata.weights_bytes < plain.metadata.weights_bytes * 0.35
    assert artifact.metadata.parameters == plain.metadata.parameters
    assert artifact.metadata.precision == "int8"
    assert artifact.metadata.original_files == plain.metadata.original_files
    assert verify(artifact) == []


def test_the_record_contains_the_measurements(fresh: Settings) -> None:
    artifact = ensure(DEFAULT, fresh)
    assert find(DEFAULT, fresh) == artifact
    assert isinstance(artifact.metadata.measured, Measurements)
    assert COMPARABLE <= artifact.metadata.measured.cosine_min < 1
    content = json.loads((Path(artifact.folder) / "metadata.json").read_text())
    assert content["measured"]["text_ms"] == 2.0
    assert os.path.basename(artifact.folder) == "onnx-int8"
    assert not [name for name in os.listdir(artifact.folder) if name.startswith("float32")]


def test_an_accurate_artifact_is_comparable_and_has_its_own_fingerprint(fresh: Settings) -> None:
    metadata = ensure(DEFAULT, fresh).metadata
    plain = ensure(DEFAULT.replace(precision="float32"), fresh).metadata
    assert metadata.fingerprint != plain.fingerprint
    assert metadata.comparable_with == plain.fingerprint
    assert (plain.measured, plain.comparable_with) == (None, None)


def test_an_inaccurate_artifact_is_not_comparable(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "measure", measure_below_comparable)
    assert ensure(TINY, fresh).metadata.comparable_with is None


def test_comparability_is_measured_on_many_texts_with_special_tokens_and_mixed_scripts() -> None:
    probes = comparison_probes()
    assert len(set(probes)) >= 500
    assert set(PROBES) <= set(probes)
    assert sum("[MASK]" in text for text in probes) > 20
    assert any(ascii(text[:5]) != f"'{text[:5]}'" and text[-5:].isascii() for text in probes)


def test_the_float32_reference_has_the_vectors_of_the_model(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    def record(prepared: PreparedModel, float32: PreparedModel) -> Measurements:
        pairs.append((embed(prepared, family_texts()), embed(float32, family_texts())))
        return Measurements(1, 0.1, 2.0, 0.5, 0.6)

    monkeypatch.setattr(calibrate, "measure", record)
    prepare(TINY, fresh)
    golden = np.load(FAMILIES / "bert-mean-normalize" / "vectors.npy")
    quantized, plain = pairs[0]
    assert cosines(plain, golden).min() >= 0.9999
    assert 0.99 <= cosines(quantized, golden).min() < 0.99999


def test_a_failed_measurement_leaves_no_files(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(prepared: PreparedModel, float32: PreparedModel) -> Measurements:
        raise MemoryError

    monkeypatch.setattr(calibrate, "measure", fail)
    with pytest.raises(MemoryError):
        prepare(TINY, fresh)
    assert os.listdir(os.path.dirname(artifact_folder(TINY, fresh))) == []


def test_remove_removes_all_precisions(fresh: Settings) -> None:
    ensure(TINY, fresh)
    ensure(TINY.replace(precision="float32"), fresh)
    artifacts = [entry for entry in list_artifacts(fresh) if isinstance(entry, Artifact)]
    assert [entry.metadata.precision for entry in artifacts] == ["float32", "int8"]
    assert remove(TINY.replace(precision="float32"), fresh)
    assert list(list_artifacts(fresh)) == []
    assert not remove(TINY, fresh)


def test_openvino_shares_the_artifact(fresh: Settings) -> None:
    assert artifact_folder(TINY.replace(engine="openvino"), fresh) == artifact_folder(TINY, fresh)
    assert ensure(TINY.replace(engine="openvino"), fresh).metadata.engine == "onnx"


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["bert-mean-normalize", "roberta-mean", "mpnet-mean-normalize"])
def test_openvino_reads_either_precision(settings: Settings, name: str, precision: str) -> None:
    prepared = ensure(
        ModelSpec(str(FAMILIES / name / "model"), precision=precision), settings
    ).prepared
    engine = open_engine("openvino", prepared, "throughput", 2)
    vectors = engine.embed(family_texts()).vectors.array()
    engine.close()
    assert cosines(vectors, embed(prepared, family_texts())).min() >= 0.99


def test_int8_raises_for_a_model_with_only_an_onnx_file(fresh: Settings) -> None:
    spec = ModelSpec(str(FAMILIES / "onnx-only" / "model"), precision="int8")
    with pytest.raises(InvalidInput, match=r"float32: .*onnx-only.* got 'int8'"):
        ensure(spec, fresh)


def test_the_scale_of_cosines_is_that_of_the_usual_model() -> None:
    embedder = Embedder()
    questions = embedder.encode_query(calibrate.QUESTIONS, normalize_embeddings=True)
    passages = embedder.encode_document(calibrate.PASSAGES, normalize_embeddings=True)
    assert calibrate.similarity_scale(questions, passages) == pytest.approx(1.0, abs=0.001)
    # A model that has one direction in all vectors: every cosine is between 0.75 and 1.
    common = np.full((len(questions), 1), np.sqrt(0.75), np.float32)
    near, far = (np.hstack([0.5 * rows, common]) for rows in (questions, passages))
    assert calibrate.similarity_scale(near, far) == pytest.approx(4.0, abs=0.01)
    assert calibrate.similarity_scale(questions, -passages) is None
