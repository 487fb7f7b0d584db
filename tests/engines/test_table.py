from __future__ import annotations

import sys
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hotstart.engines import ENGINES, engine_class, open_engine
from hotstart.errors import InvalidInput, MissingExtra
from support.engines import STATIC, prepared


def test_the_table_imports_no_engine(python: Callable[..., CompletedProcess[str]]) -> None:
    code = """if True:
        import sys, hotstart.engines
        assert hotstart.engines.ENGINES["torch"].extra == "torch"
        print({"numpy", "onnxruntime", "openvino", "torch"} & sys.modules.keys())
    """
    assert python("-c", code).stdout == "set()\n"


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_the_name_of_its_table_entry(name: str) -> None:
    assert vars(engine_class(name))["name"] == name
    assert ENGINES[name].extra in {name, None}


def test_an_unknown_engine_raises_and_names_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match=r"onnx, openvino, torch, static, remote, fake, got 'tpu'"
    ):
        engine_class("tpu")
    with pytest.raises(InvalidInput, match="'tpu'"):
        open_engine("tpu", prepared("bert-cls"), "full", 1)


@pytest.mark.parametrize("name", ["openvino", "torch"])  # engine, extra and library share this name
def test_a_missing_library_raises_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    openers: dict[str, Callable[[], object]] = {
        "artifact": lambda: open_engine(name, prepared("bert-cls"), "full", 1),
        "folder": lambda: engine_class(name)(str(STATIC)),
    }
    with pytest.raises(MissingExtra, match=rf"pip install 'hotstart\[{name}\]'"):
        openers[ENGINES[name].opened_from]()
