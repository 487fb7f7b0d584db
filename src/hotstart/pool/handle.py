"""A model as `Embedder` and `Reranker` use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from hotstart.concurrency import Deadline
from hotstart.engines import entry_of
from hotstart.errors import HotstartError, InvalidInput, RemoteAnswerInvalid, StillComputing
from hotstart.models.artifacts import artifact_info
from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Instance, Status
from hotstart.pool.loader import (
    LoadedModel,
    info_without_loading,
    prepare_artifact,
    unprepared_info,
)
from hotstart.pool.strategies import StrategyChoice, strategy_named
from hotstart.progress import Advance
from hotstart.telemetry import span
from hotstart.types import (
    Coverage,
    EmbedOutput,
    LoadProgress,
    ModelInfo,
    ModelRequest,
    Progress,
    Stage,
    State,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

    from hotstart.telemetry import Metric

R = TypeVar("R", bound=ModelRequest)

WINDOW = 1024
"""Texts that are tokenised and sorted by length together."""


class ModelHandle:
    """The model of `spec` in `instance`, as its users call it.

    Attributes:
        waits: whether calls wait for a remote server; they then run concurrently, not in batches.
    """

    def __init__(self, spec: ModelSpec, instance: Instance[LoadedModel]) -> None:
        self._spec = spec
        self._instance = instance
        self._last: ModelInfo | None = None
        self._opened_from = entry_of(spec.engine).opened_from
        self.waits = entry_of(spec.engine).waits

    def unprepared_info(self) -> ModelInfo:
        """Return the info of the model; load it only if nothing else has the dimension."""
        info = unprepared_info(self._spec)
        if info is not None and info.dimension is not None:
            return info
        with self._instance.lease() as model:
            return model.info._replace(dimension=model.engine.dimension)

    def known_info(self) -> ModelInfo | None:
        """Return the info of the loaded model, else of the model that a load would find.

        A model of a folder says nothing before a load: then the last loaded one counts. None for a
        server that states fingerprints and was not asked since the load. Never waits.
        """
        model = self._instance.peek()
        if model is not None:
            self._last = model.info
        elif self._last is None or self._opened_from in {"artifact", "address"}:
            self._last = info_without_loading(self._spec)
        return self._last

    def info(self, timeout: float | None = None) -> ModelInfo:
        """Return the info of the model; load it if needed.

        Raises:
            NotReady: the model was not ready within `timeout` seconds.
            HotstartError: the load failed.
        """
        known = self.known_info()
        if known is not None:
            return known
        with self._instance.lease(timeout, texts=0) as model:
            return model.info

    def prepared_info(self) -> ModelInfo:
        """Return the info with its fingerprint; prepare or load the model if needed."""
        model = self._instance.peek()
        if model is not None:
            return model.info
        if self._opened_from == "artifact":
            return artifact_info(prepare_artifact(self._spec))
        return self.info()

    def embed(
        self,
        request: ModelRequest,
        timeout: float | None = None,
        advance: Advance | None = None,
    ) -> EmbedOutput:
        """Return the vectors of the inputs of `request`, float32 (n, dimension).

        Args:
            request: texts, or pairs of texts for a reranker, whose vectors are logits.
            timeout: seconds to wait for the model, and for a remote server.
            advance: called every few texts with the number of texts done.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load or the engine failed.
        """
        deadline = Deadline(timeout)
        count = len(request.inputs)
        outputs: list[EmbedOutput] = []
        with (
            span("embed", model=self._spec.source, engine=self._spec.engine, texts=count),
            self._instance.lease(timeout, count) as model,
        ):
            inputs = request.model_inputs(model.info)
            for start in range(0, max(count, 1), WINDOW):
                window = inputs[start : start + WINDOW]
                output = model.engine.embed(window, request.batch_size, deadline.left)
                outputs.append(EmbedOutput.of(output, model.info))
                model.info = outputs[-1].info  # a server may have replaced its model
                if advance:
                    advance(len(window))
        if any(output.info.fingerprint != outputs[0].info.fingerprint for output in outputs):
            reason = "its model was replaced during the call"
            raise RemoteAnswerInvalid(self._spec.source, reason=reason)
        self._last = outputs[-1].info
        return EmbedOutput.joined(outputs)

    def submit(self, request: ModelRequest) -> Future[EmbedOutput]:
        """Queue the inputs of `request`, at least one; they share batches with other calls.

        Raises:
            Overloaded: too many tokens wait already.
        """
        from hotstart.pool.batching import lanes_of  # blocking calls need no lanes

        return lanes_of(self._instance).submit(request)

    async def together(self, request: ModelRequest, timeout: float | None = None) -> EmbedOutput:
        """Submit `request` once the model is ready, and await its vectors.

        With a `timeout` of 0, wait for the vectors without limit if the model is ready now.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            StillComputing: the vectors were not ready in time; their computation is dropped.
            Overloaded: too many tokens wait already.
        """
        from hotstart.pool.aio import all_done, until_ready  # only coroutines need asyncio

        deadline = Deadline(timeout)
        count = len(request.inputs)
        await until_ready(self._instance, timeout)
        with span("embed", model=self._spec.source, engine=self._spec.engine, texts=count):
            future = self.submit(request)
            try:
                if not await all_done([future], deadline.left if timeout else None):
                    raise StillComputing(count, after=timeout, kept=False)
                self._last = future.result().info
                return future.result()
            finally:
                future.cancel()  # unless it is done, no caller awaits it any more

    async def in_thread(
        self,
        run: Callable[[R, float | None], EmbedOutput],
        request: R,
        timeout: float | None = None,
    ) -> EmbedOutput:
        """Return `run(request, seconds left)`, computed by a worker thread once the model is ready.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load or the engine failed.
        """
        from hotstart.pool import aio  # only coroutines need asyncio

        deadline = Deadline(timeout)
        await aio.until_ready(self._instance, timeout)
        return await aio.in_thread(run, request, deadline.left, waits=self.waits)

    def count(self, texts: Sequence[str], timeout: float | None = None) -> int | None:
        """Return the number of tokens of `texts`; None if the engine cannot tell.

        Raises:
            HotstartError: see `embed`.
        """
        with self._instance.lease(timeout, texts=0) as model:
            counts = model.engine.count(texts)
            return None if counts is None else sum(counts)

    def too_long(self, texts: Sequence[str], timeout: float | None = None) -> list[int]:
        """Return the positions of the texts that the model cuts; none if the engine cannot tell.

        Raises:
            HotstartError: see `embed`.
        """
        with self._instance.lease(timeout, texts=0) as model:
            tokenizer = getattr(model.engine, "tokenizer", None)
            return tokenizer.too_long(texts) if tokenizer else []

    def coverage(self, text: str) -> Coverage | None:
        """Return how the tokenizer reads `text`; None unless the model is loaded and can tell."""
        model = self._instance.peek()
        told: Callable[[str], Coverage] | None = getattr(model and model.engine, "coverage", None)
        return told(text) if told else None

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of the lanes and, if loaded, of the engine."""
        model = self._instance.peek()
        if model is not None:
            yield from model.engine.metrics()
        from hotstart.pool.batching import lanes_of  # blocking calls need no lanes

        yield from lanes_of(self._instance).metrics()


