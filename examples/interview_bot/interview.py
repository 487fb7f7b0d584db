"""The conversation with one person as a state machine: text in, text out, no I/O and no clock.

    NEW ──any text──▶ NAMING ──name──▶ ANSWERING ──answer──▶ THINKING
                                           ▲                    │
                                           └──────ask(...)──────┘
                                           └──last answer──▶ OVER

`/start` leads from everywhere to NAMING, `/stop` to OVER.

In THINKING, whoever drives the conversation looks for context to the answer and calls `ask`. That
blocks nothing: the person may go on typing, and `/start` or `/stop` make the pending `ask` void.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal, NamedTuple, get_args

Command = Literal["/start", "/stop", "/help"]

NAME_LENGTH = 60
"""Characters kept of a name: it is repeated to the person, and messengers limit a message."""


class Question(NamedTuple):
    """A question of the fixed list, for when nothing is known that fits the last answer."""

    topic: str
    question: str


class ReferencePoint(NamedTuple):
    """Something worth knowing about `topic`, with a question that leads on from it."""

    topic: str
    text: str
    question: str


class Phase(Enum):
    """Where a conversation stands."""

    NEW = "nothing was said yet"
    NAMING = "asked for the name"
    ANSWERING = "asked a question"
    THINKING = "heard an answer, choosing the next question"
    OVER = "at an end"


class Consult(NamedTuple):
    """The request for context to `answer`; `ticket` has to come back with it."""

    ticket: int
    answer: str


class Turn(NamedTuple):
    """What the person's text leads to: messages to send, and perhaps context to look for."""

    messages: tuple[str, ...] = ()
    consult: Consult | None = None


class Interview:
    """One conversation.

    Args:
        questions: the fixed list; the first opens every interview.
        length: how many questions are asked in all, at most as many as the list has.
    """

    def __init__(self, questions: Sequence[Question], length: int) -> None:
        if not 1 <= length <= len(questions):
            raise ValueError(f"length is {length}; the list has {len(questions)} questions")
        self._questions = questions
        self._length = length
        self._ticket = 0
        self._begin(Phase.NEW)

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self._ticket += 1  # a pending `ask` belongs to the conversation that ends here
        self._current = ""
        self._asked = 0
        self._topics: list[str] = []
        self._used: set[str] = set()
        self._name = ""

    def hear(self, text: str) -> Turn:
        """Take in what the person wrote, commands included, and say what follows from it."""
        words = " ".join(text.split())
        command = _command(words)
        return self._listen(words) if command is None else self._obey(command)

    def ask(self, ticket: int, nearest: Sequence[ReferencePoint]) -> str | None:
        """Return the next question: from the first new one of `nearest`, else from the list.

        None where `ticket` is void, because the person began anew or stopped meanwhile.
        """
        if self.phase is not Phase.THINKING or ticket != self._ticket:
            return None
        for point in nearest:
            if point.text not in self._used:
                self._used.add(point.text)
                return self._put(point.topic, f"On {point.topic}: {point.text} {point.question}")
        planned = self._planned()
        return self._put(planned.topic, planned.question)

    # What the commands and the phases do ----------------------------------------------------

    def _obey(self, command: Command) -> Turn:
        match command:
            case "/start":
                return self._greet()
            case "/stop":
                return self._stop()
            case "/help":
                return Turn(("/start begins a new interview, /stop ends this one.",))

    def _listen(self, words: str) -> Turn:
        match self.phase:
            case Phase.NEW:
                return self._greet()
            case Phase.NAMING:
                return self._learn_name(words)
            case Phase.ANSWERING:
                return self._take_answer(words)
            case Phase.THINKING:
                return Turn()  # people send one answer in several messages
            case Phase.OVER:
                return Turn(("This interview is over. Send /start for another one.",))

    def _greet(self) -> Turn:
        self._begin(Phase.NAMING)
        return Turn(
            (
                f"Hello! I would like to ask you {_counted(self._length)} about your work as a "
                "software engineer. /stop ends the interview, /start begins it anew.",
                "What is your name?",
            )
        )

    def _stop(self) -> Turn:
        if self.phase in (Phase.NEW, Phase.OVER):
            return Turn(("No interview is running. Send /start to begin one.",))
        return self._end("Stopped.")

    def _learn_name(self, words: str) -> Turn:
        if not words:
            return Turn(("I did not catch that. What shall I call you?",))
        self._name = words[:NAME_LENGTH].rstrip()
        first = self._planned()
        return Turn((f"Nice to meet you, {self._name}.", self._put(first.topic, first.question)))

    def _take_answer(self, words: str) -> Turn:
        if not words:
            return Turn((f"Take your time, a sentence or two will do. {self._current}",))
        if self._asked == self._length:
            return self._end("That was my last question.")
        self.phase = Phase.THINKING
        self._ticket += 1
        return Turn(consult=Consult(self._ticket, words))

    def _end(self, why: str) -> Turn:
        self.phase = Phase.OVER
        thanks = f"Thank you, {self._name}." if self._name else "Goodbye."
        spoken = f" We spoke about {', '.join(self._topics)}." if self._topics else ""
        return Turn((f"{why} {thanks}{spoken}",))

    # The questions --------------------------------------------------------------------------

    def _planned(self) -> Question:
        """The next of the list on a topic not spoken about yet."""
        unused = [planned for planned in self._questions if planned.question not in self._used]
        return next((each for each in unused if each.topic not in self._topics), unused[0])

    def _put(self, topic: str, question: str) -> str:
        """Ask `question`: remember it, and number it."""
        self._used.add(question)
        if topic not in self._topics:
            self._topics.append(topic)
        self._asked += 1
        self._current = f"({self._asked}/{self._length}) {question}"
        self.phase = Phase.ANSWERING
        return self._current


def _command(words: str) -> Command | None:
    """The command that `words` are, None where they are something said.

    Telegram sends `/start@name_of_the_bot` in places and `/start payload` behind a link. Any other
    word with a slash may well be an answer: /etc is a part of the job.
    """
    word = words.partition(" ")[0].partition("@")[0].lower()
    return next((command for command in get_args(Command) if command == word), None)


def _counted(length: int) -> str:
    return "one question" if length == 1 else f"{length} questions"
