"""One call of `encode`: its prompt, its role, and the form of its answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart.encoding import EncodeRequest, normalized
from hotstart.errors import InvalidInput, InvalidText
from hotstart.types import EmbedOutput, Matrix, ModelInfo

PROMPTS = {"query": "q: ", "document": "d: ", "empty": ""}
CARD = ModelInfo(4, None, PROMPTS, "document", "f")
PLAIN = ModelInfo(4, None, {}, None, "f")
VECTORS = np.arange(8, dtype=np.float32).reshape(2, 4)


def output_of(rows: NDArray[np.float32], info: ModelInfo) -> EmbedOutput:
    return EmbedOutput(Matrix.of(rows), info)


@pytest.mark.parametrize(
    ("options", "card", "prompt", "role"),
    [
        ({}, CARD, "d: ", "document"),
        ({"prompt_name": "query"}, CARD, "q: ", "query"),
        ({"prompt_name": "empty"}, CARD, "", ""),
        ({"prompt": "x "}, CARD, "x ", ""),
        ({"prompt": "", "prompt_name": "query"}, CARD, "", ""),
        ({}, PLAIN, "", ""),
        ({"prompt_name": "query"}, PLAIN, "", ""),
    ],
)
def test_the_prompt_and_its_role(
    options: dict[str, Any], card: ModelInfo, prompt: str, role: str
) -> None:
    request = EncodeRequest(["a", "b"], **options)
    assert request.prompt(card) == prompt
    assert request.role(card) == role
    assert request.model_inputs(card) == [f"{prompt}a", f"{prompt}b"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one of query, document, empty"):
        EncodeRequest("a", prompt_name="other").prompt(CARD)
    with pytest.raises(InvalidInput, match="batch_size"):
        EncodeRequest("a", batch_size=0)
    with pytest.raises(InvalidText):
        EncodeRequest(["a", None])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="truncate_dim"):
        EncodeRequest("a", truncate_dim=5).check(CARD)


def test_a_length_that_was_not_known_is_checked_when_it_is() -> None:
    unknown = CARD._replace(dimension=None)
    request = EncodeRequest(["a", "b"], truncate_dim=5)
    request.check(unknown)
    with pytest.raises(InvalidInput, match="truncate_dim"):
        request.result(output_of(VECTORS, unknown))


def test_the_answer_has_the_form_of_what_was_given() -> None:
    assert EncodeRequest(["a", "b"]).result(output_of(VECTORS, CARD)).shape == (2, 4)
    assert EncodeRequest("a").result(output_of(VECTORS[:1], CARD)).shape == (4,)
    as_list = EncodeRequest(["a", "b"], convert_to_numpy=False).result(output_of(VECTORS, CARD))
    assert as_list == VECTORS.tolist()


def test_lists_have_the_format_of_arrays() -> None:
    for options in (
        {"normalize_embeddings": True},
        {"truncate_dim": 3, "normalize_embeddings": True},
        {"truncate_dim": 2},
        {"precision": "binary"},
        {"precision": "uint8"},
    ):
        array = EncodeRequest(["a", "b"], **options).result(output_of(VECTORS, CARD))
        plain = EncodeRequest(["a", "b"], convert_to_numpy=False, **options)
        np.testing.assert_allclose(plain.result(output_of(VECTORS, CARD)), array, rtol=1e-6)
    assert normalized([0.0, 0.0]) == [0.0, 0.0]


def test_a_matrix_has_the_format_of_arrays() -> None:
    for options in ({}, {"normalize_embeddings": True}, {"truncate_dim": 3}):
        array = EncodeRequest(["a", "b"], **options).result(output_of(VECTORS, CARD))
        plain = EncodeRequest(["a", "b"], convert_to_numpy=None, **options)
        np.testing.assert_allclose(plain.result(output_of(VECTORS, CARD)), array, rtol=1e-6)
    request = EncodeRequest(["a", "b"], convert_to_numpy=None, precision="binary")
    with pytest.raises(InvalidInput, match="float32"):
        request.result(output_of(VECTORS, CARD))


def test_the_models_own_cut_yields_to_the_callers() -> None:
    cut = CARD._replace(truncate_dim=3)
    assert EncodeRequest("a").result(output_of(VECTORS[:1], cut)).shape == (3,)
    assert EncodeRequest("a", truncate_dim=2).result(output_of(VECTORS[:1], cut)).shape == (2,)
