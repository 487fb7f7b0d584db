"""`hotstart profile`: report where the time to the first vector goes."""

from __future__ import annotations

import argparse
import json
import os
import shutil

from hotstart.cli.terminal import check_output, write_output
from hotstart.config import Settings, read_settings
from hotstart.errors import ArtifactDamaged, InvalidInput, check_count
from hotstart.models.artifacts import find
from hotstart.models.locate import locate
from hotstart.models.spec import ModelSpec
from hotstart.profiling.profiler import Subject, profile
from hotstart.profiling.render import chart, page
from hotstart.progress import bar
from hotstart.types import LoadingStrategy


def run(arguments: argparse.Namespace) -> int:
    """Measure fresh processes and print where their time goes."""
    check_count("--runs", arguments.runs)
    subject = _subject(arguments.model, arguments.strategy)
    if arguments.html:
        check_output("--html", arguments.html)  # check before the minute-long measurement
    with bar("Measuring", 100, shown=not arguments.quiet) as advance:
        shown = 0

        def on_run(done: int, total: int) -> None:
            nonlocal shown
            advance(100 * done // total - shown)
            shown = 100 * done // total

        report = profile(subject, arguments.runs, arguments.against, on_run)
    if arguments.json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        print(chart(report, min(100, shutil.get_terminal_size().columns)))
    if arguments.html:
        write_output(arguments.html, page(report).encode())
    return 0


def _subject(model: str, strategy: str | None) -> Subject:
    names = [known.value for known in LoadingStrategy]
    if strategy is not None and strategy not in names:
        raise InvalidInput("--strategy", got=strategy, expected=f"one of {', '.join(names)}")
    settings = read_settings()
    folder = _own_folder(ModelSpec(model), settings)
    elsewhere = folder is not None and _device(folder) != _device(settings.cache_dir)
    return Subject(model, strategy, folder, elsewhere)


def _own_folder(spec: ModelSpec, settings: Settings) -> str | None:
    """Return the folder of the model; None if only its prepared files exist."""
    try:
        artifact = find(spec, settings)
    except ArtifactDamaged:
        artifact = None
    if artifact is None:
        return locate(spec, settings).folder
    folder = artifact.metadata.original_folder
    return folder if os.path.isdir(folder) else None


def _device(path: str) -> int:
    """Return the device number of `path` or of its nearest existing parent."""
    path = os.path.realpath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev
