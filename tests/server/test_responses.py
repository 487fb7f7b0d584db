"""Answers as bytes."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from hotstart.server.responses import openai_embeddings, plain_embeddings
from hotstart.types import Matrix

vectors = np_st.arrays(
    np.float32,
    st.tuples(st.integers(0, 70), st.integers(1, 20)),
    elements=st.floats(-1e10, 1e10, width=32),
)


@settings(max_examples=50)
@given(vectors, st.integers(0, 19))
def test_vectors_survive_encoding(matrix: np.ndarray, cut: int) -> None:
    shown = matrix[:, : cut + 1]
    given = Matrix.of(shown)
    for form in ("float", "base64"):
        answer = json.loads(asyncio.run(openai_embeddings(given, form, 'a "model"', 7, "f")))
        assert answer["fingerprint"] == "f"
        assert answer["model"] == 'a "model"'
        assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
        assert [entry["index"] for entry in answer["data"]] == list(range(len(shown)))
        for entry, row in zip(answer["data"], shown, strict=True):
            value = entry["embedding"]
            read = np.frombuffer(base64.b64decode(value), "<f4") if form == "base64" else value
            assert np.array_equal(np.array(read, np.float32), row)
    plain = json.loads(asyncio.run(plain_embeddings(given)))
    assert len(plain) == len(shown)
    assert all(
        np.array_equal(np.array(a, np.float32), b) for a, b in zip(plain, shown, strict=True)
    )


def test_encoding_many_vectors_yields_to_other_tasks() -> None:
    async def both() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await plain_embeddings(Matrix(bytes(32_000), 8))
        beside.cancel()
        return turns

    assert asyncio.run(both()) > 20
