"""The tensors of an encoder, by their names without the prefix that a model with a head saves."""

from __future__ import annotations

from collections.abc import Mapping

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.description import Description
from hotstart.safetensors import Tensor

WORDS = "embeddings.word_embeddings.weight"
"""The tensor that every encoder has."""

_OF_TRAINING = ("0.auto_model.", "auto_model.", "model.", "module.")
_LEGACY_NAMES = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))


class EncoderTensors:
    """The tensors of the encoder of `model`, with the first of `prefixes` that they have.

    Raises:
        UnsupportedModel: WORDS has none of the prefixes, and none of a checkpoint of training.
    """

    def __init__(
        self, model: Description, tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]
    ) -> None:
        self._folder = model.folder
        self._tensors = tensors
        known = (*prefixes, *_OF_TRAINING)
        found = [prefix for prefix in known if prefix + WORDS in tensors]
        if not found:
            supported = tuple(f"{prefix}{WORDS}" for prefix in prefixes)
            names = sorted(tensors)[:3]
            raise UnsupportedModel(
                model.folder, feature="tensor names", got=names, supported=supported
            )
        self._prefix = found[0]

    def get(self, name: str) -> Tensor | None:
        """Return the tensor `name`, under its older name too; None without one."""
        tensor = self._tensors.get(self._prefix + name)
        for new, old in _LEGACY_NAMES:
            tensor = tensor or self._tensors.get(self._prefix + name.replace(new, old))
        return tensor

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.get(name)
        if tensor is None:
            raise ModelDamaged(self._folder, reason=f"no tensor {self._prefix + name}")
        return tensor

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ModelDamaged for a tensor that has another shape than `shapes` says."""
        for name, expected in shapes.items():
            shape = tuple(self[name].shape)
            if shape != expected:
                reason = f"{self._prefix}{name} has the shape {shape}, its layer needs {expected}"
                raise ModelDamaged(self._folder, reason=reason)
