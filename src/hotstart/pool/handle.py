"""A model as `Embedder` and `Reranker` use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from hotstart.concurrency import Deadline
from hotstart.engines import entry_of
from hotstart.errors import HotstartError, StillComputing
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
        waits: whether calls wait for another machine: they run side by side, not together.
    """

    def __init__(self, spec: ModelSpec, instance: Instance[LoadedModel]) -> None:
        self._spec = spec
        self._instance = instance
        self._last: ModelInfo | None = None
        self.waits = entry_of(spec.engine).waits

    def unprepared_info(self) -> ModelInfo:
        """Return dimension and token limit of the model, loading it only where nothing else can."""
        info = unprepared_info(self._spec)
        if info is not None and info.dimension is not None:
            return info
        with self._instance.lease() as model:
            return model.info._replace(dimension=model.engine.dimension)

    def known_info(self) -> ModelInfo | None:
        """Return what calls need to know: of the loaded model, else of the one that was loaded
        last, else what can be told without loading it. Never waits."""
        model = self._instance.peek()
        if model is not None:
            self._last = model.info
        elif self._last is None:
            self._last = info_without_loading(self._spec)
        return self._last

    def info(self, timeout: float | None = None) -> ModelInfo:
        """Return what calls need to know, having the model loaded if need be.

        Raises:
            NotReady: not within `timeout` seconds.
            HotstartError: the load failed.
        """
        known = self.known_info()
        if known is not None:
            return known
        with self._instance.lease(timeout, texts=0) as model:
            return model.info

    def fingerprint(self) -> str:
        """Return the identity of its vector space, having it prepared or loaded if need be."""
        if entry_of(self._spec.engine).opened_from == "artifact":
            return artifact_info(prepare_artifact(self._spec)).fingerprint
        return self.info().fingerprint

    def embed(
        self,
        request: ModelRequest,
        timeout: float | None = None,
        advance: Advance | None = None,
    ) -> EmbedOutput:
        """Return the vectors of the inputs of `request`, float32 (n, dimension).

        Args:
            request: the texts; of a reranker pairs of texts, whose vectors are its logits.
            timeout: seconds to wait for the model, and for an engine that asks another machine.
            advance: called with the number of texts done, every few texts.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load failed, or the engine did.
        """
        deadline, count = Deadline(timeout), len(request.inputs)
        outputs: list[EmbedOutput] = []
        with (
            span("embed", model=self._spec.source, engine=self._spec.engine, texts=count),
            self._instance.lease(timeout, count) as model,
        ):
            self._last = model.info
            inputs = request.model_inputs(model.info)
            for start in range(0, max(count, 1), WINDOW):
                window = inputs[start : start + WINDOW]
                output = model.engine.embed(window, request.batch_size, deadline.left)
                outputs.append(EmbedOutput.of(output, model.info))
                if advance:
                    advance(len(window))
            return EmbedOutput.joined(outputs)

    def submit(self, request: ModelRequest) -> Future[EmbedOutput]:
        """Run the inputs of `request`, one at least, together with those of other calls.

        Raises:
            Overloaded: too much waits already.
        """
        from hotstart.pool.batching import lanes_of  # a single thread needs none

        return lanes_of(self._instance).submit(request)

    async def together(self, request: ModelRequest, timeout: float | None = None) -> EmbedOutput:
        """Submit `request` once the model is ready, and await its vectors.

        With a `timeout` of 0 they are awaited as long as they take, if the model is ready now.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            StillComputing: the vectors were not ready in time; they are not computed any more.
            Overloaded: too much waits already.
        """
        from hotstart.pool.aio import all_done, until_ready  # only a coroutine needs asyncio

        deadline, count = Deadline(timeout), len(request.inputs)
        await until_ready(self._instance, timeout)
        with span("embed", model=self._spec.source, engine=self._spec.engine, texts=count):
            future = self.submit(request)
            try:
                if not await all_done([future], deadline.left if timeout else None):
                    raise StillComputing(count, after=timeout, kept=False)
                self._last = future.result().info
                return future.result()
            finally:
                future.cancel()  # where it is not done, nobody awaits it any more

    async def in_thread(
        self,
        run: Callable[[R, float | None], EmbedOutput],
        request: R,
        timeout: float | None = None,
    ) -> EmbedOutput:
        """Return `run(request, seconds left)`, computed by a worker thread once the model is ready.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load failed, or the engine did.
        """
        from hotstart.pool import aio  # only a coroutine needs asyncio

        deadline = Deadline(timeout)
        await aio.until_ready(self._instance, timeout)
        return await aio.in_thread(run, request, deadline.left, waits=self.waits)

    def count(self, texts: Sequence[str], timeout: float | None = None) -> int | None:
        """Return how many tokens `texts` are to the model, None if it cannot tell.

        Raises:
            HotstartError: as `embed`.
        """
        with self._instance.lease(timeout, texts=0) as model:
            counts = model.engine.count(texts)
            return None if counts is None else sum(counts)

    def metrics(self) -> Iterator[Metric]:
        """Yield what its engine counts, if it is loaded, and its lanes."""
        model = self._instance.peek()
        if model is not None:
            yield from model.engine.metrics()
        from hotstart.pool.batching import lanes_of  # a single thread needs none

        yield from lanes_of(self._instance).metrics()


class LoadableModel:
    """The base of `Embedder` and `Reranker`: load state, waiting, promotion, unload. Making one
    begins the load where the strategy says so.
    """

    def __init__(
        self, instance: Instance[LoadedModel], choice: StrategyChoice, on_progress: Progress | None
    ) -> None:
        self._instance = instance
        self._choice = choice
        if on_progress:
            instance.listen(on_progress)
        starts = strategy_named(choice.name).starts
        if starts == "at once":
            instance.start()
        elif starts == "in the constructor":
            instance.wait()

    @property
    def engine(self) -> str | None:
        """The engine that runs the model, None while it is not loaded."""
        model = self._instance.peek()
        return model.engine.name if model else None

    @property
    def state(self) -> State:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        return self._instance.state

    @property
    def is_loading(self) -> bool:
        """Whether a load is under way that will make it answer."""
        return self._instance.state == "loading"

    @property
    def is_loaded(self) -> bool:
        """Whether it answers at once."""
        return self._instance.state == "ready"

    @property
    def error(self) -> HotstartError | None:
        """Why the last load failed, None unless it did."""
        return self._instance.failure

    @property
    def load_time(self) -> float | None:
        """Seconds the last load took, None before one ended."""
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
        """Return the state with its reason, each stage's time, and why this strategy."""
        return self._instance.status()._replace(strategy=self._choice.said)

    def start_loading(self) -> None:
        """Start loading and return at once."""
        self._instance.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Load if need be and return whether the model is ready within `timeout` seconds.

        Raises:
            HotstartError: the load failed, with the reason in the message.
        """
        return self._instance.wait(timeout)

    async def await_ready(self, timeout: float | None = None) -> bool:
        """Do what `wait_ready` does without blocking the event loop."""
        from hotstart.pool.aio import is_ready_within  # who awaits has imported asyncio

        return await is_ready_within(self._instance, timeout)

    def get_if_ready(self) -> Self | None:
        """Return this object if it answers at once, else None; never waits, starts nothing."""
        return self if self._instance.peek() is not None else None

    def promote(self, stage: Stage) -> None:
        """Promote the model to `stage` beside its work, as before bulk work; return at once.

        Where that cannot be done, what serves goes on serving, and `status().refused` says why.
        """
        self._instance.promote(stage)

    def unload(self) -> None:
        """Give the model's memory back once the calls in flight end; a later call reloads."""
        self._instance.unload()
