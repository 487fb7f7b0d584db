"""Models loaded, loaded anew, unloaded, and led requests to: what is done with them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hotstart.deadline import Deadline
from hotstart.errors import HotstartError, InvalidInput
from hotstart.registry.model import Entry, Record
from hotstart.registry.shelf import Shelf
from hotstart.registry.version import Version


class Loading(Shelf):
    """A shelf whose models are loaded and unloaded."""

    async def load_all(self, timeout: float | None = None) -> dict[str, Entry]:
        """Load every model side by side; return what became of each when the last has ended.

        Each can be used as soon as its own load is done. What fails is told, not raised: in the
        entries, with reason and remedy.
        """
        return await self.load_selected(self._records, timeout)

    def load_all_sync(self, timeout: float | None = None) -> dict[str, Entry]:
        """Do what `load_all` does where there is no event loop."""
        return self.load_selected_sync(self._records, timeout)

    async def load_selected(
        self, names: Iterable[str], timeout: float | None = None
    ) -> dict[str, Entry]:
        """Do what `load_all` does for the models `names`, their fallbacks and shadows."""
        import asyncio

        names = list(names)
        started = self._start(names)
        await asyncio.gather(*(_settle(version, timeout) for version in started))
        return self._entries_of(names)

    def load_selected_sync(
        self, names: Iterable[str], timeout: float | None = None
    ) -> dict[str, Entry]:
        """Do what `load_selected` does where there is no event loop."""
        names, deadline = list(names), Deadline(timeout)
        for version in self._start(names):
            try:
                version.wait(deadline.left)
            except HotstartError:
                continue
        return self._entries_of(names)

    def load(self, name: str) -> None:
        """Begin to load the model `name`; return at once."""
        self._start([name])

    def keep_alive(self, name: str, seconds: float | None) -> None:
        """Have a model unloaded `seconds` after the end of its last use from now on.

        Args:
            name: of the model, whose every version that requests are led to is meant.
            seconds: 0 for at once; None for never for want of use.
        """
        for version in self._record(name).wanted:
            version.keep_alive(seconds)

    def unload(self, name: str) -> None:
        """Give a model's memory back, of all its versions, once the calls in flight have ended.

        A later call has it loaded again.
        """
        for version in self._record(name).versions:
            version.unload()

    def unload_all(self) -> None:
        """Give the memory of all models back."""
        for name in list(self._records):
            self.unload(name)

    def reload(self, name: str, version: str | None = None) -> None:
        """Load a model anew beside the one that serves, check it, and swap it in between two calls.

        Args:
            name: of the model.
            version: of it; None for all that requests are led to.

        Raises:
            HotstartError: the new one could not be loaded, or failed its check. The old one serves.
        """
        record = self._record(name)
        for chosen in record.wanted if version is None else [record.version(version)]:
            chosen.reload()

    def reload_all(self) -> dict[str, Entry]:
        """Load every model that is loaded anew; what fails is told in the entries, not raised."""
        for name in self.loaded_models:
            try:
                self.reload(name)
            except HotstartError:
                continue
        return self.entries()

    def set_route(
        self, name: str, weights: Mapping[str, float], *, timeout: float | None = None
    ) -> None:
        """Lead requests to versions by these weights, once each of them is loaded.

        Raises:
            UnknownVersion: one that there is not.
            InvalidInput: a weight below 0, or none above it.
            HotstartError: one of them could not be loaded in time; requests go where they went.
        """
        record = self._record(name)
        self._make_ready(record, weights, timeout)
        record.set_route(weights)

    def rollback(self, name: str, *, timeout: float | None = None) -> Entry:
        """Lead requests as they were before the last change of the route, and say how that is.

        Raises:
            InvalidInput: there was no other before.
            HotstartError: as `set_route`.
        """
        record = self._record(name)
        previous = record.previous
        if previous is None:
            expected = "a model whose route was changed: nothing served before this one"
            raise InvalidInput("the model to roll back", got=name, expected=expected)
        self._make_ready(record, previous, timeout)
        record.go_back()
        return record.entry

    def set_shadow(self, name: str, version: str | None) -> None:
        """Have the calls of a model repeated on `version` of it; on none with None."""
        record = self._record(name)
        record.shadow = None if version is None else record.version(version)
        record.compose()
        if record.shadow is not None:
            record.shadow.start()

    def _start(self, names: Iterable[str]) -> list[Version]:
        """Begin to load what requests for `names` may need; return it."""
        records = [self._record(name) for name in names]
        spares = [self._record(r.fallback) for r in records if r.fallback]
        wanted = dict.fromkeys(version for r in [*records, *spares] for version in r.wanted)
        for version in wanted:
            version.start()
        return list(wanted)

    def _make_ready(
        self, record: Record, weights: Mapping[str, float], timeout: float | None
    ) -> None:
        if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
            expected = "weights not below 0, one of them above"
            raise InvalidInput("the route", got=dict(weights), expected=expected)
        deadline = Deadline(timeout)
        for version in [record.version(label) for label, weight in weights.items() if weight]:
            version.wait(deadline.left)

    def _entries_of(self, names: Iterable[str]) -> dict[str, Entry]:
        return {name: self._records[name].entry for name in names}


async def _settle(version: Version, timeout: float | None) -> None:
    from hotstart.pool.aio import until_ready

    try:
        await until_ready(version.opened().instance, timeout)
    except HotstartError:
        return  # its entry says so
