"""`hotstart index`: bring the index of a folder up to date."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack

from hotstart.embedder import Embedder
from hotstart.errors import InvalidInput
from hotstart.progress import Advance, bar
from hotstart.search import SearchIndex


def run(arguments: argparse.Namespace) -> int:
    """Index what changed below the folder and say what was done."""
    if not os.path.isdir(arguments.path):
        raise InvalidInput("PATH", got=arguments.path, expected="a folder")
    embedder = None if arguments.lexical else Embedder(arguments.model, strategy="background")
    with ExitStack() as stack:
        report = SearchIndex(arguments.path, embedder).update(_Bars(stack).report)
    print(
        f"{report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged: {report.chunks} chunks, "
        f"{report.embedded} embedded, {report.seconds:.1f} s"
    )
    if report.passed_over:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.passed_over.items())
        print(f"passed over: {reasons}")
    return 0


class _Bars:
    """One bar a phase, drawn as its progress is reported."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._phase = ""
        self._done = 0
        self._advance: Advance | None = None

    def report(self, phase: str, done: int, total: int) -> None:
        """Move the bar of `phase` to `done` of `total`."""
        if phase != self._phase:
            self._stack.pop_all().close()
            self._phase, self._done = phase, 0
            self._advance = self._stack.enter_context(bar(phase.capitalize(), total))
        assert self._advance is not None
        self._advance(done - self._done)
        self._done = done
