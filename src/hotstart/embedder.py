"""`Embedder`: texts to vectors, by way of cache and pool. Read this file first.

texts ──check──▶ cache: known vectors ──▶ pool: loaded model ──▶ engine: run
 (encoding)       (if there is one)        └─ the first call loads it:
                                              models (find) ──▶ preparation ──▶ engines (open)

The file is long because one class has the methods of sentence-transformers, of LangChain and their
coroutines. Each checks its arguments and calls `_run` or `_arun`; what they do is elsewhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.concurrency import Deadline
from hotstart.encoding import EncodeRequest, check_texts, cosine_similarity
from hotstart.engines import engine_for
from hotstart.errors import HotstartError, InvalidInput, InvalidText, check_count
from hotstart.pool.handle import LoadableModel, ModelHandle
from hotstart.pool.loader import Limits, spec_of
from hotstart.pool.pool import Pool, default_pool
from hotstart.progress import bar
from hotstart.ragged import multi_vectors, sparse_embeddings
from hotstart.types import EmbeddingResult, EmbedOutput, LoadingStrategy, Precision, Progress

if TYPE_CHECKING:
    from typing_extensions import TypedDict, Unpack

    from hotstart.cache.embedding_cache import EmbeddingCache
    from hotstart.cached_encoder import CachedEncoder, CacheInfo
    from hotstart.encoding import EncodeOptions
    from hotstart.telemetry import Metric
    from hotstart.types import Coverage

    class AskOptions(EncodeOptions, total=False):
        """The keyword options of `encode` with `timeout`."""

        timeout: float | None

    class RowOptions(TypedDict, total=False):
        """The keyword options of `encode_sparse` and `encode_multi_vector`."""

        prompt_name: str | None
        prompt: str | None
        batch_size: int | None
        show_progress_bar: bool


DEFAULT_MODEL = "all-MiniLM-L6-v2"
STREAM_WINDOW = 1024
"""Texts of a stream that are embedded together."""

_FIRST_CACHE = "memory:64MB"


class Embedder(LoadableModel):
    """An embedding model by name. The constructor loads nothing; the methods are thread-safe.

    Embedders of one model share one loaded instance in the process. The first one sets strategy,
    load_timeout and keep_alive.

    Args:
        model: a known name (`all-MiniLM-L6-v2`), a repository of the hub (`owner/name`), or a
            folder as sentence-transformers saves it.
        revision: commit, tag or branch of a hub repository.
        strategy: when and in which stages the model is loaded: a `LoadingStrategy` or its name;
            None for HOTSTART_STRATEGY, hotstart.toml, else `lazy`; `auto` chooses by the machine.
        kind: what the strategy loads and the state is of: `embedding`, `sparse` or `multi_vector`.
            A model of one kind alone needs it where the load is to begin before the first call.
        engine: `onnx` (the default), `openvino`, `torch`, `static`; `openai:...`, `tei:...` and
            `hotstart:...` run on the engine `remote`, `fake:...` on `fake`.
        precision: of weights and matrix products: `float32`, `int8`, or `bfloat16` (engine
            `openvino` on a CPU with AMX or AVX512-BF16); None for the strategy's.
        device: for the engine `torch`: `cpu`, `cuda`, `mps`; None for the best available.
        trust_remote_code: for the engine `torch`: run code of the model's repository. Only this
            argument enables it, never a file or a request.
        file: the ONNX file of the model to run, such as `onnx/model_fp16.onnx`; None to build a
            graph over the weights where that is possible, or else for the best one.
        truncate_dim: keep only this many leading dimensions of each vector.
        allow_download: let a load download a model that is not on this machine.
        load_timeout: seconds after which a load fails.
        keep_alive: seconds without use after which the model is unloaded.
        cache: where vectors are stored: `memory:64MB`, `sqlite:FILE`, `redis://HOST:PORT/0`, or an
            `EmbeddingCache`; None for no cache.
        fallback: the model that `embed` uses if this one does not answer in time.
        on_progress: called by the loading thread with stage and fraction.
        pool: owner of the loaded model; by default the pool of the process.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        strategy: str | LoadingStrategy | None = None,
        kind: str = "embedding",
        engine: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        file: str | None = None,
        truncate_dim: int | None = None,
        allow_download: bool = False,
        load_timeout: float | None = None,
        keep_alive: float | None = None,
        cache: str | EmbeddingCache | None = None,
        fallback: str | Embedder | None = None,
        on_progress: Progress | None = None,
        pool: Pool | None = None,
    ) -> None:
        of_spec: dict[str, Any] = {
            "kind": kind,
            "revision": revision,
            "strategy": strategy,
            "engine": engine,
            "precision": precision,
            "device": device,
            "trust_remote_code": trust_remote_code,
            "allow_download": allow_download,
            "file": file,
        }
        self._spec, choice = spec_of(model, **of_spec)
        check_count("truncate_dim", truncate_dim, optional=True)
        if not isinstance(fallback, (str, Embedder, type(None))):
            raise InvalidInput("fallback", got=fallback, expected="an Embedder or a model name")
        self._limits = Limits.checked(load_timeout, keep_alive)
        self._pool = pool or default_pool()
        instance = self._pool.instance(self._spec, self._limits)
        arguments = of_spec | {
            "model": self._spec.source,
            "truncate_dim": truncate_dim,
            "load_timeout": load_timeout,
            "keep_alive": keep_alive,
            "cache": cache,
            "fallback": fallback,
            "on_progress": on_progress,
            "pool": pool,
        }
        super().__init__(instance, choice, on_progress, arguments)
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
        """The name of the model, as the constructor got it."""
        return self._spec.source

    @property
    def dimension(self) -> int:
        """Length of the vectors, without loading the model."""
        info = self._model.unprepared_info()
        dimension = self._truncate_dim or info.truncate_dim or info.dimension
        assert dimension is not None, "the engine has told it"
        return dimension

    @property
    def max_seq_length(self) -> int | None:
        """Tokens kept of a text, special tokens included, without loading the model.

        None for a model without a limit, such as a static one.
        """
        return self._model.unprepared_info().max_seq_length

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space. Compare only vectors of equal fingerprint.

        Prepares the model if needed; loads it if only its engine knows the fingerprint.
        """
        return self._cut(self._model.prepared_info().fingerprint)

    @property
    def comparable_with(self) -> str | None:
        """Fingerprint of the float32 space that search may compare these vectors with, or None.

        A model in 8 bits has it if the preparation measured a cosine of at least 0.999 to float32
        for each probe. Prepares the model if needed.
        """
        space = self._model.prepared_info().comparable_with
        return None if space is None else self._cut(space)

    @property
    def fallback(self) -> Embedder | None:
        """The fallback of `embed`; its vectors belong to another vector space."""
        return self._fallback

    # Vectors --------------------------------------------------------------------------------

    def encode(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        precision: Precision = "float32",
        convert_to_numpy: bool | None = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        task: str | None = None,
        device: str | None = None,
        sentences: str | Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Return the vectors of `inputs`, as sentence-transformers' `encode` does.

        Args:
            inputs: one text, or a sequence or an array of texts.
            prompt_name: name of the model's prompt that is put before each text; by default its
                default prompt, if it has one.
            prompt: put before each text; overrides `prompt_name`.
            batch_size: maximal number of texts in a batch; by default limited by a token budget.
            show_progress_bar: draw a bar on the terminal.
            precision: `float32`; `int8` or `uint8` (steps of each dimension's range over these
                inputs); `binary` or `ubinary` (one bit a dimension).
            convert_to_numpy: False gives lists of floats, None a `Matrix`; neither needs NumPy.
            convert_to_tensor: return a torch tensor; this alone imports torch.
            normalize_embeddings: scale each vector to length 1.
            truncate_dim: keep only this many leading dimensions; overrides the constructor's.
            task: `query` or `document`: chooses the prompt unless the call names one, and the
                encoder of a model that has one for each.
            device: where a tensor is put; the model runs where the constructor says.
            sentences: the name of `inputs` in older sentence-transformers.
            timeout: seconds to wait for the model; None for no limit.

        Returns:
            float32 (dimension,) for one text, (n, dimension) for n texts, n = 0 included; see
            `hotstart.encoding.quantize` for the dtypes of `precision`.

        Raises:
            InvalidInput: an argument cannot be used.
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load failed.
        """
        request = EncodeRequest(
            _given(inputs, sentences),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=self._truncate_dim if truncate_dim is None else truncate_dim,
            task=task,
        )
        return _converted(request.result(self._run(request, timeout)), convert_to_tensor, device)

    def similarity(self, left: Any, right: Any) -> Any:
        """Return the cosine of each vector of `left` with each of `right`, float32 (n, m).

        As in sentence-transformers: one vector is a matrix of one row, and tensors give a tensor.
        """
        is_tensor = hasattr(left, "detach")
        arrays = [each.detach().cpu() if is_tensor else each for each in (left, right)]
        return _converted(cosine_similarity(arrays[0], arrays[1]), is_tensor, None)

    def get_sentence_embedding_dimension(self) -> int:
        """Return `dimension`, under its name in sentence-transformers."""
        return self.dimension

    async def aencode(
        self,
        inputs: str | Sequence[str] | None = None,
        *,
        sentences: str | Sequence[str] | None = None,
        convert_to_tensor: bool = False,
        device: str | None = None,
        timeout: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Await the vectors of `inputs`; see `encode`.

        Concurrent calls share batches; a few texts never wait behind many. Cancelling one call
        does not affect others.
        """
        request = self._request(_given(inputs, sentences), options)
        result = request.result(await self._arun(request, timeout))
        return _converted(result, convert_to_tensor, device)

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
            accept_fallback: return the vectors of the fallback, which has another vector space, if
                the model does not answer in time. The fallback loads meanwhile.
            timeout: seconds to wait for the model; then the fallback answers if it is ready.
            options: see `encode`.

        Raises:
            HotstartError: see `encode`; of the fallback, if it was used.
        """
        fallback = self._start_fallback(accept_fallback)
        deadline = Deadline(timeout)
        try:
            request = self._request(inputs, options)
            return self._result(request, self._run(request, timeout))
        except HotstartError as error:
            if fallback is None or isinstance(error, InvalidInput):
                raise
            options.pop(
                "truncate_dim", None
            )  # truncate_dim belongs to the model, not to its fallback
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
        """Await the vectors of `inputs` with their provenance; see `embed`.

        `timeout` bounds the computation too; with 0 the call waits only if the model is ready.

        Raises:
            StillComputing: the vectors were not ready within `timeout` seconds; texts that no call
                awaits are not computed.
            Overloaded: too many texts wait for the model.
            HotstartError: see `encode`; of the fallback, if it was used.
        """
        fallback = self._start_fallback(accept_fallback)
        deadline = Deadline(timeout)
        try:
            request = self._request(inputs, options)
            return self._result(request, await self._arun(request, timeout))
        except HotstartError as error:
            if fallback is None or isinstance(error, InvalidInput):
                raise
            options.pop(
                "truncate_dim", None
            )  # truncate_dim belongs to the model, not to its fallback
            result = await fallback.aembed(
                inputs, accept_fallback=True, timeout=deadline.left, **options
            )
            return result._replace(reason=error.facts)

    def count_tokens(self, texts: Sequence[str], *, timeout: float | None = None) -> int | None:
        """Return the number of tokens of `texts`; None if the engine cannot tell.

        Raises:
            HotstartError: see `encode`.
        """
        return self._model.count(texts, timeout)

    def coverage(self, text: str) -> Coverage | None:
        """Return how the tokenizer reads `text`; None unless the model is loaded and can tell."""
        return self._model.coverage(text)

    def check_lengths(self, texts: Sequence[str], *, timeout: float | None = None) -> None:
        """Raise InvalidText for a text that is longer than the model reads.

        Engines without a tokenizer of their own cannot tell, and refuse none.

        Raises:
            HotstartError: see `encode`.
        """
        for position in self._model.too_long(texts, timeout):
            reason = f"it has more tokens than the model reads, {self.max_seq_length}"
            raise InvalidText(position, reason=reason, remedy="Shorten it, or let it be cut")

    # Sparse and multi-vector ----------------------------------------------------------------

    def encode_sparse(
        self,
        inputs: str | Sequence[str],
        *,
        task: str | None = None,
        max_active_dims: int | None = None,
        timeout: float | None = None,
        **options: Unpack[RowOptions],
    ) -> Any:
        """Return the sparse embeddings of `inputs`: the weights over the vocabulary.

        For SPLADE models and bge-m3. The model of this kind is loaded beside the dense one, if
        both are used, over the same weights. Sparse embeddings are not cached.

        Args:
            inputs: one text, or a sequence of texts.
            task: `query` or `document`, as `encode_query` and `encode_document` of
                sentence-transformers' SparseEncoder; None for its `encode`.
            max_active_dims: keep only so many of the largest values of each text.
            timeout: seconds to wait for the model; None for no limit.
            options: `prompt_name`, `prompt`, `batch_size` and `show_progress_bar` of `encode`.

        Returns:
            A `SparseEmbedding` with `indices` and `values` for one text, a list of them for more.

        Raises:
            UnsupportedModel: the model has no sparse embeddings.
            HotstartError: see `encode`.
        """
        request = EncodeRequest(inputs, task=task, **options)
        output = self._run_rows("sparse", request, timeout)
        found = sparse_embeddings(output, max_active_dims)
        return found[0] if isinstance(inputs, str) else found

    async def aencode_sparse(
        self,
        inputs: str | Sequence[str],
        *,
        task: str | None = None,
        max_active_dims: int | None = None,
        timeout: float | None = None,
        **options: Unpack[RowOptions],
    ) -> Any:
        """Await the sparse embeddings of `inputs`; see `encode_sparse`."""
        request = EncodeRequest(inputs, task=task, **options)
        output = await self._arun_rows("sparse", request, timeout)
        found = sparse_embeddings(output, max_active_dims)
        return found[0] if isinstance(inputs, str) else found

    def encode_multi_vector(
        self,
        inputs: str | Sequence[str],
        *,
        task: str | None = None,
        timeout: float | None = None,
        **options: Unpack[RowOptions],
    ) -> Any:
        """Return a vector for each token of `inputs`, for late interaction (ColBERT, bge-m3).

        Args:
            inputs: one text, or a sequence of texts.
            task: `query` or `document`, as `encode_query` and `encode_document` of
                sentence-transformers' MultiVectorEncoder; None for its `encode`. ColBERT models
                mark queries and documents, fill queries up, and leave out punctuation of documents.
            timeout: seconds to wait for the model; None for no limit.
            options: see `encode_sparse`.

        Returns:
            float32 (tokens, dimension) for one text, a list of such arrays for more; see
            `hotstart.maxsim`.

        Raises:
            UnsupportedModel: the model has no multi-vector embeddings.
            HotstartError: see `encode`.
        """
        request = EncodeRequest(inputs, task=task, **options)
        found = multi_vectors(self._run_rows("multi_vector", request, timeout))
        return found[0] if isinstance(inputs, str) else found

    async def aencode_multi_vector(
        self,
        inputs: str | Sequence[str],
        *,
        task: str | None = None,
        timeout: float | None = None,
        **options: Unpack[RowOptions],
    ) -> Any:
        """Await a vector for each token of `inputs`; see `encode_multi_vector`."""
        request = EncodeRequest(inputs, task=task, **options)
        found = multi_vectors(await self._arun_rows("multi_vector", request, timeout))
        return found[0] if isinstance(inputs, str) else found

    # By role, as lists, as a stream ---------------------------------------------------------

    async def aencode_query(
        self, inputs: str | Sequence[str], **options: Unpack[AskOptions]
    ) -> Any:
        """Await the vectors of questions; see `encode_query`."""
        return await self.aencode(inputs, **_with_task("query", options))

    async def aencode_document(
        self, inputs: str | Sequence[str], **options: Unpack[AskOptions]
    ) -> Any:
        """Await the vectors of documents; see `encode_document`."""
        return await self.aencode(inputs, **_with_task("document", options))

    def encode_query(self, inputs: str | Sequence[str], **options: Unpack[AskOptions]) -> Any:
        """Encode questions: with the model's prompt and its encoder of questions, if any."""
        return self.encode(inputs, **_with_task("query", options))

    def encode_document(self, inputs: str | Sequence[str], **options: Unpack[AskOptions]) -> Any:
        """Encode documents: with the model's prompt and its encoder of documents, if any."""
        return self.encode(inputs, **_with_task("document", options))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one question as a list of floats."""
        vector: list[float] = self.encode_query(text, convert_to_numpy=False)
        return vector

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts` as lists of floats."""
        vectors: list[list[float]] = self.encode_document(texts, convert_to_numpy=False)
        return vectors

    def encode_stream(
        self,
        inputs: Iterable[str],
        *,
        window: int = STREAM_WINDOW,
        **options: Unpack[AskOptions],
    ) -> Iterator[Any]:
        """Yield the vector of each of `inputs` in order, computing `window` of them at a time.

        `inputs` may be endless. Options: see `encode`. `int8` and `uint8` are refused, because each
        window would have other steps.
        """
        if options.get("precision") in {"int8", "uint8"}:
            raise InvalidInput(
                "precision", got=options["precision"], expected="float32, binary or ubinary"
            )
        check_count("window", window)
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

        A text that is being computed is not computed twice. The newest text goes first; if more
        than 64 wait, the oldest is dropped. Without a `cache`, one of 64 MB in memory is created.

        Args:
            text: the text of the later call.
            namespace: label of the metrics.
            supersedes: a text that is no longer needed, for example partial speech; it is dropped
                if it still waits.
            prompt_name: the prompt of the later call.
        """
        self._prefetching.prefetch(_prefetched(text, prompt_name), namespace, supersedes)

    async def await_prefetch(
        self, text: str, *, prompt_name: str | None = None, timeout: float | None = None
    ) -> bool:
        """Return whether the vector of `text` is cached within `timeout` seconds.

        False at once if it is not being prefetched; false if its computation failed.
        """
        return await self._prefetching.is_fetched(_prefetched(text, prompt_name), timeout)

    @property
    def has_cache(self) -> bool:
        """Whether vectors are cached."""
        return self._cached is not None

    def cache_info(self) -> CacheInfo:
        """Return the counts of cache and prefetch."""
        return self._prefetching.info()

    def metrics(self) -> Iterator[Metric]:
        """Yield every metric of this embedder."""
        if self._cached:
            yield from self._cached.metrics()
        yield from self._model.metrics()

    @property
    def _prefetching(self) -> CachedEncoder:
        """Return the cached encoder; the first prefetch creates one in memory."""
        if self._cached is None:
            self._cached = self._behind(_FIRST_CACHE)
        return self._cached

    def _behind(self, cache: str | EmbeddingCache) -> CachedEncoder:
        from hotstart.cache.embedding_cache import (
            EmbeddingCache,  # only a cache needs it
        )
        from hotstart.cached_encoder import CachedEncoder

        kept = EmbeddingCache.shared(cache) if isinstance(cache, str) else cache
        if not isinstance(kept, EmbeddingCache):
            raise InvalidInput("cache", got=cache, expected="an EmbeddingCache or an address")
        return CachedEncoder(self._spec, self._model, kept)

    def _request(self, inputs: str | Sequence[str], options: EncodeOptions) -> EncodeRequest:
        if options.get("truncate_dim") is None:
            options = {**options, "truncate_dim": self._truncate_dim}
        return EncodeRequest(inputs, **options)

    def _of_kind(self, kind: str) -> ModelHandle:
        """Return the model of `kind`. Raises InvalidInput if its engine does not run that kind."""
        if kind == self._spec.kind:
            return self._model
        spec = self._spec.replace(kind=kind, engine=engine_for(self.model, self._spec.engine, kind))
        return ModelHandle(spec, self._pool.instance(spec, self._limits))

    def _run_rows(self, kind: str, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        model = self._of_kind(kind)
        if not request.show_progress_bar:
            return model.embed(request, timeout)
        with bar("Embedding", len(request.inputs), shown=True) as advance:
            return model.embed(request, timeout, advance)

    async def _arun_rows(
        self, kind: str, request: EncodeRequest, timeout: float | None
    ) -> EmbedOutput:
        if request.runs_alone:
            run = partial(self._run_rows, kind)
            return await self._of_kind(kind).in_thread(run, request, timeout)
        return await self._of_kind(kind).together(request, timeout)

    def _check_kind(self) -> None:
        """Raise InvalidInput unless this model gives dense vectors."""
        if self._spec.kind != "embedding":
            other = "Reranker" if self._spec.kind == "reranker" else f"encode_{self._spec.kind}"
            expected = f"embedding for dense vectors; {other} gives others"
            raise InvalidInput("kind", got=self._spec.kind, expected=expected)

    def _run(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        self._check_kind()
        if self._cached and request.inputs:
            return self._cached.embed(request, timeout)
        if not request.show_progress_bar:
            return self._model.embed(request, timeout)
        with bar("Embedding", len(request.inputs), shown=True) as advance:
            return self._model.embed(request, timeout, advance)

    async def _arun(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        self._check_kind()
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
        space = output.info.comparable_with
        return EmbeddingResult(
            vectors=request.result(output),
            model=self.model,
            engine=self.engine,
            fingerprint=self._cut(output.info.fingerprint),
            reason=None,
            tokens=output.tokens,
            comparable_with=None if space is None else self._cut(space),
            similarity_scale=output.info.similarity_scale,
        )

    def _cut(self, fingerprint: str) -> str:
        return f"{fingerprint}-{self._truncate_dim}" if self._truncate_dim else fingerprint


def _given(
    inputs: str | Sequence[str] | None, sentences: str | Sequence[str] | None
) -> str | Sequence[str]:
    """Return the texts under either name. Raises InvalidInput."""
    if inputs is not None and sentences is not None:
        raise InvalidInput("sentences", got=sentences, expected="None where inputs are given")
    texts = sentences if inputs is None else inputs
    if texts is None:
        raise InvalidInput("inputs", got=None, expected="a string, or a list of strings")
    return texts


def _prefetched(text: str, prompt_name: str | None) -> EncodeRequest:
    """Return the later call of `text`: `encode_query` and `encode_document` name a task."""
    task = prompt_name if prompt_name in {"query", "document"} else None
    return EncodeRequest(text, prompt_name=prompt_name, task=task)


def _converted(vectors: Any, to_tensor: bool, device: str | None) -> Any:
    if not to_tensor:
        return vectors
    from hotstart.engines.torch import as_tensor  # it alone imports torch

    return as_tensor(vectors, device)


def _with_task(task: str, options: AskOptions) -> AskOptions:
    return {**options, "task": task}


_lock = threading.Lock()
_provider: list[Embedder] = []  # None until the first call


def preload_embeddings(model: str = DEFAULT_MODEL, *, strategy: str = "progressive") -> None:
    """Start to load the embedder of the process in the background; return at once.

    The first call of this function or of `get_embedding_provider` sets model and strategy.
    """
    _get(model, strategy).start_loading()


def get_embedding_provider(timeout: float | None = None) -> Embedder | None:
    """Return the embedder of the process once it is ready.

    None if its load failed or did not end within `timeout` seconds.
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
