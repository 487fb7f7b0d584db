"""Texts in, vectors out. Read this file first: everything else stands behind one of its lines.

texts ──check──▶ pool: "the loaded model, please" ──▶ engine: tokenise, batch, run ──▶ vectors
                   │
                   └─ the first ask loads it: models (find, prepare) ──▶ engines (open)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.config import read_settings
from hotstart.engines import entry_of
from hotstart.engines.precision import OutputFormat
from hotstart.errors import InvalidInput
from hotstart.models.facts import Facts
from hotstart.models.spec import ModelSpec
from hotstart.pool.loading import card_of, foresee, prepare_artifact
from hotstart.pool.pool import Limits, Pool, default_pool
from hotstart.pool.readiness import Readiness
from hotstart.pool.strategies import choose, strategy_named
from hotstart.progress import Advance, bar
from hotstart.texts import check_texts
from hotstart.types import Card, LoadingStrategy, Precision, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.pool.loading import LoadedModel

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WINDOW = 1024
"""Texts that are tokenised and sorted by length together; what bounds the memory of a stream."""

_ROLES = ("query", "document")  # prompt names that every model has, empty where it sets none


class Embedder(Readiness):
    """An embedding model by name. Making one loads nothing; any thread may call its methods.

    Embedders of one model share one loaded instance of it in the process; strategy, time limit and
    keep-alive are those of the first.

    Args:
        model: a known name (`all-MiniLM-L6-v2`), a repository of the hub (`owner/name`), or a
            folder as sentence-transformers saves it.
        revision: commit, tag or branch of a hub repository.
        strategy: when and in which stages the model is loaded: a `LoadingStrategy` or its name;
            None for HOTSTART_STRATEGY, hotstart.toml, else `lazy`; `auto` for what suits the
            machine.
        engine: `onnx` (the default), `openvino`, `torch`, `static`; a model called `fake:...` runs
            on the engine `fake`.
        precision: of the weights, `float32` or `int8`; None for the strategy's.
        device: for the engine `torch`: `cpu`, `cuda`, `mps`; None for the best there is.
        trust_remote_code: for the engine `torch`: run code that the model's repository brings.
            It comes from here alone, never from a file or a request.
        truncate_dim: keep only this many leading dimensions of each vector.
        allow_download: let a load fetch a model that is not on this machine.
        load_timeout: seconds after which a load has failed.
        keep_alive: seconds without use after which the model's memory is given back.
        on_progress: called with stage and fraction while it loads, by the thread that loads.
        pool: where the loaded model lives; by default the process's own pool.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        strategy: str | LoadingStrategy | None = None,
        engine: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        truncate_dim: int | None = None,
        allow_download: bool = False,
        load_timeout: float | None = None,
        keep_alive: float | None = None,
        on_progress: Progress | None = None,
        pool: Pool | None = None,
    ) -> None:
        source = os.fspath(model)
        choice = choose(strategy, read_settings().strategy)
        engine = "fake" if source.startswith("fake:") else engine or "onnx"
        entry_of(engine)
        precision = precision or strategy_named(choice.name).precision
        self._spec = ModelSpec(
            *(source, revision, allow_download, choice.name),
            *(engine, precision, device, trust_remote_code),
        )
        self._truncate_dim = truncate_dim
        limits = Limits(load_timeout, keep_alive)
        instance = (pool or default_pool()).instance(self._spec, limits)
        super().__init__(instance, choice, on_progress)

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
        return self._truncate_dim or self._facts().dimension

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of a text, special tokens counted, without loading the model."""
        return self._facts().max_seq_length

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space: vectors may be compared when it is equal, and only then.

        Prepares the model if need be and, where only its engine can tell, loads it.
        """
        identity = self._identity()
        return f"{identity}-{self._truncate_dim}" if self._truncate_dim else identity

    def _identity(self) -> str:
        if entry_of(self._spec.engine).opened_from == "artifact":
            return card_of(prepare_artifact(self._spec)).fingerprint
        with self._instance.lease() as model:
            return model.card.fingerprint

    def _facts(self) -> Facts:
        foreseen = foresee(self._spec)
        if foreseen is not None:
            return foreseen
        with self._instance.lease() as model:  # its engine alone can tell
            return Facts(model.card.truncate_dim or model.card.dimension, sys.maxsize)

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
        with self._instance.lease(timeout, len(texts)) as model:
            cut = model.card.truncate_dim if cut is None else cut
            output = OutputFormat(precision, normalize_embeddings, cut)
            output.check(model.card.dimension, len(texts))
            before = _choose_prompt(model.card, prompt_name, prompt)
            with bar("Embedding", len(texts), shown=show_progress_bar) as advance:
                vectors = output.apply(_embed(model, texts, before, batch_size, advance))
        if isinstance(inputs, str):
            return vectors[0]
        return vectors if convert_to_numpy else list(vectors)

    async def aencode(
        self, inputs: str | Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> Any:
        """Do what `encode` does without holding up the event loop: neither load nor computation.

        Being cancelled harms nobody else who asks.
        """
        from hotstart.pool.waiting import in_thread, until_ready  # who awaits has asyncio

        await until_ready(self._instance, timeout)
        return await in_thread(self.encode, inputs, **options)

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


def _choose_prompt(card: Card, prompt_name: str | None, prompt: str | None) -> str:
    """The text to put before each input."""
    if prompt is not None:
        return prompt
    if prompt_name is None:
        return card.prompts.get(card.default_prompt_name or "", "")
    if prompt_name not in card.prompts and prompt_name not in _ROLES:
        known = ", ".join(dict.fromkeys([*card.prompts, *_ROLES]))
        raise InvalidInput("prompt_name", got=prompt_name, expected=f"one of {known}")
    return card.prompts.get(prompt_name, "")


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
