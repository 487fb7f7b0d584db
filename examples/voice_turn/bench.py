"""Time to the answer's first sound, with and without prefetch, for new and repeated questions."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.voice_turn.audio import Speaker, speak
from examples.voice_turn.knowledge import Knowledge
from examples.voice_turn.questions import Question, facts, questions
from examples.voice_turn.servers import counts, embedding_service
from examples.voice_turn.turn import FILLER_SECONDS, Assistant, Timeline
from hotstart import Embedder

MODEL = "text-embedding-3-small"
_WORD_SECONDS = 0.12  # a fast speaker
_ENDPOINT_SECONDS = 0.3  # of silence, after which speech is taken to have ended


class Settings(NamedTuple):
    """What is measured.

    Attributes:
        number: of distinct questions; each is asked again afterwards.
        side_by_side: turns that run at a time, each a conversation of its own.
        least: seconds of the service's latency, at least.
        most: at most.
        redis: where the vectors are kept.
        folder: where the sound is written, None for nowhere.
    """

    number: int
    side_by_side: int
    least: float
    most: float
    redis: str
    folder: Path | None = None


class Run(NamedTuple):
    """What one way of answering gave.

    Attributes:
        cold: timelines of questions asked for the first time.
        repeated: of the same questions asked again.
        right: share of the cold ones that found the fact they were about.
        requests: the service had, those that filled the knowledge base left out.
        texts: distinct ones among them.
        repeats: texts that were computed more than once.
    """

    cold: list[Timeline]
    repeated: list[Timeline]
    right: float
    requests: int
    texts: int
    repeats: int

    @property
    def typical(self) -> Timeline:
        """The new question whose first sound came in the median time."""
        turns = sorted(self.cold, key=lambda turn: turn.first_audio)
        return turns[len(turns) // 2]

    @property
    def hidden(self) -> float:
        """Share of the embedding latency that fits behind the filler and did not delay the turn."""
        fits = sum(min(turn.embedding_seconds, turn.filler_seconds) for turn in self.cold)
        return sum(turn.embedding_seconds - turn.waited for turn in self.cold) / fits


class Way(NamedTuple):
    """A way of answering: whether it prefetches, and whether already while speech runs."""

    prefetches: bool
    speculates: bool


WAYS = {
    "without prefetch": Way(False, False),
    "prefetch at the end of speech": Way(True, False),
    "prefetch while speech runs": Way(True, True),
}


def measure(settings: Settings, way: Way) -> Run:
    """Ask every question, then every one again; the service begins with the same latencies."""
    with embedding_service(settings.least, settings.most) as service:
        place = f"{settings.redis}?namespace=voice-{way.prefetches:d}{way.speculates:d}"
        embedder = Embedder(f"openai:{MODEL}@{service}/v1", cache=place)
        return asyncio.run(_measure(settings, embedder, service, way))


async def _measure(settings: Settings, embedder: Embedder, service: str, way: Way) -> Run:
    knowledge = Knowledge(facts())
    await knowledge.fill(embedder)
    before = await asyncio.to_thread(counts, service)
    filler = (await speak("Well, let me see")).cut(FILLER_SECONDS)
    speaker = Speaker(settings.folder)
    assistant = Assistant(embedder, knowledge, speaker, filler, prefetches=way.prefetches)
    asked = questions(settings.number)
    cold = await _ask_all(assistant, asked, settings.side_by_side, way)
    repeated = await _ask_all(assistant, asked, settings.side_by_side, way)
    after = await asyncio.to_thread(counts, service)
    right = sum(place == question.fact for question, (place, _) in zip(asked, cold, strict=True))
    fresh = {text: n for text, n in after["texts"].items() if text not in before["texts"]}
    return Run(
        cold=[timeline for _, timeline in cold],
        repeated=[timeline for _, timeline in repeated],
        right=right / len(asked),
        requests=after["requests"] - before["requests"],
        texts=len(fresh),
        repeats=sum(n - 1 for n in fresh.values()),
    )


async def _ask_all(
    assistant: Assistant, asked: Sequence[Question], side_by_side: int, way: Way
) -> list[tuple[int, Timeline]]:
    free = asyncio.Semaphore(side_by_side)

    async def ask(number: int, question: Question) -> tuple[int, Timeline]:
        async with free:
            if way.speculates:
                await _say(assistant, question.text)
            return await assistant.answer(question.text, f"turn-{number}")

    return await asyncio.gather(*(ask(n, question) for n, question in enumerate(asked)))


async def _say(assistant: Assistant, text: str) -> None:
    """Have the assistant hear `text` word by word, as a recogniser tells it."""
    partial = ""
    for word in text.split():
        await asyncio.sleep(_WORD_SECONDS)
        longer = f"{partial} {word}".strip()
        assistant.heard(longer, partial)
        partial = longer
    await asyncio.sleep(_ENDPOINT_SECONDS)


def table(runs: dict[str, Run]) -> str:
    """Return the runs as lines to be printed."""
    lines = [f"{'first sound of the answer after':52}{'p50':>8}{'p95':>8}"]
    for name, run in runs.items():
        for kind, turns in (("new", run.cold), ("repeated", run.repeated)):
            p50, p95 = quantiles([turn.first_audio for turn in turns])
            lines.append(f"{f'{name}, {kind} questions':52}{p50:7.3f}s{p95:7.3f}s")
    for name, run in runs.items():
        lines.append(
            f"{name}: {run.requests} remote calls for {run.texts} distinct texts,"
            f" {run.repeats} computed twice, {run.right:.0%} answered rightly"
        )
    hidden = runs["prefetch at the end of speech"].hidden
    lines.append(f"embedding latency hidden behind the filler: {hidden:.1%} of what fits")
    return "\n".join(lines)


def as_json(run: Run) -> dict[str, Any]:
    """Return the figures of a run."""
    seconds = {
        kind: dict(
            zip(("p50", "p95"), quantiles([turn.first_audio for turn in turns]), strict=True)
        )
        for kind, turns in (("cold", run.cold), ("repeated", run.repeated))
    }
    counted = {"requests": run.requests, "texts": run.texts, "repeats": run.repeats}
    return {**seconds, **counted, "right": run.right, "hidden": run.hidden}


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile."""
    if len(seconds) < 2:
        return seconds[0], seconds[0]
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[18]
