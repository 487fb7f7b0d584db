"""What is asked, and what the assistant knows: each fact can be asked for in five ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

WAYS = (
    "What about {topic}",
    "Could you tell me something on {topic} please",
    "I would like to know more about {topic}",
    "Hello, a question: {topic}, how is that",
    "My neighbour asked me for {topic} yesterday, do you know",
)


class Fact(NamedTuple):
    """Something the assistant can answer."""

    topic: str
    answer: str


class Question(NamedTuple):
    """What is said, and the place of the fact that answers it."""

    text: str
    fact: int


def facts() -> list[Fact]:
    """Return the knowledge base."""
    path = Path(__file__).parent / "data" / "facts.json"
    return [Fact(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def questions(number: int) -> list[Question]:
    """Return `number` questions, each another text, at most 200."""
    known = facts()
    every = [
        Question(way.format(topic=fact.topic), place)
        for way in WAYS
        for place, fact in enumerate(known)
    ]
    if number > len(every):
        raise SystemExit(f"there are {len(every)} questions, not {number}")
    return every[:number]


def normalised(said: str) -> str:
    """Return what a recogniser heard as it is asked: one space between words, no filler words."""
    words = [word for word in said.split() if word.strip(",.").lower() not in {"er", "um", "hello"}]
    return " ".join(words).rstrip("?.!, ")
