"""Real ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from hotstart.errors import InvalidInput, ModelDamaged, ModelFileMissing
from hotstart.kinds.onnx import load, predict
from kinds.malice import check_progress, malicious, material

SHAPE: list[str | int | None] = ["batch", 2]


def write(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def added(tmp_path: Path) -> Any:
    """Return a model that adds x and y, float32 (batch, 2)."""
    x, y, z = (helper.make_tensor_value_info(name, T.FLOAT, SHAPE) for name in "xyz")
    path = write(tmp_path / "a.onnx", [helper.make_node("Add", ["x", "y"], ["z"])], [x, y], [z])
    return load(material(path), check_progress)


def identity(folder: Path, element: int, shape: Any = None) -> Any:
    """Return a model that returns its input, of any type."""
    x, y = (helper.make_tensor_value_info(name, element, shape or ["n"]) for name in "xy")
    path = write(folder / f"{element}.onnx", [helper.make_node("Identity", ["x"], ["y"])], [x], [y])
    return load(material(path), check_progress)


def test_predict_returns_every_output_by_name(added: Any) -> None:
    inputs = {"x": [[1.5, 2], [3, 4]], "y": [[1, 1], [1, 1]]}
    assert predict(added, inputs, material("")) == {"z": [[2.5, 3.0], [4.0, 5.0]]}
    assert predict(added, {"x": [[1, 2]], "y": np.ones((1, 2))}, material("")) == {
        "z": [[2.0, 3.0]]
    }
    assert added.get_providers() == ["CPUExecutionProvider"]
    options = added.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_predict_of_an_empty_batch(added: Any) -> None:
    nothing = np.empty((0, 2)).tolist()
    with pytest.raises(InvalidInput, match="float32 \\(batch, 2\\)"):
        predict(added, {"x": nothing, "y": nothing}, material(""))
    assert predict(added, {"x": np.empty((0, 2)), "y": np.empty((0, 2))}, material("")) == {"z": []}


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": [[1, 2]]},
        {"x": [[1, 2]], "y": [[1, 2]], "w": 1},
        {"x": [[1, 2, 3]], "y": [[1, 2]]},
        {"x": [1, 2], "y": [[1, 2]]},
        {"x": [[1, 2], [3]], "y": [[1, 2]]},
        {"x": [["a", "b"]], "y": [[1, 2]]},
        {"x": [[None, 1]], "y": [[1, 2]]},
        {"x": [[1e300, 1]], "y": [[1, 2]]},
        {"x": None, "y": [[1, 2]]},
        {"x": [[1, 2]] * 2, "y": [[1, 2]] * 3},
        [[1, 2]],
        "text",
        None,
    ],
)
def test_inputs_of_another_form_raise_and_name_the_models_inputs(added: Any, inputs: Any) -> None:
    with pytest.raises(InvalidInput, match=r"float32 \(batch, 2\)"):
        predict(added, inputs, material(""))


@pytest.mark.parametrize(
    ("element", "accepted", "rejected"),
    [
        (T.FLOAT, [1, 2.5, True], [["a"], [None]]),
        (T.DOUBLE, [1e300], [["a"]]),
        (T.FLOAT16, [0.5], [["a"], [1e6]]),
        (T.INT64, [1, -2], [[1.5], [1.0], ["1"], [True], [2**63]]),
        (T.INT32, [1], [[2**31], [-(2**31) - 1]]),
        (T.UINT8, [0, 255], [[256], [-1]]),
        (T.BOOL, [True, False], [[1], ["a"]]),
        (T.STRING, ["a", "é"], [[1], [None]]),
    ],
)
def test_values_must_fit_the_models_dtype(
    element: int, accepted: list[Any], rejected: list[Any], tmp_path: Path
) -> None:
    model = identity(tmp_path, element)
    assert predict(model, {"x": accepted}, material("")) == {"y": accepted}
    for values in rejected:
        with pytest.raises(InvalidInput, match="input 'x'"):
            predict(model, {"x": values}, material(""))


def test_nan_becomes_none(tmp_path: Path) -> None:
    assert predict(identity(tmp_path, T.FLOAT), {"x": [float("nan")]}, material("")) == {
        "y": [None]
    }


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x08", malicious(Path("mark"))])
def test_a_file_of_another_format_raises(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"model\.onnx"):
        load(material(path), check_progress)


def test_missing_external_weights_raise(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = helper.make_tensor(
        "w", T.FLOAT, [1000], np.ones(1000, np.float32).tobytes(), raw=True
    )
    x, y = (helper.make_tensor_value_info(name, T.FLOAT, [1000]) for name in "xy")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "graph", [x], [y], [weights])
    opsets = [helper.make_opsetid("", 17)]
    whole = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(whole, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    source = material(path)
    assert predict(load(source, check_progress), {"x": [1.0] * 1000}, source) == {"y": [2.0] * 1000}
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelDamaged):
        load(source, check_progress)


def test_a_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match=r"none\.onnx is not a file"):
        load(material(tmp_path / "none.onnx"), check_progress)


def test_threads_load_and_predict_concurrently(tmp_path: Path) -> None:
    identity(tmp_path, T.FLOAT)
    source = material(tmp_path / f"{T.FLOAT}.onnx")
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: load(source, check_progress), range(8)))
        answers = threads.map(lambda n: predict(models[0], {"x": [n]}, source), range(32))
        assert [answer["y"] for answer in answers] == [[float(n)] for n in range(32)]


def test_memory_that_the_model_wants_is_not_blamed_on_the_inputs(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", T.INT64, [1])
    y = helper.make_tensor_value_info("y", T.FLOAT, None)
    nodes = [helper.make_node("ConstantOfShape", ["x"], ["y"])]
    model = load(material(write(tmp_path / "large.onnx", nodes, [x], [y])), check_progress)
    with pytest.raises(MemoryError, match="needs more memory than there is"):
        predict(model, {"x": [2**60]}, material(""))
