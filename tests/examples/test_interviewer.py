"""Several conversations over one source of context."""

from __future__ import annotations

import asyncio
import logging

import pytest
from examples.interview_bot import interviewer as module
from examples.interview_bot.interview import Question, ReferencePoint
from examples.interview_bot.interviewer import Interviewer
from examples.interview_bot.reference import ContextUnavailable

QUESTIONS = [Question(f"topic {number}", f"Question {number}?") for number in range(4)]


class Context:
    """Finds a point that repeats the answer, once `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[str] = []

    def prepare(self) -> None:
        pass

    async def nearest(self, answer: str, limit: int) -> list[ReferencePoint]:
        self.asked.append(answer)
        await self.answers.wait()
        if answer == "nothing":
            raise ContextUnavailable("the reason of the test")
        return [ReferencePoint(answer, f"About {answer}.", "Why?")]

    async def close(self) -> None:
        pass


def test_each_chat_has_its_own_conversation() -> None:
    async def scene() -> None:
        context = Context()
        interviewer = Interviewer(context, QUESTIONS, 3)
        for chat in (1, 2):
            await interviewer.hear(chat, "/start")
        await interviewer.hear(1, "Ada")
        await interviewer.hear(2, "Bob")
        both = asyncio.gather(interviewer.hear(1, "locks"), interviewer.hear(2, "tables"))
        await asyncio.sleep(0)
        assert context.asked == ["locks", "tables"]  # at once, nobody waits for another
        context.answers.set()
        first, second = await both
        assert first.messages == ("(2/3) On locks: About locks. Why?",)
        assert second.messages == ("(2/3) On tables: About tables. Why?",)

    asyncio.run(scene())


def test_start_while_a_question_is_chosen_is_answered_at_once_and_drops_it() -> None:
    async def scene() -> None:
        context = Context()
        interviewer = Interviewer(context, QUESTIONS, 3)
        await interviewer.hear(1, "/start")
        await interviewer.hear(1, "Ada")
        pending = asyncio.create_task(interviewer.hear(1, "locks"))
        await asyncio.sleep(0)
        again = await interviewer.hear(1, "/start")
        assert again.messages[1] == "What is your name?"
        context.answers.set()
        assert (await pending).messages == ()

    asyncio.run(scene())


def test_without_context_the_log_says_why_and_the_person_does_not_hear_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> tuple[str, ...]:
        context = Context()
        context.answers.set()
        interviewer = Interviewer(context, QUESTIONS, 3)
        await interviewer.hear(7, "/start")
        await interviewer.hear(7, "Ada")
        return (await interviewer.hear(7, "nothing")).messages

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(scene()) == ("(2/3) Question 1?",)
    assert caplog.messages == ["chat 7: asking without context: the reason of the test"]


def test_the_conversation_that_was_silent_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHATS_KEPT", 2)

    async def scene() -> tuple[str, str]:
        interviewer = Interviewer(Context(), QUESTIONS, 3)
        for chat in (1, 2):
            await interviewer.hear(chat, "/start")
        await interviewer.hear(1, "Ada")
        await interviewer.hear(3, "/start")  # 2 goes
        kept = await interviewer.hear(1, "")
        gone = await interviewer.hear(2, "Bob")
        return kept.messages[0], gone.messages[0]

    kept, gone = asyncio.run(scene())
    assert "Question 0?" in kept
    assert gone.startswith("Hello!")


def test_says_when_a_conversation_is_over() -> None:
    async def scene() -> list[bool]:
        interviewer = Interviewer(Context(), QUESTIONS, 1)
        return [
            (await interviewer.hear(1, text)).over for text in ("/start", "Ada", "done", "/start")
        ]

    assert asyncio.run(scene()) == [False, False, True, False]
