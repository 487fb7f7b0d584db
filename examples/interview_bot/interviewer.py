"""Everybody's conversations: one for each chat, over one shared index of reference points."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

from examples.interview_bot.interview import Consult, Interview, Phase, Question, ReferencePoint
from examples.interview_bot.reference import ContextUnavailable

LENGTH = 6
"""Questions of an interview, where nothing else is asked for."""
CHATS_KEPT = 10_000
"""Conversations kept in memory; the one that was silent longest goes first and may begin anew."""

_log = logging.getLogger(__name__)


class ContextSource(Protocol):
    """Where context comes from: `ReferenceIndex`, or something else that can be asked."""

    def prepare(self) -> object:
        """Begin to get ready, and return at once."""

    async def nearest(self, answer: str, limit: int) -> list[ReferencePoint]:
        """Return what has to do with `answer`, or raise ContextUnavailable."""

    async def close(self) -> None:
        """Let go of everything."""


class Reply(NamedTuple):
    """What to send to a chat, and whether its conversation is at an end."""

    messages: tuple[str, ...]
    over: bool


class Interviewer:
    """Holds the conversations; the transports hand it what people write and send what it replies.

    Args:
        context: asked about every answer but the last; what it can't tell in time is done without.
        questions: the fixed list.
        length: questions in each interview.
    """

    def __init__(
        self, context: ContextSource, questions: Sequence[Question], length: int = LENGTH
    ) -> None:
        self._context = context
        self._questions = questions
        self._length = length
        self._chats: OrderedDict[Hashable, Interview] = OrderedDict()

    def prepare(self) -> None:
        """Let the reference points get ready in the background; returns at once."""
        self._context.prepare()

    async def hear(self, chat: Hashable, text: str) -> Reply:
        """Return the replies to what the person in `chat` wrote, after a few seconds at most.

        May be called again for the same chat while a call is under way.
        """
        interview = self._interview(chat)
        turn = interview.hear(text)
        messages = turn.messages
        if turn.consult is not None:
            nearest = await self._nearest(chat, turn.consult)
            question = interview.ask(turn.consult.ticket, nearest)
            messages += () if question is None else (question,)
        return Reply(messages, interview.phase is Phase.OVER)

    async def close(self) -> None:
        """Let go of the model's index; the conversations end with the process."""
        await self._context.close()

    async def _nearest(self, chat: Hashable, consult: Consult) -> list[ReferencePoint]:
        """Context to an answer; none where it can't be had, which only the log is told."""
        try:
            # One more than was asked so far would do: each may be used once.
            nearest = await self._context.nearest(consult.answer, self._length)
        except ContextUnavailable as reason:
            _log.warning("chat %s: asking without context: %s", chat, reason)
            return []
        _log.info("chat %s: asking with context on %s", chat, nearest[0].topic)
        return nearest

    def _interview(self, chat: Hashable) -> Interview:
        interview = self._chats.get(chat)
        if interview is None:
            interview = self._chats[chat] = Interview(self._questions, self._length)
            if len(self._chats) > CHATS_KEPT:
                self._chats.popitem(last=False)
        self._chats.move_to_end(chat)
        return interview
