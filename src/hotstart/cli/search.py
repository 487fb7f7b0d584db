"""`hotstart index` and `hotstart search`: index a folder and search it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import asdict

from hotstart.cli.terminal import columns, plural, visible
from hotstart.config import read_settings
from hotstart.embedder import Embedder
from hotstart.errors import (
    InvalidInput,
    ModelError,
    ModelNotFound,
    ReadinessError,
    check_count,
)
from hotstart.models.artifacts import find
from hotstart.models.spec import ModelSpec, check_kind
from hotstart.progress import Advance, bar, spinner
from hotstart.search import Answer, Hit, SearchIndex


def run_index(arguments: argparse.Namespace) -> int:
    """Index changed files below the folder and print a summary."""
    for path in arguments.path:
        if not os.path.isdir(path):
            raise InvalidInput("PATH", got=path, expected="a folder")
    embedder = None
    if not arguments.lexical:
        check_kind(arguments.model, "embedding")
        embedder = Embedder(arguments.model, strategy="background")
    with ExitStack() as stack:
        bars = _Bars(stack, shown=not arguments.quiet)
        try:
            index = _index_to_update(arguments, embedder)
            report = index.update(bars.report, arguments.include, arguments.exclude)
        except (ModelError, ReadinessError):
            print("The words are indexed; no vectors were computed.")
            raise
    if arguments.verbose:
        for path, reason in sorted(report.skipped_files.items()):
            print(f"skipped  {reason:20} {visible(path)}")
    kept = f", {report.kept} kept" if report.kept else ""
    print(
        f"{report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged{kept}: {plural(report.chunks, 'chunk')}, "
        f"{report.embedded} embedded, {report.seconds:.1f} s"
    )
    if report.skipped:
        counts = sorted(report.skipped.items(), key=lambda counted: (-counted[1], counted[0]))
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        names = "" if arguments.verbose else " (--verbose names them)"
        print(textwrap.fill(f"skipped: {reasons}{names}", columns(), subsequent_indent="  "))
    return 0


def _index_to_update(arguments: argparse.Namespace, embedder: Embedder | None) -> SearchIndex:
    if arguments.store and not arguments.path and os.path.isdir(arguments.store):
        return SearchIndex.stored(arguments.store, embedder)
    return SearchIndex(arguments.path or ".", embedder, arguments.store)


class _Bars:
    """Progress bars, one for each phase."""

    def __init__(self, stack: ExitStack, *, shown: bool) -> None:
        self._stack = stack
        self._shown = shown
        self._phase = ""
        self._done = 0
        self._advance: Advance | None = None

    def report(self, phase: str, done: int, total: int) -> None:
        """Set the bar of `phase` to `done` of `total`."""
        if phase != self._phase:
            self._stack.pop_all().close()
            self._phase = phase
            self._done = 0
            drawn = bar(phase.capitalize(), total, shown=self._shown)
            self._advance = self._stack.enter_context(drawn)
        assert self._advance is not None
        self._advance(done - self._done)
        self._done = done


_LINES = 3


def run(arguments: argparse.Namespace) -> int:
    """Search and print the answer."""
    check_count("--top-k", arguments.top_k)
    if arguments.timeout is not None and not arguments.timeout >= 0:
        raise InvalidInput("--timeout", got=arguments.timeout, expected="a number from 0 on")
    if not os.path.exists(arguments.path):
        raise InvalidInput("--path", got=arguments.path, expected="a folder that is there")
    embedder = Embedder(arguments.model, strategy="progressive")
    index = (
        SearchIndex.stored(arguments.store, embedder)
        if arguments.store
        else SearchIndex.nearest(arguments.path, embedder)
    )
    with spinner(f"Loading {arguments.model}", shown=not arguments.quiet):
        answer = index.search(arguments.query, top_k=arguments.top_k, timeout=arguments.timeout)
    if arguments.json:
        print(json.dumps(asdict(answer), ensure_ascii=False, indent=1))
    else:
        words = _words(arguments.query)
        for hit in answer.hits:
            print(_as_text(hit, words, explain=arguments.explain))
        print(visible(_summary(answer)))
    if isinstance(embedder.error, ModelNotFound):
        print(f"hotstart: {visible(str(embedder.error))}", file=sys.stderr)
    spec = ModelSpec(arguments.model)
    if embedder.state == "loading" and find(spec, read_settings()) is None:
        # The process ends now, and its preparation with it.
        advice = f"hotstart models prepare {spec.arguments}"
        print(f"The model was never prepared. For hybrid answers, run {advice}.", file=sys.stderr)
    return 0


def _as_text(hit: Hit, words: set[str], *, explain: bool) -> str:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    place = f"{bold}{visible(hit.path)}:{hit.start_line}{plain}"
    width = columns() - 4
    lines = [
        f"    {textwrap.shorten(visible(line), width, placeholder=' …')}"
        for line in _excerpt(hit.text, words)
    ]
    if hit.others:
        lines.append(f"    {textwrap.shorten(visible(_others(hit)), width, placeholder=' …')}")
    if explain:
        lines.append(f"    {_explanation(hit)}")
    return "\n".join([f"{place}  {visible(hit.heading)}".rstrip(), *lines, ""])


def _others(hit: Hit) -> str:
    """Return the other places of a hit: those of its file by their line alone."""
    places = [
        f":{other.start_line}" if other.path == hit.path else f"{other.path}:{other.start_line}"
        for other in hit.others
    ]
    return f"also {', '.join(places)}"


def _explanation(hit: Hit) -> str:
    """Return the score of a hit as the sum of its parts."""
    parts = [f"{name} {value:.3g}" for name, value in hit.parts.items() if value]
    return f"score {hit.score:.3g} = {' + '.join(parts)}".replace("+ -", "- ")


def _excerpt(text: str, words: set[str]) -> list[str]:
    """Return a few consecutive lines of `text` with the most `words`."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = range(max(1, len(lines) - _LINES + 1))
    best = max(starts, key=lambda n: len(words & _words("\n".join(lines[n : n + _LINES]))))
    return lines[best : best + _LINES]


def _words(text: str) -> set[str]:
    """Return the longer words: short words occur in every line."""
    return set(re.findall(r"\w{4,}", text.lower()))


def _summary(answer: Answer) -> str:
    """Return the line with time, mode and engine of an answer."""
    parts = [
        f"{plural(len(answer.hits), 'result')} in {answer.seconds:.3f} s",
        f"mode {answer.mode}",
    ]
    parts.append(f"engine {answer.engine} ({answer.model})" if answer.model else "no engine")
    if answer.reason:
        parts.append(answer.reason)
    return " · ".join(parts)
