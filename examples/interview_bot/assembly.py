"""An interviewer put together: model, reference points, questions."""

from __future__ import annotations

from examples.interview_bot.interviewer import LENGTH, Interviewer
from examples.interview_bot.reference import (
    RETRIEVAL_SECONDS,
    ReferenceIndex,
    load_points,
    load_questions,
)
from hotstart import Embedder

MODEL = "all-MiniLM-L6-v2"


def make_interviewer(
    model: str = MODEL,
    qdrant: str | None = None,
    length: int = LENGTH,
    timeout: float = RETRIEVAL_SECONDS,
) -> Interviewer:
    """Return an interviewer at once; its model loads in the background from here on."""
    embedder = Embedder(model, strategy="progressive")
    index = ReferenceIndex(load_points(), embedder, qdrant, timeout)
    return Interviewer(index, load_questions(), length)
