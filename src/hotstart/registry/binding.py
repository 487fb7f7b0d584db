"""Bind a configured model to an instance of the pool; validate what it loads.

configuration ──▶ Binding: key, instance, size ──▶ ServedEmbedder, ServedReranker or ServedObject

Callers get an `Embedder` or a `Reranker` over the instance, or, for every other kind, the loaded
object. The check before a version serves is in this file too, because it calls the version as its
callers do.
"""

from __future__ import annotations

import functools
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.concurrency import Deadline
from hotstart.errors import (
    CheckFailed,
    InvalidInput,
    PredictionFailed,
    PredictionTimeout,
    ReadinessError,
    described,
)
from hotstart.kinds import Kind, ModelSource, kind_named
from hotstart.kinds.files import bytes_on_disk
from hotstart.models.spec import ModelSpec, check_kind
from hotstart.pool.instance import Instance
from hotstart.pool.loader import Limits, ModelFactory, factory_of
from hotstart.pool.pool import Pool
from hotstart.registry.config import ModelCheck, ModelConfig
from hotstart.scoring import ScoreRequest
from hotstart.system import return_freed_memory
from hotstart.types import EmbeddingResult, EmbedOutput, ModelInfo, Progress, Stage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from hotstart.cached_encoder import CacheInfo
    from hotstart.embedder import Embedder
    from hotstart.encoding import EncodeOptions
    from hotstart.pool.loader import LoadedModel
    from hotstart.reranker import Reranker
    from hotstart.scoring import RankOptions
    from hotstart.telemetry import Metric

