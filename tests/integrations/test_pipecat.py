"""The processor in Pipecat's own pipeline: every frame passes, vectors are there before asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TextFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test

from hotstart import Embedder
from hotstart.engines.fake import fake_control, forget_fake_control
from hotstart.integrations.pipecat import HotstartPrefetchProcessor
from hotstart.pool.pool import Pool

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Pipecat's own
]
NAME = "pipecat"


def embedder(seconds: float = 0.0) -> Embedder:
    forget_fake_control(NAME)
    source = f"fake:name={NAME},encode_seconds={seconds}"
    return Embedder(source, cache="memory:1MB", pool=Pool())


def partial(text: str, user: str = "u") -> Frame:
    return InterimTranscriptionFrame(text, user, "now")


def final(text: str, user: str = "u") -> Frame:
    return TranscriptionFrame(text, user, "now")


def through(processor: FrameProcessor, *frames: Frame) -> Sequence[Frame]:
    down, _ = asyncio.run(run_test(processor, frames_to_send=frames, start_timeout=20))
    passed: Sequence[Frame] = down
    return passed


def test_every_frame_passes_as_it_is() -> None:
    frames = [
        UserStartedSpeakingFrame(),
        partial("how do I"),
        final("how do I pay"),
        TextFrame("x"),
    ]
    down = through(HotstartPrefetchProcessor(embedder()), *frames)
    assert sorted(map(id, down)) == sorted(map(id, frames))


def test_the_question_finds_its_vector(caplog: pytest.LogCaptureFixture) -> None:
    ahead = embedder(0.1)
    speech = ["how do", "how do I", "how do I reset", "how do I reset it"]
    frames = [*map(partial, speech), final("how do I reset it "), SleepFrame(0.4)]
    through(HotstartPrefetchProcessor(ahead), *frames)
    began = time.perf_counter()
    ahead.encode_query("how do I reset it")
    assert time.perf_counter() - began < 0.09
    assert fake_control(NAME).embedded["how do I reset it"] == 1
    info = ahead.cache_info()
    assert info.prefetch_hits == 1
    assert info.prefetch.superseded >= 1


def test_what_is_too_short_or_empty_is_not_fetched() -> None:
    ahead = embedder()
    through(HotstartPrefetchProcessor(ahead), partial("how"), partial(""), final(" "))
    assert ahead.cache_info().prefetch.requested == 0


def test_users_do_not_supersede_each_other() -> None:
    ahead = embedder(0.2)
    frames = [partial("busy with this"), SleepFrame(0.1)]
    frames += [partial("first user says", "a"), partial("second user says", "b")]
    through(HotstartPrefetchProcessor(ahead), *frames, SleepFrame(0.8))
    assert fake_control(NAME).embedded.keys() == {
        *("busy with this", "first user says", "second user says")
    }


def test_a_retrieval_further_down_takes_the_vector_that_is_on_its_way() -> None:
    class Retrieval(FrameProcessor):
        def __init__(self) -> None:
            super().__init__()
            self.vectors: list[Any] = []

        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TranscriptionFrame):
                self.vectors.append(await ahead.aencode_query(frame.text))
            await self.push_frame(frame, direction)

    ahead = embedder(0.2)
    retrieval = Retrieval()
    through(Pipeline([HotstartPrefetchProcessor(ahead), retrieval]), final("a question"))
    assert retrieval.vectors[0].tolist() == Embedder("fake:").encode("a question").tolist()
    assert fake_control(NAME).embedded == {"a question": 1}
