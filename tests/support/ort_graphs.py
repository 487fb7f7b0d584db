"""Small graphs and their inputs, for the binding of ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from hotstart.ort import OrtValue


def graph(kind: int = TensorProto.FLOAT, operator: str = "MatMul") -> bytes:
    """Return a graph of one operator over `a` (n, 2) and `b` (2, m)."""
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in SHAPES]
    output = helper.make_tensor_value_info("c", kind, ["n", "m"])
    node = helper.make_node(operator, ["a", "b"], ["c"])
    opset = helper.make_opsetid("", 17)
    made = helper.make_graph([node], "g", inputs, [output])
    content: bytes = helper.make_model(
        made, opset_imports=[opset], ir_version=8
    ).SerializeToString()
    return content


SHAPES: list[tuple[str, list[Any]]] = [("a", ["n", 2]), ("b", [2, "m"])]


def value(rows: list[list[float]], dtype: str = "float32") -> OrtValue:
    numbers = np.array(rows, dtype)
    return OrtValue(bytearray(numbers.tobytes()), numbers.shape, dtype)


A, B = value([[1, 2], [3, 4]]), value([[1, 0, 2], [0, 1, 3]])
