"""A progress bar on the terminal, for those who ask for one; the only file that imports rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hotstart._lazy import require

Advance = Callable[[int], None]


@contextmanager
def bar(title: str, total: int, *, shown: bool = True) -> Iterator[Advance]:
    """Yield a function that moves the bar on by so many of `total` steps.

    Drawn on standard error, and only where that is a terminal.
    """
    if not shown or not sys.stderr.isatty():
        yield _nothing
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


def _nothing(steps: int) -> None:
    """An advance that nobody sees."""
