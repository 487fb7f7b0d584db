"""The command line: argv to one call to output.

Exit status: 0 success, 1 failure, 2 usage error. An error is one line; `--debug` adds the
traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hotstart.cli.parser import build_parser
from hotstart.errors import HotstartError, InvalidInput, described

INTERRUPTED = 130  # exit status of a shell for SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; SystemExit only from argparse."""
    _open_closed_streams()
    arguments = build_parser().parse_args(argv)
    if arguments.debug:
        import logging

        logging.basicConfig(level=logging.DEBUG)
    module, _, function = arguments.run.partition(":")
    try:
        status = int(getattr(importlib.import_module(module), function)(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for example head, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        if arguments.debug:
            raise
        status = _print_error(error)
    return status


def run() -> NoReturn:
    """Run the command of `sys.argv` and end the process.

    End at once if a load or promotion still runs in a thread: waiting for it would exceed the
    timeout of the answer, and the interpreter must not be torn down under native code.
    """
    status = main()
    pool = sys.modules.get("hotstart.pool.pool")
    if pool is not None and pool.default_pool().loading():
        preparation = sys.modules.get("hotstart.preparation.prepare")
        if preparation is not None:
            preparation.remove_unfinished()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Replace a closed standard stream, which Python has as None, by an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _print_error(error: Exception) -> int:
    if isinstance(error, HotstartError):
        message = str(error)
    else:
        message = f"{described(error)}. Run it again with --debug for the traceback."
    sys.stderr.write("hotstart: " + " ".join(message.split()) + "\n")
    return 2 if isinstance(error, InvalidInput) else 1
