"""Write the graphs of `hotstart.search.semantic`: python tests/support/make_nearest.py

Each takes `rows` (n, d), `query` (d, 1) and `limit` (1), and returns the `limit` largest products
`scores` with their `places`, the largest first; of equal products the lower place is first.
"""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

FOLDER = Path(__file__).parents[2] / "src" / "hotstart" / "search"
FLOAT = TensorProto.FLOAT
TYPES = {"float32": FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.INT8}


def content(kind: str) -> bytes:
    """Return the graph for rows of `kind`."""
    inputs = [
        helper.make_tensor_value_info("rows", TYPES[kind], ["n", "d"]),
        helper.make_tensor_value_info("query", TYPES[kind] if kind == "int8" else FLOAT, ["d", 1]),
        helper.make_tensor_value_info("limit", TensorProto.INT64, [1]),
    ]
    nodes = []
    product = "product"
    if kind == "int8":
        inputs.insert(2, helper.make_tensor_value_info("scales", FLOAT, ["n", 1]))
        nodes += [
            helper.make_node("MatMulInteger", ["rows", "query"], ["integers"]),
            helper.make_node("Cast", ["integers"], ["unscaled"], to=FLOAT),
            helper.make_node("Mul", ["unscaled", "scales"], [product]),
        ]
    elif kind == "float16":
        nodes += [
            helper.make_node("Cast", ["rows"], ["wide"], to=FLOAT),
            helper.make_node("MatMul", ["wide", "query"], [product]),
        ]
    else:
        nodes.append(helper.make_node("MatMul", ["rows", "query"], [product]))
    nodes.append(
        helper.make_node("TopK", [product, "limit"], ["scores", "places"], axis=0, largest=1)
    )
    outputs = [
        helper.make_tensor_value_info("scores", FLOAT, ["k", 1]),
        helper.make_tensor_value_info("places", TensorProto.INT64, ["k", 1]),
    ]
    graph = helper.make_graph(nodes, f"nearest-{kind}", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "hotstart"
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    for name in TYPES:
        (FOLDER / f"nearest-{name}.onnx").write_bytes(content(name))
