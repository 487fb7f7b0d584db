"""Texts in, vectors out. Read this file first: everything else stands behind one of its lines.

texts ──check──▶ pool: "the loaded model, please" ──▶ engine: tokenise, batch, run ──▶ vectors
                   │
                   └─ the first ask loads it: models (find, prepare) ──▶ engines (open)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.config import read_settings
from hotstart.engines.precision import OutputFormat
from hotstart.errors import InvalidInput
from hotstart.models.ensure import ensure
from hotstart.models.facts import facts
from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Status
from hotstart.pool.pool import Pool, default_pool
from hotstart.pool.strategies import strategy_named
from hotstart.progress import Advance, bar
from hotstart.texts import check_texts
from hotstart.types import Precision, State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.models.metadata import Metadata
    from hotstart.pool.loading import LoadedModel

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WINDOW = 1024
"""Texts that are tokenised and sorted by length together; what bounds the memory of a stream."""

_ROLES = ("query", "document")  # prompt names that every model has, empty where it sets none


class Embedder:
    """An embedding model by name. Making one loads nothing; any thread may call its methods.

    Embedders of one model share one loaded instance of it in the process.

    Args:
        model: a known name (`all-MiniLM-L6-v2`), a repository of the hub (`owner/name`), or a
            folder as sentence-transformers saves it.
        revision: commit, tag or branch of a hub repository.
        strategy: `lazy` loads at the first use, `eager` in this constructor.
        truncate_dim: keep only this many leading dimensions of each vector.
        allow_download: let a load fetch a model that is not on this machine.
        pool: where the loaded model lives; by default the process's own pool.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        strategy: str = "lazy",
        truncate_dim: int | None = None,
        allow_download: bool = False,
        pool: Pool | None = None,
    ) -> None:
        chosen = strategy_named(strategy)
        self._spec = ModelSpec(os.fspath(model), revision, allow_download, strategy)
        self._truncate_dim = truncate_dim
        self._instance = (pool or default_pool()).instance(self._spec)
        if chosen.starts == "in the constructor":
            self._instance.wait()

    def __repr__(self) -> str:
        return f"Embedder({self._spec.source!r}, state={self.state!r})"

    # What is known without loading ----------------------------------------------------------

    @property
    def model(self) -> str:
        """The model as it was named."""
        return self._spec.source

    @property
    def dimension(self) -> int:
        """Length of the vectors, without loading the model."""
        return self._truncate_dim or facts(self._spec, read_settings()).dimension

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of a text, special tokens counted, without loading the model."""
        return facts(self._spec, read_settings()).max_seq_length

    @property
    def engine(self) -> str | None:
        """The engine that runs the model, None while it is not loaded."""
        model = self._instance.peek()
        return model.engine.name if model else None

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space; prepares the model if need be, but does not load it.

        Vectors may be compared when their fingerprints are equal, and only then.
        """
        identity = ensure(self._spec, read_settings()).metadata.fingerprint
        return f"{identity}-{self._truncate_dim}" if self._truncate_dim else identity

    # Readiness ------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        return self._instance.state

    def status(self) -> Status:
        """Return the state with its reason, and the figures of the last load."""
        return self._instance.status()

    def load(self) -> None:
        """Start loading and return at once."""
        self._instance.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Load if need be and return whether the model is ready within `timeout` seconds.

        Raises:
            HotstartError: the load failed, for the reason it states.
        """
        return self._instance.wait(timeout)

    def unload(self) -> None:
        """Give the model's memory back once the calls in flight end; a later call reloads."""
        self._instance.unload()

    # Vectors --------------------------------------------------------------------------------

    def encode(
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
        timeout: float | None = None,
    ) -> Any:
        """Return the vectors of `inputs`, as sentence-transformers' `encode` does.

        Args:
            inputs: one text, or a sequence of texts.
            prompt_name: the model's own prompt of that name is put before each text; by default
                its default prompt, if it has one.
            prompt: put before each text; goes before `prompt_name`.
            batch_size: the most texts run together; by default what a token budget allows.
            show_progress_bar: draw a bar on the terminal.
            precision: `float32`; `int8` or `uint8` (steps of each dimension's range over these
                inputs); `binary` or `ubinary` (one bit a dimension).
            convert_to_numpy: for a sequence, False gives a list of 1-d arrays.
            normalize_embeddings: scale each vector to length 1.
            truncate_dim: keep only this many leading dimensions; goes before the constructor's.
            timeout: seconds to wait for the model; None waits as long as its load takes.

        Returns:
            float32 (dimension,) for one text, (n, dimension) for n of them, n = 0 included;
            the dtypes of `precision` are told in `hotstart.engines.precision`.

        Raises:
            InvalidInput: an argument cannot be used.
            NotReady: the model was not ready in time; its load goes on.
            HotstartError: the load failed, for the reason it states.
        """
        if batch_size is not None and batch_size < 1:
            raise InvalidInput("batch_size", got=batch_size, expected="a positive number, or None")
        texts = check_texts([inputs] if isinstance(inputs, str) else inputs)
        cut = self._truncate_dim if truncate_dim is None else truncate_dim
        with self._instance.lease(timeout) as model:
            cut = model.metadata.truncate_dim if cut is None else cut
            output = OutputFormat(precision, normalize_embeddings, cut)
            output.check(model.metadata.dimension, len(texts))
            before = _choose_prompt(model.metadata, prompt_name, prompt)
            with bar("Embedding", len(texts), shown=show_progress_bar) as advance:
                vectors = output.apply(_embed(model, texts, before, batch_size, advance))
        if isinstance(inputs, str):
            return vectors[0]
        return vectors if convert_to_numpy else list(vectors)

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


def _choose_prompt(metadata: Metadata, prompt_name: str | None, prompt: str | None) -> str:
    """The text to put before each input."""
    if prompt is not None:
        return prompt
    if prompt_name is None:
        return metadata.prompts.get(metadata.default_prompt_name or "", "")
    if prompt_name not in metadata.prompts and prompt_name not in _ROLES:
        known = ", ".join(dict.fromkeys([*metadata.prompts, *_ROLES]))
        raise InvalidInput("prompt_name", got=prompt_name, expected=f"one of {known}")
    return metadata.prompts.get(prompt_name, "")


def _embed(
    model: LoadedModel, texts: Sequence[str], before: str, batch_size: int | None, advance: Advance
) -> NDArray[np.float32]:
    """The vectors of `texts`, a window at a time."""
    import numpy as np

    vectors = np.empty((len(texts), model.engine.dimension), np.float32)
    for start in range(0, len(texts), WINDOW):
        window = [before + text for text in texts[start : start + WINDOW]]
        vectors[start : start + WINDOW] = model.engine.embed(window, batch_size)
        advance(len(window))
    return vectors
