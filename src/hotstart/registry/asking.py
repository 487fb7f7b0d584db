"""Models asked for, and asked: the version that answers, its fallback, its shadow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from hotstart.deadline import Deadline
from hotstart.errors import HotstartError, InvalidInput, NotReady, UnknownModel
from hotstart.registry.model import Record
from hotstart.registry.shadow import Shadows
from hotstart.registry.shelf import Shelf
from hotstart.registry.version import Version


class Prediction(NamedTuple):
    """An answer, and whose it is.

    Attributes:
        output: what the model answered, as its kind says.
        model: the name of the model that answered: the one asked, or its fallback.
        version: of it.
        reason: why the fallback answered; None where the model itself did.
    """

    output: Any
    model: str
    version: str
    reason: str | None


class _Chosen(NamedTuple):
    version: Version
    reason: str | None


class Asking(Shelf):
    """A shelf whose models are asked."""

    _shadows: Shadows

    def get_model(self, name: str, *, key: str | None = None, timeout: float | None = 0.0) -> Any:
        """Return the loaded model: an `Embedder` or `Reranker`, else the object itself.

        A model that is not loaded is loaded from now on. Where it is not ready within `timeout`
        its fallback is given, if it has one that is. What is returned stays good as long as the
        caller keeps it, though the registry load another or unload it meanwhile; `use` counts the
        caller in.

        Args:
            name: of the model.
            key: of the request, by which the same version is always chosen.
            timeout: seconds to wait for it; None waits as long as it takes.

        Raises:
            UnknownModel: there is none of that name.
            NotReady: neither it nor a fallback was ready in time.
            HotstartError: its load failed, for the reason it states.
        """
        record = self._records.get(name)
        if record is None:
            raise UnknownModel(name, known=list(self._records))
        version = record.sole or record.choose(key)
        model = version.model
        if model is None:
            version = self._choose(record, version, Deadline(timeout)).version
            model = version.wait(0.0)
        version.count_use()
        version.touch()
        return model

    @contextmanager
    def use(
        self, name: str, *, key: str | None = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """Yield what `get_model` returns; within, it is neither unloaded nor closed by a reload."""
        record, deadline = self._record(name), Deadline(timeout)
        version = self._choose(record, record.choose(key), deadline).version
        with version.use(deadline.left) as model:
            yield model
        self._pool.room.look()

    def face(self, name: str) -> Any:
        """Return the `Embedder` or `Reranker` of a model, loaded or not; this loads nothing.

        Raises:
            UnknownModel: there is none of that name.
            InvalidInput: the model is of another kind.
        """
        record = self._record(name)
        opened = record.choose(None).opened()
        if opened.async_ask is None:
            expected = "an embedding model or a reranker"
            raise InvalidInput("model", got=f"{name}, of kind {record.kind}", expected=expected)
        return opened.give(None)

    def predict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Ask a model and return its answer, counted and timed; shadows repeat the call after it.

        Args:
            name: of the model.
            inputs: as its kind takes them: docs/registry.md.
            key: of the request, by which the same version always answers.
            timeout: seconds to wait for the model; its fallback then answers if it is ready.

        Raises:
            InvalidInput: it cannot be asked that.
            HotstartError: as `get_model`.
        """
        record, deadline = self._record(name), Deadline(timeout)
        chosen = self._choose(record, record.choose(key), deadline)
        return self._answer(record, chosen, inputs, chosen.version.ask(inputs, deadline.left))

    async def apredict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Do what `predict` does without holding up the event loop."""
        record, deadline = self._record(name), Deadline(timeout)
        chosen = await self._achoose(record, record.choose(key), deadline)
        output = await chosen.version.aask(inputs, deadline.left)
        return self._answer(record, chosen, inputs, output)

    async def acall(
        self,
        name: str,
        call: Callable[[Any, float | None], Awaitable[Any]],
        *,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Return what `call` does with a model, counted and timed as `predict` is.

        Args:
            name: of an embedding model or a reranker.
            call: awaited with its `Embedder` or `Reranker`, and the seconds that are left.
            key: of the request, by which the same version always answers.
            timeout: seconds to wait for the model, and for `call`.

        Raises:
            HotstartError: as `get_model`, and as `call`.
        """
        record, deadline = self._record(name), Deadline(timeout)
        chosen = await self._achoose(record, record.choose(key), deadline)
        output = await chosen.version.call(call, deadline.left)
        return Prediction(output, chosen.version.name, chosen.version.label, chosen.reason)

    async def ready(self, name: str, timeout: float | None = None) -> bool:
        """Return whether the model is ready within `timeout` seconds, having it loaded if need be.

        Raises:
            HotstartError: its load failed, for the reason it states.
        """
        from hotstart.pool.aio import ready_within

        return await ready_within(self._record(name).choose(None).opened().instance, timeout)

    def _answer(self, record: Record, chosen: _Chosen, inputs: Any, output: Any) -> Prediction:
        if record.shadow not in {None, chosen.version} and chosen.reason is None:
            assert record.shadow is not None
            self._shadows.send(record.shadow, inputs, output)
        self._pool.room.look()
        return Prediction(output, chosen.version.name, chosen.version.label, chosen.reason)

    async def _achoose(self, record: Record, version: Version, deadline: Deadline) -> _Chosen:
        """What `_choose` does. Loads are awaited; a thread waits only for a fallback that loads
        too, so that a slow model's callers leave the threads to the others'."""
        from hotstart.pool.aio import in_thread, until_ready  # who awaits has asyncio

        if version.model is None:
            if record.fallback in self._records:
                self._records[record.fallback].choose(None).start()
            with suppress(HotstartError):  # `_choose` says what is to be done about it
                await until_ready(version.opened().instance, deadline.left)
        if version.model is not None:
            return self._choose(record, version, deadline)
        return await in_thread(self._choose, record, version, deadline, waits=True)

    def _choose(self, record: Record, version: Version, deadline: Deadline) -> _Chosen:
        """The version itself, once it is ready, else its fallback, which is loaded meanwhile."""
        if version.model is not None:  # whoever uses it leases it: one lease is enough
            version.figures.tally.add("hits")
            return _Chosen(version, None)
        version.figures.tally.add("misses")
        spare = self._records.get(record.fallback) if record.fallback else None
        if spare is None:
            version.wait(deadline.left)
            return _Chosen(version, None)
        second = spare.choose(None)
        second.start()
        try:
            version.wait(deadline.left)
            return _Chosen(version, None)
        except HotstartError as error:
            try:
                given = self._choose(spare, second, deadline)
            except HotstartError as also:
                still_loading = isinstance(also, NotReady) and not isinstance(error, NotReady)
                raise (also if still_loading else error) from None
            version.figures.tally.add("fallbacks")
            return given._replace(reason=given.reason or error.facts)
