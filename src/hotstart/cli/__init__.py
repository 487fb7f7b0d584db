"""The command line: argv to one call to output.

Exit status: 0 success, 1 failure, 2 usage error, 130 Ctrl-C. An error is one line; `--debug` adds
the traceback.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hotstart._lazy import require
from hotstart.cli.parser import build_parser
from hotstart.cli.terminal import visible
from hotstart.config import is_completion
from hotstart.errors import HotstartError, InvalidInput, described

INTERRUPTED = 130  # exit status of a shell for SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; SystemExit only from argparse."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack letters of the results
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = argparse.Namespace(kept=None, debug=False)
    try:
        arguments = _parse([*(sys.argv[1:] if argv is None else argv)])
        if arguments.run is None:
            arguments.parser.print_help()
            return 0
        _set_up_logging(arguments)
        module, _, function = arguments.run.partition(":")
        status = int(getattr(importlib.import_module(module), function)(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for example head, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        if arguments.kept:
            sys.stderr.write(f"\n{arguments.kept}\n")
        status = INTERRUPTED
    except Exception as error:
        if arguments.debug:
            raise
        status = _print_error(error, arguments)
    return status


def run() -> NoReturn:
    """Run the command of `sys.argv` and end the process.

    End at once if a load or promotion still runs in a thread: waiting for it would exceed the
    timeout of the answer, and the interpreter must not be torn down under native code.
    """
    status = main()
    pool = sys.modules.get("hotstart.pool.pool")
    if pool is not None and pool.default_pool().loading():
        # A thread may be importing the module: then it lacks the function, and nothing is prepared.
        preparation = sys.modules.get("hotstart.preparation.prepare")
        remove_unfinished = getattr(preparation, "remove_unfinished", None)
        if remove_unfinished is not None:
            remove_unfinished()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = build_parser()
    if is_completion():
        require("argcomplete", extra="completion").autocomplete(parser)
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    return parser.parse_args(argv)


def _set_up_logging(arguments: argparse.Namespace) -> None:
    if arguments.debug or arguments.verbose:
        import logging

        level = logging.DEBUG if arguments.debug else logging.INFO
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def _open_closed_streams() -> None:
    """Replace a closed standard stream, which Python has as None, by an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


_PYTHONS = (" (or pass allow_download=True)", ", or None", " or None")
"""What messages say to a program and a command cannot do."""


def _print_error(error: Exception, arguments: argparse.Namespace) -> int:
    """Print `error` in the words of the command line and return the exit status."""
    if isinstance(error, HotstartError):
        message = str(error)
        for words in _PYTHONS:
            message = message.replace(words, "")
        name, space, rest = message.removeprefix("server.").partition(" ")
        if isinstance(error, InvalidInput) and name in vars(arguments):
            message = _option(name, arguments.parser) + space + rest
    else:
        message = f"{described(error)}. Run it again with --debug for the traceback."
    sys.stderr.write("hotstart: " + visible(" ".join(message.split())) + "\n")
    return 2 if isinstance(error, InvalidInput) else 1


def _option(name: str, parser: argparse.ArgumentParser) -> str:
    """Return how the command line calls the argument `name`: `--top-k` for `top_k`."""
    for action in parser._actions:
        if action.dest == name:
            return action.option_strings[-1] if action.option_strings else str(action.metavar)
    return name
