"""Build an ONNX graph: nodes, constants, external weights.

Only this file imports `onnx`. It uses the operators of ONNX opset 17, and the fused operators of
ONNX Runtime's domain `com.microsoft`
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.errors import ModelDamaged
from hotstart.safetensors import Tensor

OPSET = 17
FUSED = "com.microsoft"
OUTPUT = "embedding"
_ELEMENTS = {"F32": "FLOAT", "U8": "UINT8"}
_IR_VERSION = 8  # supported by every accepted version of ONNX Runtime


class GraphBuilder:
    """Builds an ONNX graph for the artifact folder `folder`.

    A method that adds a node returns the name of its first output, so calls can be nested.
    """

    def __init__(self, folder: str) -> None:
        self._onnx = require("onnx")
        self._folder = folder
        self._nodes: list[Any] = []
        self._count = 0  # of all nodes, those of a loop too, so that names differ
        self._initializers: dict[str, Any] = {}
        self._constants: dict[tuple[str, int, tuple[int | float, ...]], str] = {}
        self._extra_outputs: dict[str, tuple[str, int]] = {}

    def node(
        self, operator: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any
    ) -> str:
        """Add an operator of ONNX or of `domain`; an empty input name omits that input."""
        name = f"{operator}_{self._count}"
        self._count += 1
        names = [name] + [f"{name}_{n}" for n in range(1, outputs)]
        self._nodes.append(
            self._onnx.helper.make_node(operator, list(inputs), names, domain=domain, **attributes)
        )
        return name

    def fused(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a fused operator of ONNX Runtime."""
        return self.node(operator, *inputs, domain=FUSED, **attributes)

    def cast(self, value: str, dtype: str) -> str:
        """Convert `value` to the element type `dtype` (`FLOAT`, `INT32`, `INT64`, `BOOL`)."""
        return self.node("Cast", value, to=getattr(self._onnx.TensorProto, dtype))

    def constant(self, values: Sequence[int] | Sequence[float] | int | float, dtype: str) -> str:
        """Return the name of a constant stored in the graph; equal constants are shared."""
        dims = [len(values)] if isinstance(values, Sequence) else []
        flat = tuple(values) if isinstance(values, Sequence) else (values,)
        key = dtype, len(dims), flat
        if key not in self._constants:
            name = f"{dtype}_{'x'.join(map(str, flat[:4]))}_{len(self._constants)}"
            element = getattr(self._onnx.TensorProto, dtype)
            self._initializers[name] = self._onnx.helper.make_tensor(name, element, dims, flat)
            self._constants[key] = name
        return self._constants[key]

    def loop(self, count: str, first: str, width: int, body: Callable[[str, str], str]) -> str:
        """Add a loop and return its last value, float32 (batch, n, width).

        Args:
            count: the number of rounds, INT64.
            first: the value before the first round, float32 (batch, m, width).
            width: the last axis of the value.
            body: adds the nodes of a round; gets the round's number and the value so far, and
                returns the next value. The nodes may use any value of the graph.
        """
        helper = self._onnx.helper
        types = self._onnx.TensorProto
        outer, self._nodes = self._nodes, []
        label = f"Loop_{self._count}"
        number, value, condition = (f"{label}_{name}" for name in ("number", "value", "condition"))
        last = body(number, value)
        axes = [None, None, width]
        inner = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [condition], [f"{condition}_next"])],
            label,
            [
                helper.make_tensor_value_info(number, types.INT64, []),
                helper.make_tensor_value_info(condition, types.BOOL, []),
                helper.make_tensor_value_info(value, types.FLOAT, axes),
            ],
            [
                helper.make_tensor_value_info(f"{condition}_next", types.BOOL, []),
                helper.make_tensor_value_info(last, types.FLOAT, axes),
            ],
        )
        self._nodes = outer
        return self.node("Loop", count, "", first, body=inner)

    def weight(self, tensor: Tensor) -> str:
        """Return the name of an external weight, F32 or U8."""
        location = os.path.relpath(tensor.path, self._folder)
        name = f"{location}:{tensor.offset}"
        other = self._initializers.get(name)
        if other is not None and tuple(other.dims) != tuple(tensor.shape):
            name += f":{tensor.length}"  # some rows of a tensor that the graph has too
        if name not in self._initializers:
            proto = self._onnx.TensorProto()
            element = _ELEMENTS[tensor.dtype]
            proto.name = name
            proto.data_type = getattr(self._onnx.TensorProto, element)
            proto.dims.extend(tensor.shape)
            proto.data_location = self._onnx.TensorProto.EXTERNAL
            entries = {"location": location, "offset": tensor.offset, "length": tensor.length}
            for key, value in entries.items():
                proto.external_data.add(key=key, value=str(value))
            self._initializers[name] = proto
        return name

    def add_output(self, name: str, value: str, size: int) -> None:
        """Add `value`, float32 (size,), as the additional model output `name`."""
        self._extra_outputs[name] = value, size

    def build(
        self, inputs: Mapping[str, tuple[str, int]], output: str, axes: Sequence[str | int]
    ) -> bytes:
        """Return the serialised model.

        Args:
            inputs: element type and rank of each input; the leading axes are batch and tokens.
            output: the name of the result, float32.
            axes: the axes of the result: `batch`, `tokens`, or a length.
        """
        helper = self._onnx.helper
        types = self._onnx.TensorProto
        leading = ["batch", "tokens", None]
        results = {OUTPUT: output} | {
            name: value for name, (value, _) in self._extra_outputs.items()
        }
        graph = helper.make_graph(
            [
                *self._nodes,
                *(helper.make_node("Identity", [value], [name]) for name, value in results.items()),
            ],
            "hotstart",
            [
                helper.make_tensor_value_info(name, getattr(types, dtype), leading[:rank])
                for name, (dtype, rank) in inputs.items()
            ],
            [
                helper.make_tensor_value_info(OUTPUT, types.FLOAT, list(axes)),
                *(
                    helper.make_tensor_value_info(name, types.FLOAT, [size])
                    for name, (_, size) in self._extra_outputs.items()
                ),
            ],
            initializer=list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return bytes(model.SerializeToString())


class GraphPort(NamedTuple):
    """An input or output of an ONNX file.

    Attributes:
        element: the element type, such as FLOAT16.
        shape: the length of each axis; 0 for one that is free.
    """

    element: str
    shape: tuple[int, ...]


def read_ports(path: str) -> tuple[dict[str, GraphPort], dict[str, GraphPort]]:
    """Return the inputs and the outputs of the ONNX file at `path`, by name.

    Raises:
        ModelDamaged: the file is not an ONNX file.
    """
    graph = _read(path).graph
    weights = {tensor.name for tensor in graph.initializer}  # older exporters list them as inputs
    inputs = {entry.name: _port(entry) for entry in graph.input if entry.name not in weights}
    return inputs, {entry.name: _port(entry) for entry in graph.output}


def _port(entry: Any) -> GraphPort:
    tensor = entry.type.tensor_type
    names = require("onnx").TensorProto.DataType
    return GraphPort(
        element=str(names.Name(tensor.elem_type)),
        shape=tuple(int(axis.dim_value) for axis in tensor.shape.dim),
    )


def _read(path: str) -> Any:
    onnx = require("onnx")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError is not public
        raise ModelDamaged(path, reason=f"not an ONNX file ({error})") from error