ENTIRELY = math.inf
"""Of answers that do not have the same shape, or differ in what is no number."""


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference between corresponding numbers of two answers.

    Return 0 for equal values, NaN and None included; `ENTIRELY` if shapes, keys or non-numbers
    differ.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return ENTIRELY
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if _is_sequence(one) and _is_sequence(other):
        if len(one) != len(other):
            return ENTIRELY
        return max((difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if _is_number(one) and _is_number(other):
        if one == other or (math.isnan(one) and math.isnan(other)):
            return 0.0
        distance = abs(one - other)
        return ENTIRELY if math.isnan(distance) else float(distance)
    return 0.0 if one == other else ENTIRELY


def is_finite(answer: Any) -> bool:
    """Return whether every number of `answer` is a finite one."""
    answer = _plain(answer)
    if isinstance(answer, Mapping):
        return all(map(is_finite, answer.values()))
    if _is_sequence(answer):
        return all(map(is_finite, answer))
    return not _is_number(answer) or math.isfinite(answer)


def _plain(answer: Any) -> Any:
    """Return NumPy arrays and numbers as Python objects."""
    return answer.tolist() if hasattr(answer, "tolist") else answer


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


Embed = Callable[[Sequence[Any]], Any]
CheckLoaded = Callable[[str, Embed, ModelInfo, Sequence[ModelCheck]], None]
"""Raises CheckFailed for what an engine of that info makes of texts, or of pairs."""

_PROBE = "hotstart"  # the input of every embedding check


def check_answers(name: str, predict: Callable[[Any], Any], checks: Sequence[ModelCheck]) -> None:
    """Run each of `checks`; the first one also warms up the model.

    Raises:
        CheckFailed: an answer differs from the expected one or has a number that is not finite, or
            the model raised an error.
    """
    for check in checks:
        try:
            answer = predict(check.input)
        except Exception as error:
            reason = f"it raised {described(error)}"
            raise CheckFailed(name, question=check.input, reason=reason) from error
        fault = _fault(answer, check)
        if fault:
            raise CheckFailed(name, question=check.input, reason=fault)


def check_vectors(name: str, embed: Embed, info: ModelInfo, checks: Sequence[ModelCheck]) -> None:
    """Embed a probe, whose vector must be finite and have the model's dimension; run the checks."""
    vector = embed([_PROBE]).tolist()[0]
    if not is_finite(vector):
        raise CheckFailed(name, question=_PROBE, reason="its vector is not finite")
    if info.dimension is not None and len(vector) != info.dimension:
        reason = f"its vector has {len(vector)} dimensions, not {info.dimension}"
        raise CheckFailed(name, question=_PROBE, reason=reason)
    check_answers(name, lambda text: embed([text]).tolist()[0], checks)


def check_scores(name: str, embed: Embed, info: ModelInfo, checks: Sequence[ModelCheck]) -> None:
    """Score a probe, whose logits must be finite; run the checks."""
    if not is_finite(embed([(_PROBE, _PROBE)]).tolist()):
        raise CheckFailed(name, question=_PROBE, reason="its scores are not finite")

    def score(inputs: Any) -> Any:
        request = ScoreRequest(inputs)
        return request.result(EmbedOutput(embed(request.inputs), info))

    check_answers(name, score, checks)


def _fault(answer: Any, check: ModelCheck) -> str | None:
    if check.output is None:
        return None if is_finite(answer) else "an answer has numbers that are not finite"
    apart = difference(answer, check.output)
    if apart <= check.tolerance:
        return None
    how = "entirely" if apart == ENTIRELY else f"by {apart:g}, tolerated is {check.tolerance:g}"
    return f"it answered {answer!r}, not {check.output!r} (apart {how})"


class Binding(NamedTuple):
    """The place of a version in the pool.

    Attributes:
        key: of the instance in the pool.
        instance: loads and unloads the version.
        pool: holds the instance.
    """

    key: Hashable
    instance: Instance[Any]
    pool: Pool

    @property
    def size(self) -> int:
        """Approximate bytes that the version takes while it is loaded."""
        return self.pool.size(self.key)


class Served(ABC):
    """A version bound to its instance. Each kind of model has a subclass that answers calls.

    Attributes:
        binding: the place of the version in the pool.
    """

    binding: Binding

    @abstractmethod
    def model(self, loaded: Any) -> Any:
        """Return what callers get while `loaded` is in the instance."""

    @property
    def handle(self) -> Any:
        """The `Embedder` or `Reranker`, loaded or not; None for any other kind."""
        return None

    @abstractmethod
    def predict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the answer to `inputs`, waiting at most `timeout` seconds for the model.

        Raises:
            NotReady: the model was not ready in time.
            HotstartError: the load failed, or the model does not take `inputs`.
        """

    @abstractmethod
    async def apredict(self, inputs: Any, timeout: float | None) -> Any:
        """Await the answer to `inputs`; see `predict`."""

    async def aembed(
        self, texts: Sequence[str], options: EncodeOptions, timeout: float | None
    ) -> EmbeddingResult:
        """Return the vectors of `texts` with their provenance.

        Raises:
            InvalidInput: this is not an embedding model.
            HotstartError: see `Embedder.aembed`.
        """
        raise InvalidInput("model", got="a model without vectors", expected="an embedding model")

    async def arank(
        self, query: str, documents: Sequence[str], options: RankOptions, timeout: float | None
    ) -> list[dict[str, Any]]:
        """Return the positions and scores of `documents`, best first.

        Raises:
            InvalidInput: this is not a reranker.
            HotstartError: see `Reranker.arank`.
        """
        raise InvalidInput("model", got="a model that ranks nothing", expected="a reranker")

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics that the model itself keeps."""
        return iter(())

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None for a model without vectors."""
        return None

    @property
    def engine(self) -> str | None:
        """The engine that runs an embedding model; None for any other kind."""
        return None

    @property
    def precision(self) -> str | None:
        """The precision of an embedding model's weights; None for any other kind."""
        return None

    def cache_info(self) -> CacheInfo | None:
        """Return the use of the model's vector cache; None without a cache."""
        return None


class ServedEmbedder(Served):
    """An embedding model. Callers get its `Embedder`, created at first use."""

    def __init__(self, binding: Binding, spec: ModelSpec, make: Callable[[], Embedder]) -> None:
        self.binding = binding
        self._spec = spec
        self._make = make

    @functools.cached_property
    def handle(self) -> Embedder:
        """The `Embedder`, loaded or not."""
        return self._make()

    def model(self, loaded: Any) -> Embedder:
        """Return the `Embedder`, which leases the instance itself."""
        return self.handle

    def predict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the vectors of `inputs` as `Embedder.encode` does."""
        return self.handle.encode(inputs, timeout=timeout)

    async def apredict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the vectors of `inputs` as `Embedder.aencode` does."""
        return await self.handle.aencode(inputs, timeout=timeout)

    async def aembed(
        self, texts: Sequence[str], options: EncodeOptions, timeout: float | None
    ) -> EmbeddingResult:
        """Return the vectors of `texts` with their provenance."""
        return await self.handle.aembed(texts, timeout=timeout, **options)

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of the model's queues and cache."""
        return self.handle.metrics()

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self.handle.dimension

    @property
    def engine(self) -> str | None:
        """The engine that runs the model."""
        return self.handle.engine

    @property
    def precision(self) -> str:
        """The precision, a value of `KINDS`, known without loading the model."""
        return self._spec.precision

    def cache_info(self) -> CacheInfo | None:
        """Return the use of the vector cache; None without a cache."""
        return self.handle.cache_info() if self.handle.has_cache else None


class ServedReranker(Served):
    """A reranker. Callers get its `Reranker`, created at first use."""

    def __init__(self, binding: Binding, make: Callable[[], Reranker]) -> None:
        self.binding = binding
        self._make = make

    @functools.cached_property
    def handle(self) -> Reranker:
        """The `Reranker`, loaded or not."""
        return self._make()

    def model(self, loaded: Any) -> Reranker:
        """Return the `Reranker`, which leases the instance itself."""
        return self.handle

    def predict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the scores of `inputs` as `Reranker.predict` does."""
        return self.handle.predict(inputs, timeout=timeout)

    async def apredict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the scores of `inputs` as `Reranker.apredict` does."""
        return await self.handle.apredict(inputs, timeout=timeout)

    async def arank(
        self, query: str, documents: Sequence[str], options: RankOptions, timeout: float | None
    ) -> list[dict[str, Any]]:
        """Return the positions and scores of `documents`, best first."""
        return await self.handle.arank(query, documents, timeout=timeout, **options)


class ServedObject(Served):
    """A model of any other kind. Callers get the loaded object."""

    def __init__(self, binding: Binding, kind: Kind, source: ModelSource) -> None:
        self.binding = binding
        self._kind = kind
        self._source = source

    def model(self, loaded: LoadedObject) -> Any:
        """Return the loaded object."""
        return loaded.model

    def predict(self, inputs: Any, timeout: float | None) -> Any:
        """Return the answer of the kind. With a timeout above 0 a worker thread computes it.

        Raises:
            PredictionTimeout: the model did not answer in time.
            PredictionFailed: the model raised an error that no caller can be given.
            HotstartError: see `Served.predict`.
        """
        if not timeout:
            return self._answer(inputs, timeout)
        from concurrent.futures import wait

        deadline = Deadline(timeout)
        future = self._submit(inputs, timeout)
        if wait([future], deadline.left).not_done:
            future.cancel()
            raise self._too_late(timeout)
        return future.result()

    async def apredict(self, inputs: Any, timeout: float | None) -> Any:
        """Await the answer, computed by a worker thread; see `predict`."""
        from hotstart.pool.aio import all_done  # coroutines have asyncio loaded

        future = self._submit(inputs, timeout)
        try:
            if not await all_done([future], timeout or None):
                raise self._too_late(timeout or 0.0)
            return future.result()
        finally:
            future.cancel()  # unless it runs already

    def _answer(self, inputs: Any, timeout: float | None) -> Any:
        with self.binding.instance.lease(timeout, texts=0) as loaded:
            try:
                return self._kind.predict(loaded.model, inputs, self._source)
            except BaseException as error:
                if _can_be_raised(error):
                    raise
                raise PredictionFailed(self._source.name, error=error) from error

    def _submit(self, inputs: Any, timeout: float | None) -> Future[Any]:
        from contextvars import copy_context

        from hotstart.pool.workers import workers  # blocking calls without a timeout need none

        return workers.get(waits=True).submit(copy_context().run, self._answer, inputs, timeout)

    def _too_late(self, timeout: float) -> ReadinessError:
        instance = self.binding.instance
        if instance.peek() is None:
            return instance.not_ready()
        return PredictionTimeout(self._source.name, after=timeout)


def _can_be_raised(error: BaseException) -> bool:
    """Return whether a caller can be given `error`: no task is left waiting and no program ends."""
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C reaches the main thread only
        return threading.current_thread() is threading.main_thread()
    return isinstance(error, Exception) and not isinstance(error, StopIteration)


class LoadedObject:
    """A loaded object. `close` drops this reference; callers may hold others."""

    __slots__ = ("model",)

    def __init__(self, model: Any) -> None:
        self.model = model

    def close(self) -> None:
        """Drop the object and return freed memory to the system."""
        self.model = None
        return_freed_memory()


def bind_version(config: ModelConfig, label: str, pool: Pool, key: Hashable) -> Served:
    """Bind the version `label` of a configured model to an instance. Loads nothing.

    Args:
        config: configuration of the model.
        label: label of the version.
        pool: holds the instance.
        key: of an instance that this version alone uses; embedding models and rerankers of one
            specification share theirs.

    Raises:
        InvalidInput: the kind is unknown, or the configuration does not suit it.
    """
    if config.kind in {"embedding", "reranker"}:
        return _bind_handle(config, label, pool)
    return _bind_object(config, label, pool, key)


def bind_factory(
    name: str, kind: str, factory: Callable[[], Any], pool: Pool, key: Hashable, *, pinned: bool
) -> Served:
    """Bind a model that the program makes with `factory`, without a configuration."""

    def load(stage: Stage, report: Progress, beside: object) -> LoadedObject:
        report(stage, 0.5)
        return LoadedObject(factory())

    recipe = ModelFactory(name, load, LoadedObject.close, pinned=pinned)
    served_by = kind_named(kind)
    return ServedObject(
        Binding(key, pool.hold(key, recipe), pool), served_by, ModelSource(name, name)
    )


def _bind_object(config: ModelConfig, label: str, pool: Pool, key: Hashable) -> ServedObject:
    kind = kind_named(config.kind)
    version = config.versions[label]
    source = ModelSource(
        config.name, version.source, version.sha256, config.trusted, config.options
    )

    def load(stage: Stage, report: Progress, beside: object) -> LoadedObject:
        loaded = LoadedObject(kind.load(source, report))
        report("check", 0.9)

        def predict(inputs: Any) -> Any:
            return kind.predict(loaded.model, inputs, source)

        check_answers(config.name, predict, config.check)
        return loaded

    size = functools.partial(bytes_on_disk, version.source)
    recipe = ModelFactory(config.name, load, LoadedObject.close, size=size, pinned=config.pinned)
    instance = pool.hold(key, recipe, _limits(config))
    return ServedObject(Binding(key, instance, pool), kind, source)


def _bind_handle(config: ModelConfig, label: str, pool: Pool) -> ServedEmbedder | ServedReranker:
    """Bind an embedding model or a reranker. Its instance is keyed by the specification."""
    from hotstart.pool.loader import spec_of

    options = {name: getattr(config, name) for name in _SPEC_OPTIONS}
    if config.kind == "reranker":
        options["max_length"] = config.max_length
    spec, _ = spec_of(config.versions[label].source, kind=config.kind, **options)
    check_kind(spec.source, spec.kind)
    check = check_vectors if config.kind == "embedding" else check_scores
    recipe = _checked(config, factory_of(spec), check)
    binding = Binding(spec, pool.hold(spec, recipe, _limits(config)), pool)

    def make_embedder() -> Embedder:
        from hotstart.embedder import Embedder

        return Embedder(
            spec.source,
            truncate_dim=config.truncate_dim,
            cache=config.cache,
            fallback=config.fallback,
            pool=pool,
            **options,
        )

    def make_reranker() -> Reranker:
        from hotstart.reranker import Reranker

        return Reranker(spec.source, pool=pool, **options)

    if config.kind == "embedding":
        return ServedEmbedder(binding, spec, make_embedder)
    return ServedReranker(binding, make_reranker)


def _checked(config: ModelConfig, recipe: ModelFactory, check: CheckLoaded) -> ModelFactory:
    """Return `recipe` with each loaded model, promotions included, checked before it serves."""

    def load(stage: Stage, report: Progress, beside: LoadedModel | None) -> LoadedModel:
        loaded: LoadedModel = recipe.load(stage, report, beside)

        def embed(inputs: Any) -> Any:
            return loaded.engine.embed(inputs).vectors

        try:
            check(config.name, embed, loaded.info, config.check)
        except BaseException:
            loaded.close()
            raise
        return loaded

    return recipe._replace(load=load, pinned=config.pinned)


_SPEC_OPTIONS = ("revision", "strategy", "engine", "precision", "file", "allow_download")


def _limits(config: ModelConfig) -> Limits:
    return Limits(config.load_timeout, config.keep_alive)
