"""A mixture of experts for a feed-forward network (Shazeer et al. 2017), as graph nodes.

A router gives each token a few of the experts. Each expert computes its tokens alone: computing all
tokens by every expert and adding what counts would take experts / top_k times as long.
"""

from __future__ import annotations

from collections.abc import Callable

from hotstart.models.architectures import Experts, Part
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.layers import Layers


class MixtureOfExperts:
    """Adds mixtures of experts.

    Args:
        graph: the graph.
        layers: adds the layers of the encoder.
        names: the names of the tensors.
        count: the number of experts.
        chosen: the number of experts of a token.
    """

    def __init__(
        self, graph: GraphBuilder, layers: Layers, names: Experts, count: int, chosen: int
    ) -> None:
        self._graph = graph
        self._layers = layers
        self._names = names
        self._count = count
        self._chosen = chosen

    def add(self, prefix: str, rows: str, hidden: int, activate: Callable[[str], str]) -> str:
        """Add the mixture of the layer `prefix` to `rows` (n, hidden)."""
        graph = self._graph
        router = prefix + self._names.router
        logits = self._layers.linear(router, rows, self._count, hidden, exact=True)
        shares = graph.node(
            "TopK",
            graph.node("Softmax", logits, axis=-1),
            graph.constant([self._chosen], "INT64"),
            axis=-1,
            outputs=2,
        )
        chosen = graph.node("Reshape", f"{shares}_1", graph.constant([-1], "INT64"))
        places, results = [], []
        for number in range(self._count):
            place, result = self._expert(prefix, number, rows, chosen, hidden, activate)
            places.append(place)
            results.append(result)
        # A row for each token and each of its experts, by expert; put them in the order of tokens.
        joined = graph.node("Concat", *results, axis=0)
        order = graph.node(
            "Unsqueeze", graph.node("Concat", *places, axis=0), graph.constant([-1], "INT64")
        )
        ordered = graph.node("ScatterND", joined, order, joined)
        by_token = graph.node(
            "Reshape", ordered, graph.constant([-1, self._chosen, hidden], "INT64")
        )
        weighted = graph.node(
            "Mul", by_token, graph.node("Unsqueeze", shares, graph.constant([-1], "INT64"))
        )
        total = graph.node("ReduceSum", weighted, graph.constant([1], "INT64"), keepdims=0)
        return graph.node("Add", total, self._layers.whole(prefix + self._names.bias, hidden))

    def _expert(
        self,
        prefix: str,
        number: int,
        rows: str,
        chosen: str,
        hidden: int,
        activate: Callable[[str], str],
    ) -> tuple[str, str]:
        """Add one expert; return the places of `chosen` that name it, and a row for each."""
        graph = self._graph
        is_named = graph.node("Equal", chosen, graph.constant(number, "INT64"))
        places = graph.node(
            "Squeeze", graph.node("NonZero", is_named), graph.constant([0], "INT64")
        )
        tokens = graph.node("Div", places, graph.constant(self._chosen, "INT64"))
        inputs = graph.node("Gather", rows, tokens)
        first = Part(prefix + self._names.intermediate, number, self._count)
        second = Part(prefix + self._names.output, number, self._count)
        inner = activate(self._layers.matrix(first, inputs, hidden))
        return places, self._layers.matrix(second, inner, hidden, transposed=True)
