"""What is known of a model before it is loaded, without loading it."""

from __future__ import annotations

import re

import pytest

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import (
    check_source,
    info_without_loading,
    prepare_artifact,
    unprepared_info,
)
from hotstart.pool.pool import Pool
from support.golden import FAMILIES

FOLDER = str(FAMILIES / "bert-prompts" / "model")


def test_an_artifact_has_all_of_it() -> None:
    spec = ModelSpec(FOLDER)
    metadata = prepare_artifact(spec).metadata
    info = info_without_loading(spec)
    assert info is not None
    assert info.prompts == metadata.prompts
    assert info.fingerprint == metadata.fingerprint
    assert info.dimension == metadata.dimension
    assert info.max_seq_length == metadata.max_seq_length
    assert info == unprepared_info(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "bfloat16"},
            "precision must be float32 or int8 with engine 'onnx'; "
            "bfloat16 needs engine openvino, got 'bfloat16'.",
        ),
        (
            {"precision": "int8", "engine": "torch"},
            "precision must be float32 with engine 'torch'; "
            "int8 needs engine onnx or openvino, got 'int8'.",
        ),
        ({"precision": "int4"}, "one of float32, bfloat16, int8"),
        (
            {"device": "cuda"},
            "device must be None or cpu with engine 'onnx'; "
            "other devices need engine torch, got 'cuda'.",
        ),
    ],
)
def test_what_an_engine_would_ignore_raises(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        Embedder(FOLDER, **options)  # type: ignore[arg-type]


def test_quantized_is_float32_where_an_engine_has_no_8_bits() -> None:
    assert Embedder("fake:dimension=2", strategy="quantized").encode("a").shape == (2,)


@pytest.mark.parametrize(
    ("source", "dimension"),
    [
        ("openai:text-embedding-3-large", 3072),
        ("openai:unheard-of", None),
        ("openai:text-embedding-3-large@http://h/v1", None),
        ("tei:http://h", None),
    ],
)
def test_an_address_tells_what_is_published(source: str, dimension: int | None) -> None:
    spec = ModelSpec(source, engine="remote")
    info = info_without_loading(spec)
    assert info is not None
    assert info.dimension == dimension
    assert info.fingerprint.startswith("remote-")
    assert info.max_seq_length is None
    assert info == unprepared_info(spec)


def test_addresses_have_spaces_of_their_own() -> None:
    sources = ["openai:a", "openai:b", "openai:a@http://h/v1", "tei:http://h"]
    infos = [info_without_loading(ModelSpec(source, engine="remote")) for source in sources]
    assert len({info.fingerprint for info in infos if info}) == len(sources)


def test_a_folder_of_another_engine_tells_nothing() -> None:
    assert info_without_loading(ModelSpec(FOLDER, engine="torch")) is None
    assert unprepared_info(ModelSpec(FOLDER, engine="static")) is None


def test_an_address_that_cannot_be_read_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidInput):
        check_source(ModelSpec("tei:nowhere", engine="remote"))
    check_source(ModelSpec("anything at all"))


def test_a_model_that_is_loaded_tells_better_than_what_was_known_before() -> None:
    embedder = Embedder("fake:dimension=7", pool=Pool())
    model = embedder._model
    assert model.known_info() == info_without_loading(embedder._spec)
    embedder.encode("a")
    with embedder._instance.lease() as loaded:
        assert model.known_info() is loaded.info
    embedder.unload()
    assert model.known_info() is loaded.info
