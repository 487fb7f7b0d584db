from __future__ import annotations

import pytest

from hotstart.errors import InvalidInput
from hotstart.models.spec import ModelSpec


@pytest.mark.parametrize("source", ["", "  ", "a\0b", None, 5])
def test_a_source_must_name_something(source: object) -> None:
    with pytest.raises(InvalidInput, match="a folder or a model's name"):
        ModelSpec(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("revision", ["", "../../etc", "a/../b", "/abs", "a b"])
def test_a_revision_becomes_part_of_a_path_and_may_not_leave_it(revision: str) -> None:
    with pytest.raises(InvalidInput, match="commit, tag or branch"):
        ModelSpec("owner/name", revision)


@pytest.mark.parametrize("precision", ["", "int4", "float16", None])
def test_a_precision_is_one_that_can_be_had(precision: str) -> None:
    with pytest.raises(InvalidInput, match="one of float32, int8"):
        ModelSpec("m", precision=precision)


@pytest.mark.parametrize("engine", ["", "../onnx", "ONNX", "a b"])
def test_an_engine_becomes_part_of_a_path_too(engine: str) -> None:
    with pytest.raises(InvalidInput, match="the name of an engine"):
        ModelSpec("m", engine=engine)


@pytest.mark.parametrize("kind", ["", "sentiment", "../x", None])
def test_a_kind_is_one_that_is_known(kind: str) -> None:
    with pytest.raises(InvalidInput, match="one of embedding, reranker"):
        ModelSpec("m", kind=kind)


def test_a_reranker_has_float32_alone() -> None:
    with pytest.raises(InvalidInput, match="float32, for a model of kind reranker"):
        ModelSpec("m", precision="int8", kind="reranker")


def test_engine_and_precision_are_part_of_identity() -> None:
    assert ModelSpec("m", precision="int8") != ModelSpec("m")
    assert ModelSpec("m", engine="openvino") != ModelSpec("m")


def test_the_strategy_takes_no_part_in_identity() -> None:
    assert ModelSpec("m", strategy="lazy") == ModelSpec("m", strategy="eager")
    assert ModelSpec("m") != ModelSpec("m", "v1")
