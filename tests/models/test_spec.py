from __future__ import annotations

from pathlib import Path

import pytest

from hotstart.errors import InvalidInput
from hotstart.models.spec import ModelSpec


@pytest.mark.parametrize("source", ["", "  ", "a\0b", None, 5])
def test_an_empty_source_raises(source: object) -> None:
    with pytest.raises(InvalidInput, match="a folder or a model name"):
        ModelSpec(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("revision", ["", "../../etc", "a/../b", "/abs", "a b"])
def test_a_revision_that_leaves_its_path_raises(revision: str) -> None:
    with pytest.raises(InvalidInput, match="commit, tag or branch"):
        ModelSpec("owner/name", revision)


@pytest.mark.parametrize("precision", ["", "int4", "float16", None])
def test_an_unknown_precision_raises(precision: str) -> None:
    with pytest.raises(InvalidInput, match="one of float32, bfloat16, int8"):
        ModelSpec("m", precision=precision)


@pytest.mark.parametrize("engine", ["", "../onnx", "ONNX", "a b"])
def test_an_invalid_engine_name_raises(engine: str) -> None:
    with pytest.raises(InvalidInput, match="the name of an engine"):
        ModelSpec("m", engine=engine)


@pytest.mark.parametrize("kind", ["", "sentiment", "../x", None])
def test_an_unknown_kind_raises(kind: str) -> None:
    with pytest.raises(InvalidInput, match="one of embedding, reranker"):
        ModelSpec("m", kind=kind)


def test_a_reranker_supports_only_float32() -> None:
    with pytest.raises(InvalidInput, match="float32, for a model of kind reranker"):
        ModelSpec("m", precision="int8", kind="reranker")


def test_engine_and_precision_are_part_of_identity() -> None:
    assert ModelSpec("m", precision="int8") != ModelSpec("m")
    assert ModelSpec("m", engine="openvino") != ModelSpec("m")


def test_the_strategy_is_not_part_of_identity() -> None:
    assert ModelSpec("m", strategy="lazy") == ModelSpec("m", strategy="eager")
    assert ModelSpec("m") != ModelSpec("m", "v1")


@pytest.mark.parametrize(
    ("spec", "arguments"),
    [
        (ModelSpec("owner/name"), "owner/name"),
        (ModelSpec("my model", precision="int8"), "'my model' --precision int8"),
        (ModelSpec("a", "v1", kind="reranker"), "a --revision v1 --kind reranker"),
    ],
)
def test_the_arguments_of_a_command_name_the_model(spec: ModelSpec, arguments: str) -> None:
    assert spec.arguments == arguments


@pytest.mark.parametrize(
    ("source", "names_folder"),
    [
        ("./m", True),
        ("../m", True),
        ("/m", True),
        ("~/m", True),
        ("m", False),
        ("owner/m", False),
    ],
)
def test_only_a_path_names_a_folder(
    source: str, names_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the current folder does not stand in for a model of its name."""
    for name in ("m", "owner/m"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert ModelSpec(source).names_folder == names_folder
