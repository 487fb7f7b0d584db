"""Other ways to ask an embedder, each a call of `encode`: by role, as plain lists, as a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.errors import InvalidInput
from hotstart.texts import check_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 1024
"""Texts of a stream that are held at a time."""


class Asking:
    """Whatever has `encode` and `aencode` can be asked in these ways too."""

    encode: Callable[..., Any]
    aencode: Callable[..., Awaitable[Any]]

    async def aencode_query(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """Do what `encode_query` does without holding up the event loop."""
        return await self.aencode(inputs, **_in_role("query", options))

    async def aencode_document(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """Do what `encode_document` does without holding up the event loop."""
        return await self.aencode(inputs, **_in_role("document", options))

    def encode_query(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """Encode questions: with the model's prompt `query`, if it has one. Options as `encode`."""
        return self.encode(inputs, **_in_role("query", options))

    def encode_document(self, inputs: str | Sequence[str], **options: Any) -> Any:
        """Encode what is asked about: with the model's prompt `document`, if it has one."""
        return self.encode(inputs, **_in_role("document", options))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one question as a plain list."""
        vector: list[float] = self.encode_query(text).tolist()
        return vector

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts` as plain lists."""
        vectors: list[list[float]] = self.encode_document(texts).tolist()
        return vectors

    def encode_stream(
        self, inputs: Iterable[str], *, window: int = WINDOW, **options: Any
    ) -> Iterator[NDArray[Any]]:
        """Yield the vector of each of `inputs` in order, holding at most `window` of them.

        `inputs` may be endless. Options as `encode`; of its precisions int8 and uint8 would take
        their steps from one window each, so they are refused.
        """
        if options.get("precision") in {"int8", "uint8"}:
            raise InvalidInput(
                "precision", got=options["precision"], expected="float32, binary or ubinary"
            )
        source = iter(inputs)
        seen = 0
        while texts := list(islice(source, window)):
            check_texts(texts, first=seen)
            yield from self.encode(texts, **options)
            seen += len(texts)


def _in_role(role: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` with the prompt called `role`, unless they name another."""
    return options | {"prompt_name": options.get("prompt_name") or role}
