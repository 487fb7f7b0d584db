"""What can be asked of a model's readiness: the same for whatever stands on an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotstart.errors import HotstartError
from hotstart.pool.instance import Instance
from hotstart.pool.loader import LoadedModel
from hotstart.pool.status import Status
from hotstart.pool.strategies import Choice, strategy_named
from hotstart.types import LoadProgress, Progress, Stage, State

if TYPE_CHECKING:
    from typing_extensions import Self


class Readiness:
    """An instance as its user sees it. Making one begins the load where the strategy says so."""

    def __init__(
        self, instance: Instance[LoadedModel], choice: Choice, on_progress: Progress | None
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
        """How far the load is."""
        status = self._instance.status()
        eta = None
        if status.elapsed is not None and status.load_time is not None:
            eta = max(0.0, status.load_time - status.elapsed)
        return LoadProgress(status.stage, status.fraction, eta)

    def status(self) -> Status:
        """Return the state with its reason, each stage's time, and why this strategy."""
        return self._instance.status()._replace(strategy=self._choice.said)

    def load(self) -> None:
        """Start loading and return at once."""
        self._instance.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Load if need be and return whether the model is ready within `timeout` seconds.

        Raises:
            HotstartError: the load failed, for the reason it states.
        """
        return self._instance.wait(timeout)

    async def ready(self, timeout: float | None = None) -> bool:
        """Do what `wait` does without holding up the event loop."""
        from hotstart.pool.aio import ready_within  # who awaits has imported asyncio

        return await ready_within(self._instance, timeout)

    def get_if_ready(self) -> Self | None:
        """Return this object if it answers at once, else None; never waits, starts nothing."""
        return self if self._instance.peek() is not None else None

    def promote(self, stage: Stage) -> None:
        """Have the model promoted to `stage` beside its work, as before bulk work; return at once.

        Where that cannot be done, what serves goes on serving, and `status().refused` says why.
        """
        self._instance.promote(stage)

    def unload(self) -> None:
        """Give the model's memory back once the calls in flight end; a later call reloads."""
        self._instance.unload()