def _constructed(cls: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    return cls(**arguments)


class LoadableModel:
    """The base of `Embedder` and `Reranker`: load state, waiting, promotion, unload.

    The constructor starts the load if the strategy says so. An object is its arguments: a copy
    shares the loaded model, and a pickled object loads its model where it is unpickled, in the
    pool of that process.

    Args:
        arguments: the arguments of the subclass.
    """

    def __init__(
        self,
        instance: Instance[LoadedModel],
        choice: StrategyChoice,
        on_progress: Progress | None,
        arguments: dict[str, Any],
    ) -> None:
        self._instance = instance
        self._choice = choice
        self._arguments = arguments
        if on_progress:
            instance.listen(on_progress)
        starts = strategy_named(choice.name).starts
        if starts == "at once":
            instance.start()
        elif starts == "in the constructor":
            instance.wait()

    def __reduce__(self) -> tuple[Any, ...]:
        travelling = {**self._arguments, "pool": None}
        if "cache" in travelling:
            cache = travelling["cache"]
            travelling["cache"] = getattr(cache, "url", cache)
        return _constructed, (type(self), travelling)

    def __copy__(self) -> Self:
        return type(self)(**self._arguments)

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)(**self._arguments)

    @property
    def engine(self) -> str | None:
        """The engine that runs the model; None while it is not loaded."""
        model = self._instance.peek()
        return model.engine.name if model else None

    @property
    def state(self) -> State:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        return self._instance.state

    @property
    def is_loading(self) -> bool:
        """Whether the model is being loaded."""
        return self._instance.state == "loading"

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded."""
        return self._instance.state == "ready"

    @property
    def error(self) -> HotstartError | None:
        """Why the last load failed; None if it did not."""
        return self._instance.failure

    @property
    def load_time(self) -> float | None:
        """Seconds that the last load took; None before the first has ended."""
        return self._instance.status().load_time

    @property
    def progress(self) -> LoadProgress:
        """The progress of the load."""
        status = self._instance.status()
        eta = None
        if status.elapsed is not None and status.load_time is not None:
            eta = max(0.0, status.load_time - status.elapsed)
        return LoadProgress(status.stage, status.fraction, eta)

    def status(self) -> Status:
        """Return the state with its reason, the time of each stage, and the strategy."""
        model = self._instance.peek()
        runtime = getattr(model.engine, "runtime", "") if model else ""
        status = self._instance.status()
        return status._replace(strategy=self._choice.description, runtime=runtime)

    def start_loading(self) -> None:
        """Start loading and return at once."""
        self._instance.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Load the model if needed; return whether it is ready within `timeout` seconds.

        Raises:
            HotstartError: the load failed, with the reason in the message.
        """
        return self._instance.wait(timeout)

    async def await_ready(self, timeout: float | None = None) -> bool:
        """Await the readiness of the model; see `wait_ready`."""
        from hotstart.pool.aio import is_ready_within  # coroutines have asyncio loaded

        return await is_ready_within(self._instance, timeout)

    def get_if_ready(self) -> Self | None:
        """Return this object if the model is loaded, else None. Never waits and starts no load."""
        return self if self._instance.peek() is not None else None

    def promote(self, stage: Stage) -> None:
        """Promote the model to `stage` in the background; return at once.

        If the promotion fails, the current stage keeps serving and `status().refused` has the
        reason.

        Raises:
            InvalidInput: there is no such stage.
        """
        if stage not in get_args(Stage):
            raise InvalidInput("stage", got=stage, expected=f"one of {', '.join(get_args(Stage))}")
        self._instance.promote(stage)

    def unload(self) -> None:
        """Unload the model once the calls in flight have ended; a later call loads it again."""
        self._instance.unload()
