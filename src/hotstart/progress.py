"""Progress bars and spinners on the terminal; the only file that imports rich."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from hotstart._lazy import require

Advance = Callable[[int], None]


_SECONDS_A_LINE = 1.0


@contextmanager
def bar(title: str, total: int, *, shown: bool = True) -> Iterator[Advance]:
    """Yield a function that advances the bar by a number of `total` steps.

    Draw on standard error. Where that is no terminal, print a line after each second.
    """
    if not shown:
        yield _nothing
        return
    if not sys.stderr.isatty():
        yield _lines(title, total)
        return
    rich = require("rich.progress")
    console = require("rich.console").Console(stderr=True)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda steps: progress.advance(task, steps)


@contextmanager
def bytes_bar(title: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many bytes are done, and of how many.

    Draw on standard error. Where that is no terminal, print a line after each second.
    """
    if not shown or not sys.stderr.isatty():
        yield _lines_of_bytes(title) if shown else lambda done, total: None
        return
    rich = require("rich.progress")
    console = require("rich.console").Console(stderr=True)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines_of_bytes(title: str) -> Callable[[int, int], None]:
    printed = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _SECONDS_A_LINE:
            printed = time.monotonic()
            sys.stderr.write(f"{title}: {done / 1e6:.1f} of {total / 1e6:.1f} MB\n")
            sys.stderr.flush()

    return report


@contextmanager
def spinner(title: str, *, after: float = 0.5, shown: bool = True) -> Iterator[None]:
    """Show `title` and a spinner while the block runs, from `after` seconds on.

    Draw on standard error, only if it is a terminal.
    """
    if not shown or not sys.stderr.isatty():
        yield
        return
    drawn = ExitStack()
    ended = threading.Lock()

    def show() -> None:
        console = require("rich.console").Console(stderr=True)
        with ended:  # the block may have ended
            if not timer.finished.is_set():
                drawn.enter_context(console.status(title))

    timer = threading.Timer(after, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with ended:
            drawn.close()


def _lines(title: str, total: int) -> Advance:
    done = 0
    printed = time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, printed
        done += steps
        if time.monotonic() - printed >= _SECONDS_A_LINE:
            printed = time.monotonic()
            sys.stderr.write(f"{title}: {done} of {total}\n")
            sys.stderr.flush()

    return advance


def _nothing(steps: int) -> None:
    """Ignore the steps: nothing is drawn."""
