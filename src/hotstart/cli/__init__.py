"""The command line: argv to one call to output.

Exit status: 0 done, 1 failed, 2 misused. An error is one line; `--debug` shows its traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hotstart.cli.parser import build_parser
from hotstart.errors import HotstartError, InvalidInput

INTERRUPTED = 130  # what a shell reports for SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; SystemExit only from argparse."""
    arguments = build_parser().parse_args(argv)
    if arguments.debug:
        import logging

        logging.basicConfig(level=logging.DEBUG)
    module, _, function = arguments.run.partition(":")
    try:
        status = int(getattr(importlib.import_module(module), function)(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        if arguments.debug:
            raise
        status = _tell(error)
    return status


def run() -> NoReturn:
    """Run the command of this process's own arguments and end the process.

    At once where the answer is out and a load or a promotion still runs in a thread: waiting for
    it would break the deadline the answer was given by, and the interpreter must not be torn down
    under native code.
    """
    status = main()
    pool = sys.modules.get("hotstart.pool.pool")
    if pool is not None and pool.default_pool().loading():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _tell(error: Exception) -> int:
    if isinstance(error, HotstartError):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}. Run it again with --debug for the traceback."
    sys.stderr.write("hotstart: " + " ".join(message.split()) + "\n")
    return 2 if isinstance(error, InvalidInput) else 1
