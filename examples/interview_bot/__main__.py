"""`python -m examples.interview_bot`: an interviewer in a terminal, as a Telegram bot, measured."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from examples.interview_bot.interviewer import LENGTH
from examples.interview_bot.reference import RETRIEVAL_SECONDS, load_questions

if TYPE_CHECKING:
    from examples.interview_bot.interviewer import Interviewer

TOKEN_VARIABLE = "TELEGRAM_BOT_TOKEN"
RESULTS = Path(__file__).parent / "results" / "bench.json"


def main(argv: list[str] | None = None) -> int:
    """Run a command; 2 where it can't be begun, 1 where the bench's promises were not kept."""
    arguments = _arguments(argv)
    if arguments.command == "bench":
        from examples.interview_bot import bench

        return bench.main(arguments.out)
    _log_to(arguments.log, arguments.command)
    from hotstart import HotstartError

    run = _terminal if arguments.command == "terminal" else _telegram
    try:
        return run(arguments)
    except HotstartError as error:  # a name or a folder that can't be a model
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _terminal(arguments: argparse.Namespace) -> int:
    from examples.interview_bot.terminal import converse

    async def talk() -> None:
        interviewer = _interviewer(arguments)
        try:
            await converse(interviewer)
        finally:
            await interviewer.close()

    asyncio.run(talk())
    return 0


def _interviewer(arguments: argparse.Namespace) -> Interviewer:
    from examples.interview_bot.assembly import make_interviewer

    return make_interviewer(
        arguments.model, arguments.qdrant, arguments.questions, arguments.timeout
    )


def _telegram(arguments: argparse.Namespace) -> int:
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        print(f"{TOKEN_VARIABLE} is not set. Put the bot's token there.", file=sys.stderr)
        return 2
    # Before aiogram's three seconds of imports: the model loads meanwhile.
    interviewer = _interviewer(arguments)
    from aiogram.exceptions import TelegramAPIError
    from aiogram.utils.token import TokenValidationError

    from examples.interview_bot.telegram import serve

    async def listen() -> None:
        try:
            await serve(interviewer, token, arguments.api)
        finally:
            await interviewer.close()

    try:
        asyncio.run(listen())
    except TokenValidationError:
        print(f"{TOKEN_VARIABLE} does not hold a bot token.", file=sys.stderr)
        return 2
    except TelegramAPIError as error:
        print(f"The Bot API refused to begin: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.interview_bot", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    terminal = commands.add_parser("terminal", help="be interviewed here")
    telegram = commands.add_parser("telegram", help=f"a bot; its token is in {TOKEN_VARIABLE}")
    telegram.add_argument("--api", metavar="URL", help="another Bot API server")
    for command in (terminal, telegram):
        _add_common(command)
    bench = commands.add_parser("bench", help="measure how long a person waits")
    bench.add_argument("--out", type=Path, default=RESULTS, help="file for the JSON")
    return parser.parse_args(argv)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="all-MiniLM-L6-v2", help="name, folder, or fake:...")
    command.add_argument("--qdrant", metavar="URL", help="a Qdrant server; in memory without")
    command.add_argument(
        "--timeout",
        type=float,
        default=RETRIEVAL_SECONDS,
        metavar="SECONDS",
        help=f"wait so long for the topic of an answer, {RETRIEVAL_SECONDS:g} by default",
    )
    command.add_argument(
        "--questions",
        type=int,
        default=LENGTH,
        choices=range(1, len(load_questions()) + 1),
        metavar="N",
        help=f"questions in an interview, {LENGTH} by default",
    )
    command.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="terminal: in the user's log folder by default; telegram: standard error",
    )


def _log_to(chosen: Path | None, command: str) -> None:
    """Set up the log, which in the terminal must not appear between question and answer."""
    file = chosen
    if file is None and command == "terminal":
        from platformdirs import user_log_path

        file = user_log_path("hotstart") / "interview_bot.log"
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.captureWarnings(True)


if __name__ == "__main__":
    sys.exit(main())
