from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart.errors import FunctionMissing, HotstartError, InvalidInput
from hotstart.kinds.custom import load, predict
from kinds.malice import check_progress, material

CODE = """
import numpy as np

class Model:
    def __init__(self, factor):
        self.factor = factor
    def predict(self, inputs):
        return np.array(inputs) * self.factor

def make(factor=2):
    return Model(factor)

def fail():
    raise RuntimeError("no licence")

number = 3
"""


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "my_models"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "made.py").write_text(CODE)
    (folder / "faulty.py").write_text("import a_library_not_installed")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_models"]:
        del sys.modules[name]


def test_the_function_is_called_with_the_options() -> None:
    source = material("my_models.made:make", options={"factor": 3})
    assert predict(load(source, check_progress), [1, 2], source) == [3, 6]


@pytest.mark.parametrize(
    "source",
    [
        *("", "made", "my_models.made", "my_models.made:", ":make", "my_models.made:make()"),
        *("a b:c", "my_models/made.py:make", "..made:make", "my_models.made:Model.predict"),
        *("a:b:c", "a: b"),
    ],
)
def test_an_invalid_import_string_raises(source: str) -> None:
    with pytest.raises(InvalidInput, match=r"package\.module:function"):
        load(material(source), check_progress)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("no_such_package.made:make", "module no_such_package"),
        ("my_models.none:make", r"module my_models\.none"),
        ("my_models.made.deeper:make", r"module my_models\.made\.deeper"),
        ("my_models.made:none", r"none in module my_models\.made"),
    ],
)
def test_the_error_names_the_missing_module_or_function(source: str, missing: str) -> None:
    with pytest.raises(FunctionMissing, match=f"{missing} does not exist"):
        load(material(source), check_progress)


def test_a_source_that_is_not_callable_raises() -> None:
    with pytest.raises(InvalidInput, match="a function"):
        load(material("my_models.made:number"), check_progress)


def test_errors_of_the_function_and_its_imports_propagate() -> None:
    with pytest.raises(RuntimeError, match="no licence"):
        load(material("my_models.made:fail"), check_progress)
    with pytest.raises(TypeError, match="unexpected keyword"):
        load(material("my_models.made:make", options={"other": 1}), check_progress)
    with pytest.raises(ModuleNotFoundError, match="a_library_not_installed") as caught:
        load(material("my_models.faulty:make"), check_progress)
    assert not isinstance(caught.value, HotstartError)


def test_a_callable_model_is_called() -> None:
    def shout(text: str) -> Any:
        return {"said": np.array([text.upper()])}

    assert predict(shout, "hey", material("")) == {"said": ["HEY"]}


def test_a_model_without_predict_raises() -> None:
    with pytest.raises(InvalidInput, match=r"model 'm' must be a callable, or an object.*'int'"):
        predict(3, [1], material(""))
