"""Texts in, vectors out. Read this file first: everything else stands behind one of its lines.

texts ──check──▶ cache: "their vectors, please" ──▶ pool: "the loaded model" ──▶ engine: run
 (encoding)       │ (embedding_cache, if any)        │
                  └─ near, far, or under way         └─ the first ask loads it:
                                                        models (find, prepare) ──▶ engines (open)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hotstart.ahead import Ahead
from hotstart.asking import Asking
from hotstart.deadline import Deadline
from hotstart.encoding import Encoding
from hotstart.errors import HotstartError, InvalidInput
from hotstart.pool.handle import Model
from hotstart.pool.pool import Pool, default_pool
from hotstart.pool.readiness import Readiness
from hotstart.pool.recipe import Limits
from hotstart.pool.specs import spec_of
from hotstart.progress import bar
from hotstart.types import Embedding, LoadingStrategy, Made, Precision, Progress

if TYPE_CHECKING:
    from hotstart.cache.embedding_cache import EmbeddingCache

DEFAULT_MODEL = "all-MiniLM-L6-v2"


class Embedder(Readiness, Ahead, Asking):
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
        engine: `onnx` (the default), `openvino`, `torch`, `static`; `openai:...`, `tei:...` and
            `hotstart:...` run on the engine `remote`, `fake:...` on `fake`.
        precision: of the weights, `float32` or `int8`; None for the strategy's.
        device: for the engine `torch`: `cpu`, `cuda`, `mps`; None for the best there is.
        trust_remote_code: for the engine `torch`: run code that the model's repository brings.
            It comes from here alone, never from a file or a request.
        truncate_dim: keep only this many leading dimensions of each vector.
        allow_download: let a load fetch a model that is not on this machine.
        load_timeout: seconds after which a load has failed.
        keep_alive: seconds without use after which the model's memory is given back.
        cache: where vectors are kept: `memory:64MB`, `sqlite:FILE`, `redis://HOST:PORT/0`, or an
            `EmbeddingCache`; None computes each anew.
        fallback: another model, which `answer` takes where this one gives nothing in time.
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
        cache: str | EmbeddingCache | None = None,
        fallback: str | Embedder | None = None,
        on_progress: Progress | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._spec, choice = spec_of(
            os.fspath(model),
            revision=revision,
            strategy=strategy,
            engine=engine,
            precision=precision,
            device=device,
            trust_remote_code=trust_remote_code,
            allow_download=allow_download,
        )
        instance = (pool or default_pool()).instance(self._spec, Limits(load_timeout, keep_alive))
        self._truncate_dim = truncate_dim
        self._model = Model(self._spec, instance)
        Ahead.__init__(self, self._spec, self._model, cache)
        Readiness.__init__(self, instance, choice, on_progress)
        self._fallback = (
            Embedder(fallback, cache=cache, pool=pool) if isinstance(fallback, str) else fallback
        )

    def __repr__(self) -> str:
        return f"Embedder({self.model!r}, state={self.state!r})"

    # What is known without loading ----------------------------------------------------------

    @property
    def model(self) -> str:
        """The model as it was named."""
        return self._spec.source

    @property
    def dimension(self) -> int:
        """Length of the vectors, without loading the model."""
        return self._truncate_dim or self._model.facts().dimension

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of a text, special tokens counted, without loading the model."""
        return self._model.facts().max_seq_length

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space: vectors may be compared when it is equal, and only then.

        Prepares the model if need be and, where only its engine can tell, loads it.
        """
        return self._cut(self._model.fingerprint())

    @property
    def fallback(self) -> Embedder | None:
        """What `answer` may fall back on, in a space of its own."""
        return self._fallback

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
        encoding = Encoding(
            inputs,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=self._truncate_dim if truncate_dim is None else truncate_dim,
        )
        return encoding.answer(*self._vectors(encoding, timeout)[:2])

    def _vectors(self, encoding: Encoding, timeout: float | None) -> Made:
        if self._recall and encoding.texts:
            return self._recall.vectors(encoding, timeout)
        count = len(encoding.texts)
        with bar("Embedding", count, shown=encoding.show_progress_bar) as advance:
            return self._model.embed(
                count, encoding.prompted, encoding.batch_size, timeout, advance
            )

    async def aencode(
        self, inputs: str | Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> Any:
        """Do what `encode` does without holding up the event loop: neither load nor computation.

        Calls that come together run together; a few texts never wait behind many. Being cancelled
        harms nobody else who asks.
        """
        return (await self.aanswer(inputs, timeout=timeout, **options)).vectors

    async def aanswer(
        self, inputs: str | Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> Embedding:
        """Return what `aencode` does together with whose vectors they are, and of how many tokens.

        `timeout` is for the vectors too; 0 asks for them if the model is ready at this moment.

        Raises:
            StillComputing: not within `timeout` seconds; what nobody awaits is not computed.
            Overloaded: more waits for the model than may.
            HotstartError: as `encode`.
        """
        options.setdefault("truncate_dim", self._truncate_dim)
        encoding = Encoding(inputs, **options)
        if self._recall and encoding.texts:
            made = await self._recall.avectors(encoding, timeout)
        elif encoding.runs_alone or self._model.waits:
            made = await self._model.apart(partial(self._vectors, encoding), timeout)
        else:
            made = await self._model.together(encoding.prompted, encoding.texts, timeout)
        return self._embedding(encoding, made)

    def answer(
        self,
        inputs: str | Sequence[str],
        *,
        accept_fallback: bool = False,
        timeout: float | None = None,
        **options: Any,
    ) -> Embedding:
        """Return the vectors of `inputs` together with whose they are. Options as `encode`.

        Args:
            inputs: one text, or a sequence of texts.
            accept_fallback: take the fallback's vectors, of a space of their own, where the model
                gives none in time. It is loaded while the model is asked.
            timeout: seconds to wait for the model; the fallback then answers if it is ready.
            options: of `encode`.

        Raises:
            HotstartError: as `encode`, of the last model that was asked.
        """
        spare = self._fallback if accept_fallback else None
        if spare:
            spare.load()
        deadline = Deadline(timeout)
        try:
            options.setdefault("truncate_dim", self._truncate_dim)
            encoding = Encoding(inputs, **options)
            made = self._vectors(encoding, timeout)
        except HotstartError as error:
            if spare is None or isinstance(error, InvalidInput):
                raise
            given = {name: value for name, value in options.items() if name != "truncate_dim"}
            fallen = spare.answer(inputs, accept_fallback=True, timeout=deadline.left, **given)
            return fallen._replace(reason=error.facts)
        return self._embedding(encoding, made)

    def count_tokens(self, texts: Sequence[str], *, timeout: float | None = None) -> int | None:
        """Return how many tokens of `texts` the model runs; None where its engine cannot tell.

        Raises:
            HotstartError: as `encode`.
        """
        return self._model.count(texts, timeout)

    def _embedding(self, encoding: Encoding, made: Made) -> Embedding:
        vectors, space = encoding.answer(*made[:2]), self._cut(made.card.fingerprint)
        return Embedding(vectors, self.model, self.engine, space, None, made.tokens)

    def _cut(self, fingerprint: str) -> str:
        return f"{fingerprint}-{self._truncate_dim}" if self._truncate_dim else fingerprint
