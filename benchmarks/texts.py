"""The texts every peer embeds: English made by a seeded generator, the same on every machine."""

from __future__ import annotations

import random

BULK_TEXTS = 512
LATENCY_TEXTS = 200
WARM_UP_TEXTS = 20
COMPARED_TEXTS = 80
BULK_WORDS = (26, 63, 156)
"""Least, most common and greatest number of words; about 122 tokens of MiniLM's on average."""

_SUBJECTS = (
    "the engineer", "a careful reader", "our team", "the committee", "every customer", "the river",
    "an old library", "the database", "a small company", "the night train", "her neighbour",
    "the research group", "a young doctor", "the city council", "this method", "the new law",
)  # fmt: skip
_VERBS = (
    "describes", "measures", "rebuilds", "questions", "improves", "crosses", "remembers",
    "compares", "delays", "explains", "protects", "finds", "replaces", "supports", "reviews",
)  # fmt: skip
_OBJECTS = (
    "the old bridge", "a list of results", "several reports", "the annual budget", "warm bread",
    "the shape of the coast", "a simple experiment", "the missing invoice", "public transport",
    "an unusual pattern", "the memory of the machine", "a letter from the harbour",
    "the index of documents", "clean water", "a contract for repairs", "the history of the town",
)  # fmt: skip
_ENDINGS = (
    "before the meeting", "in the early morning", "without any warning", "for the third time",
    "because the weather changed", "near the market square", "after a long discussion",
    "while the others were waiting", "at a lower cost", "with surprising accuracy",
    "although nobody had asked", "during the last winter", "as the manual recommends",
)  # fmt: skip

UNUSUAL_TEXTS = (
    "",
    " ",
    "a",
    "?!",
    "0123456789 3.14159 1e-9 0x7fff",
    "UPPER lower MiXeD case, naïve café, ångström, coöperate",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Le renard brun saute par-dessus le chien paresseux.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "素早い茶色の狐がのろまな犬を飛び越える。",
    "敏捷的棕色狐狸跳过了懒狗。",
    "الثعلب البني السريع يقفز فوق الكلب الكسول.",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "emoji: 🚀 🧪 👩‍🔬 — “quotes”, … and – dashes",
    "def add(a, b):\n    return a + b  # a comment",
    "SELECT id, name FROM users WHERE created_at > '2024-01-01' ORDER BY name;",
    "tabs\tand\nnewlines\r\nand    many   spaces",
    "supercalifragilisticexpialidocious" * 8,
    "a text far beyond the limit of 256 tokens " * 80,
)


def text_sets() -> dict[str, list[str]]:
    """Return the texts of each part of the serving measurement, by the part's name.

    Every text is another one, so that no cache of a peer can answer in place of its model.
    """
    source = random.Random(20_240_917)
    short = [_sentence(source) for _ in range(WARM_UP_TEXTS + LATENCY_TEXTS)]
    bulk = [_passage(source, _length(source)) for _ in range(BULK_TEXTS)]
    compared = [_passage(source, source.randint(5, 150)) for _ in range(COMPARED_TEXTS)]
    return {
        "warm_up": short[:WARM_UP_TEXTS],
        "latency": short[WARM_UP_TEXTS:],
        "bulk": bulk,
        "compared": compared + list(UNUSUAL_TEXTS),
    }


def short_texts(seed: int, count: int) -> list[str]:
    """Return `count` sentences of about 12 tokens, as one asks a service; no two are the same."""
    source = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        parts = [source.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS)]
        texts[f"{' '.join(parts).capitalize()} {source.randint(1, 9999)}."] = None
    return list(texts)


def passages(seed: int, count: int) -> list[str]:
    """Return `count` texts as long as those of the bulk work."""
    source = random.Random(seed)
    return [_passage(source, _length(source)) for _ in range(count)]


def _length(source: random.Random) -> int:
    least, common, greatest = BULK_WORDS
    return round(source.triangular(least, greatest, common))


def _passage(source: random.Random, words: int) -> str:
    """Sentences of at least `words` words in all."""
    sentences: list[str] = []
    while words > 0:
        sentences.append(_sentence(source))
        words -= len(sentences[-1].split())
    return " ".join(sentences)


def _sentence(source: random.Random) -> str:
    parts = [source.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)]
    return f"{' '.join(parts).capitalize()} ({source.randint(1, 9999)})."
