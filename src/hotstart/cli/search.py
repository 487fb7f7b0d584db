"""`hotstart search` and `hotstart get`: answers from indexes, and the lines of a file."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from contextlib import suppress

from hotstart.cli.display import Display, as_json
from hotstart.cli.terminal import columns, has_colours, plural, shown_path, visible
from hotstart.config import read_settings
from hotstart.embedder import Embedder
from hotstart.errors import (
    IndexBusy,
    IndexMissing,
    InvalidInput,
    ModelNotFound,
    check_count,
)
from hotstart.models.artifacts import find
from hotstart.models.spec import ModelSpec
from hotstart.progress import spinner
from hotstart.reranker import Reranker
from hotstart.search import Answer, SearchIndex
from hotstart.search.indexes import SearchIndexes


def run(arguments: argparse.Namespace) -> int:
    """Search and print the answer; on a terminal first by words, then refined in place."""
    _check(arguments)
    embedder = Embedder(arguments.model, strategy="progressive")
    reranker = Reranker(arguments.reranker) if arguments.reranker else None
    index = _indexes(arguments, embedder, reranker)
    first: list[str] = []
    if _refines(arguments):
        answer = _answer(index, arguments, timeout=0)
        shown = _shown(index, answer, arguments)
        if answer.hits and len(shown) < shutil.get_terminal_size().lines:
            first = shown
            print("\n".join(first), flush=True)
            if embedder.state == "unloaded" and reranker is None:
                return 0  # there is nothing to wait for: the index has no vectors
    with spinner(f"Loading {arguments.model}", shown=not arguments.quiet):
        answer = _answer(index, arguments, arguments.timeout)
    shown = _shown(index, answer, arguments)
    # One write, so that nothing flickers: to the first line, clear what is below, the answer.
    start = f"\033[{len(first)}F\033[J" if first else ""
    print(start + "\n".join(shown))
    _print_remedies(embedder, ModelSpec(arguments.model))
    return 0


def _refines(arguments: argparse.Namespace) -> bool:
    """Return whether a first answer is shown while the model loads."""
    waits = arguments.timeout is None or arguments.timeout > 0
    is_plain = not (arguments.json or arguments.files or arguments.regex)
    return waits and is_plain and sys.stdout.isatty()


def _answer(
    index: SearchIndex | SearchIndexes, arguments: argparse.Namespace, timeout: float | None
) -> Answer:
    return index.search(
        arguments.query,
        top_k=arguments.top_k,
        timeout=timeout,
        regex=arguments.regex,
        min_score=arguments.min_score,
        activation=not arguments.no_activation,
    )


def _shown(
    index: SearchIndex | SearchIndexes, answer: Answer, arguments: argparse.Namespace
) -> list[str]:
    """Return the lines to print."""
    if arguments.files:
        return [visible(shown_path(hit.file)) for hit in answer.hits]
    excerpts = (
        index.excerpt(answer.query, hit, arguments.context, regex=arguments.regex)
        for hit in answer.hits
    )
    if arguments.json:
        return [json.dumps(as_json(answer, excerpts), ensure_ascii=False, indent=1)]
    display = Display(
        width=columns(),
        colours=has_colours(arguments.color),
        explain=arguments.explain,
        gaps=arguments.context is not None,
    )
    return list(display.answer(answer, excerpts))


def _indexes(
    arguments: argparse.Namespace, embedder: Embedder, reranker: Reranker | None
) -> SearchIndex | SearchIndexes:
    """Return the index to search, or the several that are named."""
    paths = arguments.path or ([] if arguments.store else ["."])
    indexes = [_nearest(path, embedder, reranker, arguments) for path in paths]
    indexes += [
        SearchIndex.stored(store, embedder, reranker=reranker) for store in arguments.store or ()
    ]
    return indexes[0] if len(indexes) == 1 else SearchIndexes(indexes)


def _nearest(
    path: str, embedder: Embedder, reranker: Reranker | None, arguments: argparse.Namespace
) -> SearchIndex:
    """Return the index of `path`; index the words of a folder that was never indexed."""
    try:
        return SearchIndex.nearest(path, embedder, reranker=reranker)
    except IndexMissing:
        folder = os.path.abspath(path)
        # Nobody means a whole disk, which is its own parent, or all that is theirs.
        is_wide = folder in (os.path.expanduser("~"), os.path.dirname(folder))
        if arguments.no_index or is_wide or not os.path.isdir(folder):
            raise
    with spinner(f"Indexing {path}", shown=not arguments.quiet):
        report = SearchIndex(path).update()
    if not arguments.quiet:
        print(
            f"{visible(path)} was not indexed: {plural(report.added, 'file')} are now, in "
            f"{report.seconds:.1f} s, by their words. For vectors, run hotstart index.",
            file=sys.stderr,
        )
    return SearchIndex(path, embedder, reranker=reranker)


def _check(arguments: argparse.Namespace) -> None:
    """Raise InvalidInput before anything is read."""
    if not (arguments.query.strip() or arguments.regex):
        raise InvalidInput("QUERY", got=arguments.query, expected="a text with a word in it")
    check_count("--top-k", arguments.top_k)
    if arguments.timeout is not None and not arguments.timeout >= 0:
        raise InvalidInput("--timeout", got=arguments.timeout, expected="a number from 0 on")
    if not 0 <= arguments.min_score <= 1:
        expected = "a number from 0 to 1"
        raise InvalidInput("--min-score", got=arguments.min_score, expected=expected)
    if arguments.context is not None and arguments.context < 0:
        raise InvalidInput("--context", got=arguments.context, expected="a number from 0 on")
    for path in arguments.path or ():
        if not os.path.exists(path):
            raise InvalidInput("--path", got=path, expected="a folder that is there")


def _print_remedies(embedder: Embedder, spec: ModelSpec) -> None:
    """Print what would make the answer a hybrid one."""
    if isinstance(embedder.error, ModelNotFound):
        print(f"hotstart: {visible(str(embedder.error))}", file=sys.stderr)
    if embedder.state == "loading" and find(spec, read_settings()) is None:
        # The process ends now, and its preparation with it.
        advice = f"hotstart models prepare {spec.arguments}"
        print(f"The model was never prepared. For hybrid answers, run {advice}.", file=sys.stderr)


_PLACE = re.compile(r"(?P<path>.*?):(?P<first>\d+)(?:-(?P<last>\d+)|:\d+)?", re.DOTALL)


def run_get(arguments: argparse.Namespace) -> int:
    """Print lines of a file below an indexed folder, with their numbers."""
    given = arguments.place
    place = None if os.path.exists(given) else _PLACE.fullmatch(given)
    path = place["path"] if place else given
    index = (
        SearchIndex.stored(arguments.store)
        if arguments.store
        else SearchIndex.nearest(os.path.dirname(path) or ".")
    )
    # As hotstart search shows it, from here; or as a hit has it, from the indexed folder.
    wanted = os.path.abspath(path) if os.path.exists(path) else path
    text = index.read(wanted)
    with suppress(IndexBusy):  # the lines are worth more than the note that they were read
        index.touch(wanted)
    lines = re.split(r"\r\n|\r|\n", text.removesuffix("\n"))
    first = int(place["first"]) if place else 1
    last = int(place["last"] or first) if place else len(lines)
    if not 1 <= first <= min(last, len(lines)):
        raise InvalidInput(
            "PATH", got=given, expected=f"lines of 1 to {len(lines)}, the first first"
        )
    last = min(last, len(lines))
    for number, line in enumerate(lines[first - 1 : last], first):
        shown = visible(line) if sys.stdout.isatty() else line
        print(shown if arguments.no_line_number else f"{number:>{len(str(last))}}: {shown}")
    return 0
