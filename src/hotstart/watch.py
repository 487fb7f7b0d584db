"""Watch files and folders for changes.

The only file that imports `watchfiles`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator

from hotstart._lazy import require

logger = logging.getLogger(__name__)

Ignores = Callable[[str], bool]

_SETTLING = 100
"""Milliseconds in which changes are gathered: one write often causes several."""
_SETUP = 10.0  # seconds
_MOST_LINKS = 40  # the limit of Linux on the way to a file


def steps_to(path: str) -> list[str]:
    """Return `path`, each link on the way to its content, and the place of the content.

    A mounted volume of Kubernetes replaces the link `..data` and neither the file nor its own link.
    """
    steps = [path]
    for _ in range(_MOST_LINKS):
        link = _first_link(steps[-1])
        if link is None:
            return steps
        rest = os.path.relpath(steps[-1], link)
        target = os.path.join(os.path.dirname(link), os.readlink(link))
        steps += [link, os.path.normpath(os.path.join(target, rest))]
    return steps  # a loop


def _first_link(path: str) -> str | None:
    """Return the first part of the absolute `path` that is a link."""
    part = os.path.dirname(path)
    above = None if part == path else _first_link(part)
    return above or (path if os.path.islink(path) else None)


def _folders_of(path: str, ignores: Ignores) -> Iterator[str]:
    """Yield the folders in which a change may concern `path`.

    Folders are watched because an atomic write replaces the file. Of a path that is gone it is the
    nearest one above.
    """
    for step in steps_to(path):
        above = os.path.dirname(step)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        yield above
        for folder, names, _ in os.walk(step):
            yield folder
            names[:] = [name for name in names if not ignores(os.path.join(folder, name))]


class _Stop(threading.Event):
    """The stop event of a watch; `begun` is set once the system reports changes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.fault: BaseException | None = None

    def is_set(self) -> bool:
        # watchfiles asks between two looks, and first when it has set up everything.
        self.begun.set()
        return super().is_set()


class Watch:
    """Calls `changed` with the changed paths until it is closed.

    Args:
        changed: called by the watching thread; it must not take long.
        ignores: whether changes of a path, and of all below it, are none.
    """

    def __init__(
        self, changed: Callable[[set[str]], object], ignores: Ignores = lambda path: False
    ) -> None:
        self._watchfiles = require("watchfiles", extra="watch")
        self._changed = changed
        self._ignores = ignores
        self._folders: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._stop: _Stop | None = None

    def cover(self, paths: Iterable[str]) -> None:
        """Watch `paths`, their links and all below them, instead of the previous ones.

        A change after the return is reported, and none is missed between the old and the new watch.

        Raises:
            OSError: the system watches no more folders.
        """
        watched = list(paths)
        with self._lock:
            while True:
                found = (each for path in watched for each in _folders_of(path, self._ignores))
                folders = frozenset(found)
                if folders == self._folders:
                    return
                stop = self._begin(folders)
                if stop is None or not isinstance(stop.fault, FileNotFoundError):
                    break  # else a folder went meanwhile
            if stop is not None and stop.fault is not None:
                raise stop.fault
            before, self._stop = self._stop, stop
            self._folders = folders
            if before is not None:
                before.set()

    def close(self) -> None:
        """Stop watching."""
        self.cover([])

    def _begin(self, folders: frozenset[str]) -> _Stop | None:
        """Start a thread that watches `folders`, and return its stop event."""
        if not folders:
            return None
        stop = _Stop()
        changes = self._watchfiles.watch(
            *sorted(folders),
            watch_filter=None,
            debounce=_SETTLING,
            step=_SETTLING // 2,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,  # a link may lie in a folder with much else below
        )
        threading.Thread(
            target=self._run, args=(changes, stop), name="hotstart-watch", daemon=True
        ).start()
        stop.begun.wait(_SETUP)
        return stop

    def _run(self, changes: Iterable[set[tuple[object, str]]], stop: _Stop) -> None:
        try:
            for batch in changes:
                if stop.is_set():
                    return
                paths = {os.path.abspath(path) for _, path in batch}
                if paths := {path for path in paths if not self._ignores(path)}:
                    self._changed(paths)
        except OSError as error:
            stop.fault = error
            logger.warning("Changes of files are no longer noticed: %s", error)
        finally:
            stop.begun.set()  # nobody waits for a watch that failed
