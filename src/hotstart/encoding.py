"""One call of `encode`: what was asked, checked; the texts to run; the form of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hotstart.engines.precision import OutputFormat
from hotstart.errors import InvalidInput
from hotstart.texts import check_texts
from hotstart.types import Card, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROLES = ("query", "document")  # prompt names that every model has, empty where it sets none


class Encoding:
    """The arguments of `Embedder.encode`, which says what they mean. Raises InvalidInput.

    Attributes:
        texts: to be embedded.
        runs_alone: whether they are not to be run together with those of other calls.
    """

    def __init__(
        self,
        inputs: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InvalidInput("batch_size", got=batch_size, expected="a positive number, or None")
        self._alone = isinstance(inputs, str)
        self.texts = check_texts([inputs] if isinstance(inputs, str) else inputs)
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.runs_alone = bool(batch_size) or show_progress_bar or len(self.texts) == 0
        self._prompt_name, self._prompt = prompt_name, prompt
        self._as_list = not convert_to_numpy
        self._output = OutputFormat(precision, normalize_embeddings, truncate_dim)

    def check(self, card: Card) -> None:
        """Raise InvalidInput where the model of `card` cannot give what is asked."""
        if card.dimension is not None:
            self._format(card).check(card.dimension, len(self.texts))

    def prompted(self, card: Card) -> list[str]:
        """Return the texts as the model of `card` is to see them. Raises InvalidInput."""
        self.check(card)
        prompt = self.prompt(card)
        return [prompt + text for text in self.texts]

    def role(self, card: Card) -> str:
        """Return the name of the prompt that is used, empty where the model has no text for it."""
        name = self._prompt_name or card.default_prompt_name or ""
        return name if self._prompt is None and card.prompts.get(name) else ""

    def prompt(self, card: Card) -> str:
        """Return the text to put before each text."""
        name = self._prompt_name
        if self._prompt is not None:
            return self._prompt
        if name is None:
            return card.prompts.get(card.default_prompt_name or "", "")
        if name not in card.prompts and name not in _ROLES:
            known = ", ".join(dict.fromkeys([*card.prompts, *_ROLES]))
            raise InvalidInput("prompt_name", got=name, expected=f"one of {known}")
        return card.prompts.get(name, "")

    def answer(self, vectors: NDArray[np.float32], card: Card) -> Any:
        """Return what the call returns for its `vectors` (n, dimension)."""
        output = self._format(card)
        if card.dimension is None:  # else it was checked before the texts were run
            output.check(vectors.shape[1], len(self.texts))
        made = output.apply(vectors)
        if self._alone:
            return made[0]
        return list(made) if self._as_list else made

    def _format(self, card: Card) -> OutputFormat:
        if self._output.truncate_dim is not None or card.truncate_dim is None:
            return self._output
        return self._output._replace(truncate_dim=card.truncate_dim)
