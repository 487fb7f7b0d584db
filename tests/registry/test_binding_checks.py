from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hotstart.errors import CheckFailed
from hotstart.registry.binding import check_answers, check_vectors
from hotstart.registry.config import ModelCheck
from hotstart.types import ModelInfo


def double(inputs: Any) -> Any:
    return [2 * number for number in inputs]


def test_check_accepts_expected_answers() -> None:
    check_answers(
        "m", double, [ModelCheck([1, 2], [2, 4]), ModelCheck([1], [2.05], 0.1), ModelCheck([3])]
    )


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (ModelCheck([1], [3]), r"answered \[2\], not \[3\] \(apart by 1, tolerated is 1e-06\)"),
        (ModelCheck([1], [2, 2]), "apart entirely"),
        (ModelCheck([float("nan")]), "not finite"),
        (ModelCheck(["a", None]), "it raised TypeError"),
    ],
)
def test_check_failure_names_question_and_reason(check: ModelCheck, told: str) -> None:
    with pytest.raises(CheckFailed, match=told):
        check_answers("m", double, [check])


def vectors(texts: Sequence[Any]) -> Any:
    return np.ones((len(texts), 4), np.float32)


def test_check_vectors_requires_finite_vectors_of_model_dimension() -> None:
    check_vectors("m", vectors, ModelInfo(4, None, {}, None, "f"), [ModelCheck("x", [1.0] * 4)])
    with pytest.raises(CheckFailed, match="has 4 dimensions, not 8"):
        check_vectors("m", vectors, ModelInfo(8, None, {}, None, "f"), [])
    with pytest.raises(CheckFailed, match="not finite"):
        check_vectors("m", lambda t: vectors(t) * np.nan, ModelInfo(4, None, {}, None, "f"), [])
    with pytest.raises(CheckFailed, match="for the input 'x'"):
        check_vectors(
            "m", vectors, ModelInfo(None, None, {}, None, "f"), [ModelCheck("x", [0.0] * 4)]
        )
