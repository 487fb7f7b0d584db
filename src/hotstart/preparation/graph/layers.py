"""The layers of an encoder as graph nodes, each by the name of its tensors.

Each method checks the shapes of the tensors that it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.architectures import FAMILIES, Part
from hotstart.models.description import Description
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_LEGACY_NAMES = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))

_OF_TRAINING = ("0.auto_model.", "auto_model.", "model.", "module.")
"""Prefixes of tensors in a checkpoint of training."""

_FUSED_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("FastGelu", {}),
    "gelu_fast": ("FastGelu", {}),
    "gelu_pytorch_tanh": ("FastGelu", {}),
    "silu": ("QuickGelu", {"alpha": 1.0}),
    "swish": ("QuickGelu", {"alpha": 1.0}),
    "swiglu": ("QuickGelu", {"alpha": 1.0}),
    "geglu": ("Gelu", {}),
    "gated-gelu": ("FastGelu", {}),
    "gated-silu": ("QuickGelu", {"alpha": 1.0}),
}
_RELU = ("relu", "reglu", "gated-relu")
ACTIVATIONS = (*_FUSED_ACTIVATIONS, *_RELU)
"""The activations between the layers of a feed-forward network, as transformers names them."""


class Layers:
    """Adds the layers of the encoder of `model` to `graph`.

    Tensor names are those of the family, without the prefix that a model with a head saves.

    Raises:
        UnsupportedModel: the embeddings have none of the family's prefixes.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        weights: Weights,
        model: Description,
        tensors: Mapping[str, Tensor],
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._folder = model.folder
        self._tensors = tensors
        self._epsilon = float(model.settings["layer_norm_eps"])
        self._family = FAMILIES[model.model_type]
        words = self._family.words
        prefixes = self._family.prefixes
        found = [each for each in (*prefixes, *_OF_TRAINING) if each + words in tensors]
        if not found:
            supported = tuple(f"{prefix}{words}" for prefix in prefixes)
            names = sorted(tensors)[:3]
            raise UnsupportedModel(
                model.folder, feature="tensor names", got=names, supported=supported
            )
        self._prefix = found[0]

    def shape(self, name: str | Part) -> tuple[int, ...]:
        """Return the shape of the weights `name`; of a Part, that of the part."""
        if isinstance(name, Part):
            rows, *rest = self._get(f"{name.name}.weight").shape
            return rows // name.parts, *rest
        return tuple(self._get(f"{name}.weight").shape)

    def has(self, name: str) -> bool:
        """Return whether there is a tensor `name`."""
        return self._find(name) is not None

    def tensor(self, name: str, *shape: int) -> Tensor:
        """Return the tensor `name`.

        Raises:
            ModelDamaged: there is no such tensor, or it has another shape.
        """
        tensor = self._get(name)
        if tuple(tensor.shape) != shape:
            reason = f"{self._prefix}{name} has the shape {tensor.shape}, its layer needs {shape}"
            raise ModelDamaged(self._folder, reason=reason)
        return tensor

    def whole(self, name: str, *shape: int) -> str:
        """Return the tensor `name` in float32."""
        return self._weights.whole(self.tensor(name, *shape))

    def lookup(self, name: str, ids: str, *shape: int) -> str:
        """Return the rows of the table `name` at `ids`."""
        return self._weights.lookup(self.tensor(name, *shape), ids)

    def linear(
        self, name: str | Part, rows: str, outputs: int, inputs: int, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias, with a bias if there is one; see `Weights.linear`."""
        if isinstance(name, str):
            weight = self.tensor(f"{name}.weight", outputs, inputs)
            bias = self.tensor(f"{name}.bias", outputs) if self.has(f"{name}.bias") else None
            return self._weights.linear(name, rows, weight, bias, exact=exact)
        joined = outputs * name.parts
        first = outputs * name.number
        weight = self.tensor(f"{name.name}.weight", joined, inputs).rows(first, outputs)
        bias = None
        if self.has(f"{name.name}.bias"):
            bias = self.tensor(f"{name.name}.bias", joined).rows(first, outputs)
        label = f"{name.name}.{name.number}"
        return self._weights.linear(label, rows, weight, bias, exact=exact)

    def matrix(self, part: Part, rows: str, columns: int, *, transposed: bool = False) -> str:
        """Return rows @ matrix.T, or rows @ matrix if it is `transposed`.

        The matrix of `columns` is one of those that are stored as one tensor, without a bias.
        """
        joined = self._get(part.name).shape
        height = joined[0] // part.parts
        weight = self.tensor(part.name, height * part.parts, columns)
        return self._weights.linear(
            f"{part.name}.{part.number}",
            rows,
            weight.rows(height * part.number, height),
            None,
            transposed=transposed,
        )

    def norm(self, name: str, value: str, width: int) -> str:
        """Return the norm of `value` over its last axis, of the length `width`."""
        weight = self.whole(f"{name}.weight", width)
        if self._family.norm == "layer":
            inputs = [value, weight]
            if self.has(f"{name}.bias"):
                inputs.append(self.whole(f"{name}.bias", width))
            return self._graph.node("LayerNormalization", *inputs, axis=-1, epsilon=self._epsilon)
        if self._family.norm == "rms + 1":
            weight = self._graph.node("Add", weight, self._graph.constant(1.0, "FLOAT"))
        # ONNX Runtime's root mean square norm, in the domain of ONNX; OpenVINO has it too.
        return self._graph.node(
            "SimplifiedLayerNormalization", value, weight, axis=-1, epsilon=self._epsilon
        )

    def add_and_norm(self, name: str, value: str, residual: str, width: int, row: str = "") -> str:
        """Return the norm of value + residual + `row`; `row` applies to every token.

        The norm has a bias: only architectures with biases have norms after a sum.
        """
        inputs = [value, residual]
        inputs += [self.whole(f"{name}.{part}", width) for part in ("weight", "bias")]
        if row:  # OpenVINO does not accept an empty name for an omitted input
            inputs.append(row)
        return self._graph.fused("SkipLayerNormalization", *inputs, epsilon=self._epsilon)

    def activate(self, name: str, value: str) -> str:
        """Return the activation `name` of ACTIVATIONS."""
        if name in _RELU:
            return self._graph.node("Relu", value)
        operator, attributes = _FUSED_ACTIVATIONS[name]
        return self._graph.fused(operator, value, **attributes)

    def _find(self, name: str) -> Tensor | None:
        """Return the tensor `name`, under its older name too; None without one."""
        tensor = self._tensors.get(self._prefix + name)
        for new, old in _LEGACY_NAMES:
            tensor = tensor or self._tensors.get(self._prefix + name.replace(new, old))
        return tensor

    def _get(self, name: str) -> Tensor:
        tensor = self._find(name)
        if tensor is None:
            raise ModelDamaged(self._folder, reason=f"no tensor {self._prefix + name}")
        return tensor
