"""The conversation by itself: text in, text out."""

from __future__ import annotations

import pytest
from examples.interview_bot.interview import (
    NAME_LENGTH,
    Interview,
    Phase,
    Question,
    ReferencePoint,
    Turn,
)

QUESTIONS = (
    Question("projects", "What are you proud of?"),
    Question("databases", "Where do you keep data?"),
    Question("testing", "How do you test?"),
    Question("security", "How do you keep secrets?"),
)
INDEXES = ReferencePoint("databases", "Indexes cost writes.", "Which indexes?")
LOCKS = ReferencePoint("concurrency", "Locks have an order.", "Which order?")


def begun(length: int = 3) -> Interview:
    """An interview whose first question was put to Ada."""
    interview = Interview(QUESTIONS, length)
    interview.hear("/start")
    interview.hear("Ada")
    return interview


def after(interview: Interview, answer: str, *nearest: ReferencePoint) -> str:
    """The question that follows `answer` when `nearest` were found."""
    consult = interview.hear(answer).consult
    assert consult is not None
    assert consult.answer == answer
    question = interview.ask(consult.ticket, nearest)
    assert question is not None
    return question


def test_greets_asks_the_name_then_opens_with_the_first_question() -> None:
    interview = Interview(QUESTIONS, 3)

    greeting = interview.hear("/start")
    opening = interview.hear("  Ada \t Lovelace ")

    assert "3 questions" in greeting.messages[0]
    assert greeting.messages[1] == "What is your name?"
    assert opening.messages == (
        "Nice to meet you, Ada Lovelace.",
        "(1/3) What are you proud of?",
    )
    assert interview.phase is Phase.ANSWERING


def test_whoever_writes_without_start_is_greeted_too() -> None:
    interview = Interview(QUESTIONS, 3)

    assert interview.hear("hi there").messages[0].startswith("Hello!")
    assert interview.phase is Phase.NAMING


def test_context_makes_the_question() -> None:
    assert after(begun(), "I like SQL", INDEXES) == (
        "(2/3) On databases: Indexes cost writes. Which indexes?"
    )


def test_without_context_the_next_of_the_list_is_asked() -> None:
    assert after(begun(), "I like SQL") == "(2/3) Where do you keep data?"


def test_the_list_leaves_out_topics_that_context_brought_up() -> None:
    interview = begun()
    after(interview, "I like SQL", INDEXES)

    assert after(interview, "and more") == "(3/3) How do you test?"


def test_a_point_is_used_once() -> None:
    interview = begun()
    after(interview, "I like SQL", INDEXES, LOCKS)

    assert after(interview, "I like SQL", INDEXES, LOCKS).startswith("(3/3) On concurrency:")


def test_no_question_comes_twice_even_where_every_topic_was_spoken_about() -> None:
    questions = [Question("one topic", f"Question {number}?") for number in range(4)]
    interview = Interview(questions, 4)
    interview.hear("/start")
    interview.hear("Ada")

    asked = [after(interview, "an answer") for _ in range(3)]

    assert [text.partition(" ")[2] for text in asked] == [
        "Question 1?",
        "Question 2?",
        "Question 3?",
    ]


def test_ends_after_the_last_answer_with_what_was_spoken_about() -> None:
    interview = begun(length=2)
    after(interview, "threads", LOCKS)

    farewell = interview.hear("done")

    assert farewell.consult is None
    assert farewell.messages == (
        "That was my last question. Thank you, Ada. We spoke about projects, concurrency.",
    )
    assert interview.phase is Phase.OVER
    assert "/start" in interview.hear("anything else?").messages[0]


@pytest.mark.parametrize("nothing", ["", "   ", "\n\t"])
def test_an_empty_name_or_answer_is_asked_for_again(nothing: str) -> None:
    interview = Interview(QUESTIONS, 3)
    interview.hear("/start")

    again = interview.hear(nothing)
    interview.hear("Ada")
    repeated = interview.hear(nothing)

    assert "What shall I call you?" in again.messages[0]
    assert repeated.consult is None
    assert "(1/3) What are you proud of?" in repeated.messages[0]
    assert interview.phase is Phase.ANSWERING


def test_start_in_the_middle_forgets_everything() -> None:
    interview = begun()
    after(interview, "I like SQL", INDEXES)

    assert interview.hear("/start").messages[1] == "What is your name?"
    assert interview.hear("Grace").messages[1] == "(1/3) What are you proud of?"
    assert after(interview, "I like SQL", INDEXES).startswith("(2/3) On databases:")


@pytest.mark.parametrize("command", ["/start", "/stop"])
def test_a_question_that_was_being_chosen_is_void_after_a_command(command: str) -> None:
    interview = begun()
    consult = interview.hear("I like SQL").consult
    assert consult is not None

    interview.hear(command)
    phase = interview.phase

    assert interview.ask(consult.ticket, [INDEXES]) is None
    assert interview.phase is phase


def test_an_old_ticket_does_not_answer_a_newer_thought() -> None:
    interview = begun()
    old = interview.hear("I like SQL").consult
    interview.hear("/start")
    interview.hear("Ada")
    new = interview.hear("I like threads").consult
    assert old is not None
    assert new is not None

    assert interview.ask(old.ticket, [INDEXES]) is None
    assert (
        interview.ask(new.ticket, [LOCKS])
        == "(2/3) On concurrency: Locks have an order. Which order?"
    )


def test_more_text_while_thinking_belongs_to_the_answer() -> None:
    interview = begun()
    consult = interview.hear("I like SQL").consult
    assert consult is not None

    assert interview.hear("and indexes, too") == Turn()
    assert interview.ask(consult.ticket, []) == "(2/3) Where do you keep data?"


def test_stop_says_goodbye_once() -> None:
    interview = begun()

    assert interview.hear("/stop").messages[0].startswith("Stopped. Thank you, Ada.")
    assert interview.hear("/stop").messages[0].startswith("No interview is running.")


def test_stop_before_a_name_names_nobody() -> None:
    interview = Interview(QUESTIONS, 3)
    interview.hear("/start")

    assert interview.hear("/stop").messages == ("Stopped. Goodbye.",)


@pytest.mark.parametrize(
    "command", ["/START", "/start@interview_bot", "/start from-a-link", " /start "]
)
def test_commands_as_messengers_send_them(command: str) -> None:
    interview = begun()

    assert interview.hear(command).messages[0].startswith("Hello!")


def test_a_path_is_an_answer() -> None:
    assert begun().hear("/etc/hosts was wrong, and /start-up scripts too").consult is not None


def test_help_changes_nothing() -> None:
    interview = begun()

    assert "/stop" in interview.hear("/help").messages[0]
    assert interview.phase is Phase.ANSWERING


def test_a_long_name_is_cut() -> None:
    interview = Interview(QUESTIONS, 3)
    interview.hear("/start")

    assert interview.hear("x" * 5000).messages[0] == f"Nice to meet you, {'x' * NAME_LENGTH}."


@pytest.mark.parametrize("length", [0, 5])
def test_an_interview_is_no_longer_than_its_list(length: int) -> None:
    with pytest.raises(ValueError, match="length"):
        Interview(QUESTIONS, length)
