"""The conversation in a terminal: lines in, lines out."""

from __future__ import annotations

import asyncio
import sys
from threading import Thread

from examples.interview_bot.interviewer import Interviewer

_CHAT = "terminal"


async def converse(interviewer: Interviewer) -> None:
    """Talk to whoever types, until the interview is over or the input ends (Ctrl-D)."""
    reply = await interviewer.hear(_CHAT, "/start")
    _show(reply.messages)
    interviewer.prepare()
    lines = _lines()
    while not reply.over:
        line = await lines.get()
        if line is None:
            if sys.stdin.isatty():
                print()  # the cursor stands behind the prompt
            reply = await interviewer.hear(_CHAT, "/stop")
        else:
            reply = await interviewer.hear(_CHAT, line)
        _show(reply.messages, prompt=not reply.over)


def _show(messages: tuple[str, ...], *, prompt: bool = True) -> None:
    for message in messages:
        print(message)
    if prompt and sys.stdin.isatty():
        print("> ", end="")
    sys.stdout.flush()


def _lines() -> asyncio.Queue[str | None]:
    """The lines of standard input as they are typed, None at its end.

    A thread reads them: an event loop can't wait for a file, and asyncio's own threads would keep
    the program from ending while somebody might still type.
    """
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hand_over(line: str | None) -> None:
        try:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        except RuntimeError:
            return  # the loop is closed: the program is ending and nobody listens

    def read() -> None:
        # A file object of its own: the interpreter, when it ends, wants the lock of sys.stdin,
        # which a thread that reads from it holds. Bytes that are no UTF-8 end no conversation.
        with open(0, encoding="utf-8", errors="replace", closefd=False) as typed:
            for line in typed:
                hand_over(line)
        hand_over(None)

    Thread(target=read, name="keyboard", daemon=True).start()
    return lines
