"""One turn, from the end of speech to the answer's first sound, and when each part of it ran.

speech ends ─▶ text ─┬─▶ filler is heard (200 ms) ─────┐
                     └─▶ embedding, if prefetched ──┐  ├─▶ retrieval ─▶ answer's first sound
                         else it begins here ───────┼──┘
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from examples.voice_turn.audio import speak
from examples.voice_turn.questions import normalised

if TYPE_CHECKING:
    from examples.voice_turn.audio import Audio, Speaker
    from examples.voice_turn.knowledge import Knowledge
    from hotstart import Embedder

NAMESPACE = "voice-turn"
FILLER_SECONDS = 0.2


class Timeline:
    """When each stage of a turn ran, in seconds since the end of speech."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.stages: dict[str, tuple[float, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note the block as the stage `name`."""
        start = time.monotonic() - self._began
        try:
            yield
        finally:
            self.stages[name] = (start, time.monotonic() - self._began)

    def extend(self, name: str) -> None:
        """Have the stage `name` end now."""
        self.stages[name] = (self.stages[name][0], time.monotonic() - self._began)

    @property
    def first_audio(self) -> float:
        """Seconds from the end of speech to the first sound of the answer."""
        return self.stages["answer"][0]

    @property
    def embedding_seconds(self) -> float:
        """How long the vector took, whenever it was begun."""
        start, end = self.stages["embedding"]
        return end - start

    @property
    def filler_seconds(self) -> float:
        """How long the filler was heard."""
        start, end = self.stages["filler"]
        return end - start

    @property
    def waited(self) -> float:
        """Seconds that the embedding held the turn up after the filler."""
        return max(0.0, self.stages["embedding"][1] - self.stages["filler"][1])


class Assistant:
    """Answers what was said. `prefetches`: whether embeddings are begun ahead of the question."""

    def __init__(
        self,
        embedder: Embedder,
        knowledge: Knowledge,
        speaker: Speaker,
        filler: Audio,
        *,
        prefetches: bool,
    ) -> None:
        self._embedder = embedder
        self._knowledge = knowledge
        self._speaker = speaker
        self._filler = filler
        self._prefetches = prefetches

    def heard(self, partial: str, before: str) -> None:
        """Take a part of speech that goes on after `before`: it may turn out to be all of it."""
        if self._prefetches:
            text, stale = normalised(partial), normalised(before)
            self._embedder.prefetch(text, namespace=NAMESPACE, supersedes=stale)

    async def answer(self, said: str, name: str = "answer") -> tuple[int, Timeline]:
        """Answer what was said; return the place of the fact, and the turn's timeline."""
        timeline = Timeline()
        with timeline.stage("text"):
            text = normalised(said)
            if self._prefetches:
                self._embedder.prefetch(text, namespace=NAMESPACE)
        ahead = asyncio.create_task(self._is_ready(text, timeline))
        with timeline.stage("filler"):
            await self._speaker.play(f"{name}-filler", self._filler)
        if self._prefetches:
            vector = await self._embedder.aencode(text)
            if not await ahead:  # its turn had not come: the question itself fetched it
                timeline.extend("embedding")
        else:
            with timeline.stage("embedding"):
                vector = await self._embedder.aencode(text)
        with timeline.stage("retrieval"):
            place = await self._knowledge.nearest(vector)
        with timeline.stage("speech"):
            answer = await speak(self._knowledge.facts[place].answer)
        with timeline.stage("answer"):
            await self._speaker.play(name, answer.cut(0.1))  # its first tenth of a second
        return place, timeline

    async def _is_ready(self, text: str, timeline: Timeline) -> bool:
        """Note how long the prefetched vector takes; return whether it was made."""
        if not self._prefetches:
            return False
        with timeline.stage("embedding"):
            return await self._embedder.await_prefetch(text)
