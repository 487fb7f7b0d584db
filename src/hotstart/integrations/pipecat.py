"""A Pipecat processor that prefetches the embedding of a user's speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hotstart._lazy import brought_by
from hotstart.embedder import Embedder

with brought_by("pipecat", "pipecat"):
    from pipecat.frames.frames import (
        EagerTranscriptionFrame,
        Frame,
        InterimTranscriptionFrame,
        TranscriptionFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

_PARTIAL = (InterimTranscriptionFrame, EagerTranscriptionFrame)


class HotstartPrefetchProcessor(FrameProcessor):
    """Prefetches the embedding of each transcript and passes every frame on.

    A partial transcript supersedes the previous one; the final one is always prefetched. A later
    call of `embedder` with that text, for example a retrieval, finds the vector cached or being
    computed.

    Args:
        embedder: the embedder of the later call; it may have any cache.
        prompt_name: prompt name of the later call, for example of `encode_query`; None for
            `encode`.
        namespace: label of the metrics of these prefetches.
        normalize: function applied to a transcript; the later call must pass its result.
        least_words: minimal number of words of a partial transcript to prefetch.
        options: options of Pipecat's `FrameProcessor`.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        prompt_name: str | None = "query",
        namespace: str = "pipecat",
        normalize: Callable[[str], str] = str.strip,
        least_words: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._embedder = embedder
        self._prompt_name = prompt_name
        self._namespace = namespace
        self._normalize = normalize
        self._least_words = least_words
        self._partial: dict[str, str] = {}  # current partial transcript by user

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Prefetch a transcript and pass the frame on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, _PARTIAL):
            self._note_partial(frame.user_id, frame.text)
        elif isinstance(frame, TranscriptionFrame):
            self._end(frame.user_id, frame.text)
        await self.push_frame(frame, direction)

    def _note_partial(self, user: str, transcript: str) -> None:
        text = self._normalize(transcript)
        if len(text.split()) >= self._least_words:
            self._prefetch(text, self._partial.get(user))
            self._partial[user] = text

    def _end(self, user: str, transcript: str) -> None:
        text = self._normalize(transcript)
        partial = self._partial.pop(user, None)
        if text:
            self._prefetch(text, partial)

    def _prefetch(self, text: str, stale: str | None) -> None:
        self._embedder.prefetch(
            text, namespace=self._namespace, supersedes=stale, prompt_name=self._prompt_name
        )
