"""`hotstart index`, `hotstart status` and `hotstart forget`: what is indexed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import asdict

from hotstart.cli.terminal import columns, file_size, plural, shown_path, table, visible
from hotstart.config import read_settings
from hotstart.embedder import Embedder
from hotstart.errors import (
    HotstartError,
    IndexBusy,
    InvalidInput,
    ModelError,
    ReadinessError,
)
from hotstart.models.artifacts import Artifact, list_artifacts
from hotstart.models.spec import check_kind
from hotstart.progress import Advance, bar
from hotstart.search import SearchIndex, UpdateReport
from hotstart.watch import Watch


def run(arguments: argparse.Namespace) -> int:
    """Index changed files below the folders and print a summary; go on with --watch."""
    for path in arguments.path:
        if not os.path.isdir(path):
            raise InvalidInput("PATH", got=path, expected="a folder")
    embedder = None
    if not arguments.lexical:
        check_kind(arguments.model, "embedding")
        embedder = Embedder(arguments.model, strategy="background")
    index = _index_to_update(arguments, embedder)
    if arguments.watch:
        return _Watching(arguments, index).run()
    print(_summary(_update(arguments, index), names_skipped=arguments.verbose))
    return 0


def _index_to_update(arguments: argparse.Namespace, embedder: Embedder | None) -> SearchIndex:
    if arguments.store and not arguments.path and os.path.isdir(arguments.store):
        return SearchIndex.stored(arguments.store, embedder)
    return SearchIndex(arguments.path or ".", embedder, arguments.store)


def _update(
    arguments: argparse.Namespace, index: SearchIndex, *, shows_progress: bool = True
) -> UpdateReport:
    with ExitStack() as stack:
        bars = _Bars(stack, shown=shows_progress and not arguments.quiet)
        try:
            return index.update(bars.report, arguments.include, arguments.exclude)
        except (ModelError, ReadinessError):
            print("The words are indexed; no vectors were computed.")
            raise


def _summary(report: UpdateReport, *, names_skipped: bool) -> str:
    """Return what an update did, in one line, and what it skipped."""
    lines = []
    if names_skipped:
        for path, reason in sorted(report.skipped_files.items()):
            lines.append(f"skipped  {reason:20} {visible(path)}")
    lines.append(_changes(report))
    if report.skipped:
        counts = sorted(report.skipped.items(), key=lambda counted: (-counted[1], counted[0]))
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        names = "" if names_skipped else " (--verbose names them)"
        lines.append(textwrap.fill(f"skipped: {reasons}{names}", columns(), subsequent_indent="  "))
    if report.unread_share >= 0.0005:
        lines.append(
            f"{report.unread_share:.1%} of the tokens are in no vector: "
            "they are beyond what the model reads of a chunk"
        )
    return "\n".join(lines)


def _changes(report: UpdateReport) -> str:
    kept = f", {report.kept} kept" if report.kept else ""
    return (
        f"{report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged{kept}: {plural(report.chunks, 'chunk')}, "
        f"{report.embedded} embedded, {report.seconds:.1f} s"
    )


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


_BUSY = 1.0  # seconds to the next try while another process writes the index


class _Watching:
    """Updates an index at each change of its folders, until Ctrl-C or SIGTERM."""

    def __init__(self, arguments: argparse.Namespace, index: SearchIndex) -> None:
        self._arguments = arguments
        self._index = index
        self._changed = threading.Event()
        self._watch = Watch(lambda paths: self._changed.set(), self._ignores)
        self._gone: set[str] = set()

    def run(self) -> int:
        """Watch and update; return the exit status."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with closing(self._watch):
            self._watch.cover(self._index.folders)
            print(_summary(_update(self._arguments, self._index), names_skipped=False))
            print("watching; Ctrl-C ends it", flush=True)
            try:
                while True:
                    self._changed.wait(self._follow())
                    self._changed.clear()
                    self._watch.cover(self._index.folders)
            except KeyboardInterrupt:
                return 0

    def _follow(self) -> float | None:
        """Update the index; return after how many seconds to do so without a change."""
        gone = self._missing()
        for folder in sorted(gone - self._gone):
            _say(f"{folder} is gone; waiting for it")
        self._gone = gone
        if gone:
            return None
        try:
            report = _update(self._arguments, self._index, shows_progress=False)
        except IndexBusy:
            return _BUSY
        except (ModelError, ReadinessError) as error:
            sys.stderr.write(f"hotstart: {visible(str(error))}\n")
            return None
        except HotstartError:
            if not self._missing():
                raise
            return 0.0  # it went meanwhile
        if report.added or report.changed or report.removed or report.embedded:
            _say(_changes(report))
        return None

    def _missing(self) -> set[str]:
        return {folder for folder in self._index.folders if not os.path.isdir(folder)}

    def _ignores(self, path: str) -> bool:
        """Return whether `path` is one of git's or of an index, or below one."""
        folders = path.split(os.sep)
        home = self._index.home
        return ".git" in folders or ".hotstart" in folders or f"{path}/".startswith(f"{home}/")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {visible(text)}", flush=True)


def run_status(arguments: argparse.Namespace) -> int:
    """Print what is indexed, and what changed since."""
    path = arguments.path
    index = SearchIndex.stored(arguments.store) if arguments.store else SearchIndex.nearest(path)
    status = index.status()
    models = _models()
    if arguments.json:
        vectors = [
            {"fingerprint": space, "model": models.get(space), "vectors": count}
            for space, count in status.vectors.items()
        ]
        print(json.dumps(asdict(status) | {"vectors": vectors}, ensure_ascii=False, indent=1))
        return 0
    pending = [f"{count} {what}" for what, count in asdict(status.pending).items() if count]
    rows = [
        ("folder", ", ".join(map(shown_path, status.folders))),
        ("index", f"{shown_path(status.home)}, {file_size(status.size)}"),
        ("files", str(status.documents)),
        ("chunks", str(status.chunks)),
        *(
            ("vectors", f"{count} of {models.get(space, f'the space {space[:12]}')}")
            for space, count in status.vectors.items()
        ),
        ("changed", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.changed_at))),
        ("state", f"stale: {', '.join(pending)} since" if pending else "up to date"),
    ]
    if not status.vectors:
        rows.insert(4, ("vectors", "none"))
    print(table(("", ""), rows))
    return 0


def _models() -> dict[str, str]:
    """Return the name of each prepared model by the fingerprint of its vectors."""
    found = list_artifacts(read_settings())
    prepared = [each.metadata for each in found if isinstance(each, Artifact)]
    exact = {each.fingerprint: each.source for each in prepared}
    return {each.comparable_with: each.source for each in prepared if each.comparable_with} | exact


def run_forget(arguments: argparse.Namespace) -> int:
    """Remove a file, a folder or everything from an index."""
    if arguments.path is None and not arguments.all:
        raise InvalidInput("PATH", got="none", expected="an indexed file or folder, or --all")
    path = os.path.abspath(arguments.path or ".")
    index = SearchIndex.stored(arguments.store) if arguments.store else SearchIndex.nearest(path)
    if arguments.all:
        index.delete()
        print(f"The index of {visible(shown_path(index.path))} is removed. The files stay.")
        return 0
    print(f"{plural(index.forget(path), 'file')} forgotten.")
    if os.path.exists(path):
        print("The next hotstart index adds what is still there, unless --exclude leaves it out.")
    return 0
