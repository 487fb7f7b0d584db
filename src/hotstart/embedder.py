"""Texts in, vectors out. Read this file first: everything else stands behind one of its lines.

texts ──check──▶ cache: "their vectors, please" ──▶ pool: "the loaded model" ──▶ engine: run
 (encoding)       │ (embedding_cache, if any)        │
                  └─ near, far, or under way         └─ the first ask loads it:
                                                        models (find, prepare) ──▶ engines (open)
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.concurrency import Deadline
from hotstart.encoding import EncodeRequest, check_texts
from hotstart.errors import HotstartError, InvalidInput
from hotstart.pool.handle import LoadableModel, ModelHandle
from hotstart.pool.loader import Limits, spec_of
from hotstart.pool.pool import Pool, default_pool
from hotstart.progress import bar
from hotstart.types import EmbeddingResult, EmbedOutput, LoadingStrategy, Precision, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from hotstart.cache.embedding_cache import EmbeddingCache
    from hotstart.cached_encoder import CachedEncoder, CacheInfo
    from hotstart.encoding import EncodeOptions
    from hotstart.telemetry import Metric

    class AskOptions(EncodeOptions, total=False):
        """The keyword options of `encode`, `timeout` included."""

        timeout: float | None


DEFAULT_MODEL = "all-MiniLM-L6-v2"
STREAM_WINDOW = 1024
"""Texts of a stream that are held at a time."""

_FIRST_CACHE = "memory:64MB"


class Embedder(LoadableModel):
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
        super().__init__(instance, choice, on_progress)
        self._model = ModelHandle(self._spec, instance)
        self._truncate_dim = truncate_dim
        self._cached = None if cache is None else self._behind(cache)
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
        info = self._model.unprepared_info()
        dimension = self._truncate_dim or info.truncate_dim or info.dimension
        assert dimension is not None, "the engine has told it"
        return dimension

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of a text, special tokens counted, without loading the model."""
        limit = self._model.unprepared_info().max_seq_length
        return sys.maxsize if limit is None else limit

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space: vectors may be compared when it is equal, and only then.

        Prepares the model if need be and, where only its engine can tell, loads it.
        """
        return self._cut(self._model.fingerprint())

    @property
    def fallback(self) -> Embedder | None:
        """The fallback of `embed`; its vectors belong to another space."""
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
            the dtypes of `precision` are told in `hotstart.encoding`.

        Raises:
            InvalidInput: an argument cannot be used.
            NotReady: the model was not ready in time; its load goes on.
            HotstartError: the load failed, for the reason it states.
        """
        request = EncodeRequest(
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
        return request.result(self._run(request, timeout))

    async def aencode(
        self,
        inputs: str | Sequence[str],
        *,
        timeout: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Do what `encode` does without blocking the event loop, by load or by computation.

        Calls that are awaited together run together; a few texts never wait behind many.
        Cancelling one call harms no other.
        """
        request = self._request(inputs, options)
        return request.result(await self._arun(request, timeout))

    def embed(
        self,
        inputs: str | Sequence[str],
        *,
        accept_fallback: bool = False,
        timeout: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> EmbeddingResult:
        """Return the vectors of `inputs` with their provenance.

        Args:
            inputs: one text, or a sequence of texts.
            accept_fallback: take the vectors of the fallback, which has a space of its own, where
                the model gives none in time. The fallback is loaded while the model computes.
            timeout: seconds to wait for the model; then the fallback answers if it is ready.
            options: of `encode`.

        Raises:
            HotstartError: as `encode`, of the last model that was asked.
        """
        fallback = self._start_fallback(accept_fallback)
        deadline = Deadline(timeout)
        try:
            request = self._request(inputs, options)
            return self._result(request, self._run(request, timeout))
        except HotstartError as error:
            if fallback is None or isinstance(error, InvalidInput):
                raise
            options.pop("truncate_dim", None)  # the fallback has dimensions of its own
            result = fallback.embed(inputs, accept_fallback=True, timeout=deadline.left, **options)
            return result._replace(reason=error.facts)

    async def aembed(
        self,
        inputs: str | Sequence[str],
        *,
        accept_fallback: bool = False,
        timeout: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> EmbeddingResult:
        """Do what `embed` does without blocking the event loop.

        `timeout` bounds the computation too; 0 waits for the vectors if the model is ready now.

        Raises:
            StillComputing: not within `timeout` seconds; what nobody awaits is not computed.
            Overloaded: more waits for the model than may.
            HotstartError: as `encode`, of the last model that was asked.
        """
        fallback = self._start_fallback(accept_fallback)
        deadline = Deadline(timeout)
        try:
            request = self._request(inputs, options)
            return self._result(request, await self._arun(request, timeout))
        except HotstartError as error:
            if fallback is None or isinstance(error, InvalidInput):
                raise
            options.pop("truncate_dim", None)  # the fallback has dimensions of its own
            result = await fallback.aembed(
                inputs, accept_fallback=True, timeout=deadline.left, **options
            )
            return result._replace(reason=error.facts)

    def count_tokens(self, texts: Sequence[str], *, timeout: float | None = None) -> int | None:
        """Return how many tokens of `texts` the model runs; None where its engine cannot tell.

        Raises:
            HotstartError: as `encode`.
        """
        return self._model.count(texts, timeout)

    # By role, as lists, as a stream ---------------------------------------------------------

    async def aencode_query(
        self, inputs: str | Sequence[str], **options: Unpack[AskOptions]
    ) -> Any:
        """Do what `encode_query` does without blocking the event loop."""
        return await self.aencode(inputs, **_with_prompt_name("query", options))

    async def aencode_document(
        self, inputs: str | Sequence[str], **options: Unpack[AskOptions]
    ) -> Any:
        """Do what `encode_document` does without blocking the event loop."""
        return await self.aencode(inputs, **_with_prompt_name("document", options))

    def encode_query(self, inputs: str | Sequence[str], **options: Unpack[AskOptions]) -> Any:
        """Encode questions: with the model's prompt `query`, if it has one. Options as `encode`."""
        return self.encode(inputs, **_with_prompt_name("query", options))

    def encode_document(self, inputs: str | Sequence[str], **options: Unpack[AskOptions]) -> Any:
        """Encode what is asked about: with the model's prompt `document`, if it has one."""
        return self.encode(inputs, **_with_prompt_name("document", options))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one question as a plain list."""
        vector: list[float] = self.encode_query(text).tolist()
        return vector

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts` as plain lists."""
        vectors: list[list[float]] = self.encode_document(texts).tolist()
        return vectors

    def encode_stream(
        self,
        inputs: Iterable[str],
        *,
        window: int = STREAM_WINDOW,
        **options: Unpack[AskOptions],
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

    # Cache and prefetch ---------------------------------------------------------------------

    def prefetch(
        self,
        text: str,
        *,
        namespace: str = "",
        supersedes: str | None = None,
        prompt_name: str | None = None,
    ) -> None:
        """Compute and cache the vector of `text` in the background; return at once.

        A text that is on its way already is not fetched twice. The newest goes first; where more
        than 64 wait, the oldest is dropped. Without a `cache`, one of 64 MB in memory is begun.

        Args:
            text: what will be asked for.
            namespace: what it is for: figures are told for each.
            supersedes: a text that nobody will ask for any more, as of partial speech; it is
                dropped if its turn has not come.
            prompt_name: as it will be asked for.
        """
        self._prefetching.prefetch(
            EncodeRequest(text, prompt_name=prompt_name), namespace, supersedes
        )

    async def await_prefetch(
        self, text: str, *, prompt_name: str | None = None, timeout: float | None = None
    ) -> bool:
        """Return whether the vector of `text` is there within `timeout` seconds.

        False at once where it was not asked for ahead, and false where it could not be made.
        """
        return await self._prefetching.is_fetched(
            EncodeRequest(text, prompt_name=prompt_name), timeout
        )

    @property
    def has_cache(self) -> bool:
        """Whether vectors are cached."""
        return self._cached is not None

    def cache_info(self) -> CacheInfo:
        """Return what cache and prefetch were good for so far."""
        return self._prefetching.info()

    def metrics(self) -> Iterator[Metric]:
        """Yield every count and time that is kept of this embedder, as it is now."""
        if self._cached:
            yield from self._cached.metrics()
        yield from self._model.metrics()

    @property
    def _prefetching(self) -> CachedEncoder:
        """The cached encoder; the first prefetch starts one in memory."""
        if self._cached is None:
            self._cached = self._behind(_FIRST_CACHE)
        return self._cached

    def _behind(self, cache: str | EmbeddingCache) -> CachedEncoder:
        from hotstart.cache.embedding_cache import (
            EmbeddingCache,  # only a cache needs it
        )
        from hotstart.cached_encoder import CachedEncoder

        kept = EmbeddingCache.shared(cache) if isinstance(cache, str) else cache
        return CachedEncoder(self._spec, self._model, kept)

    def _request(self, inputs: str | Sequence[str], options: EncodeOptions) -> EncodeRequest:
        if options.get("truncate_dim") is None:
            options = {**options, "truncate_dim": self._truncate_dim}
        return EncodeRequest(inputs, **options)

    def _run(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        if self._cached and request.inputs:
            return self._cached.embed(request, timeout)
        if not request.show_progress_bar:
            return self._model.embed(request, timeout)
        with bar("Embedding", len(request.inputs), shown=True) as advance:
            return self._model.embed(request, timeout, advance)

    async def _arun(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        if self._cached and request.inputs:
            return await self._cached.aembed(request, timeout)
        if request.runs_alone or self._model.waits:
            return await self._model.in_thread(self._run, request, timeout)
        return await self._model.together(request, timeout)

    def _start_fallback(self, accept_fallback: bool) -> Embedder | None:
        if not accept_fallback or self._fallback is None:
            return None
        self._fallback.start_loading()
        return self._fallback

    def _result(self, request: EncodeRequest, output: EmbedOutput) -> EmbeddingResult:
        return EmbeddingResult(
            vectors=request.result(output),
            model=self.model,
            engine=self.engine,
            fingerprint=self._cut(output.info.fingerprint),
            reason=None,
            tokens=output.tokens,
        )

    def _cut(self, fingerprint: str) -> str:
        return f"{fingerprint}-{self._truncate_dim}" if self._truncate_dim else fingerprint


def _with_prompt_name(role: str, options: AskOptions) -> AskOptions:
    """Return `options` with the prompt called `role`, unless they name another."""
    return {**options, "prompt_name": options.get("prompt_name") or role}


_lock = threading.Lock()
_provider: list[Embedder] = []  # empty until the first call decides


def preload_embeddings(model: str = DEFAULT_MODEL, *, strategy: str = "progressive") -> None:
    """Begin to load the program's embedder in the background; return in under a millisecond.

    The first call, of this or of `get_embedding_provider`, decides model and strategy.
    """
    _get(model, strategy).start_loading()


def get_embedding_provider(timeout: float | None = None) -> Embedder | None:
    """Return the program's embedder, the same everywhere, once it is ready.

    None where its load failed, or did not end within `timeout` seconds.
    """
    embedder = _get(DEFAULT_MODEL, "progressive")
    try:
        return embedder if embedder.wait_ready(timeout) else None
    except HotstartError:
        return None


def _get(model: str, strategy: str) -> Embedder:
    with _lock:
        if not _provider:
            _provider.append(Embedder(model, strategy=strategy))
        return _provider[0]
