"""Every error has a status, a reason and a remedy."""

from __future__ import annotations

import inspect
import json

import pytest

from hotstart import errors
from hotstart.server.responses import STATUS_CODES, STATUSES, problem, problem_of, unforeseen


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInput("x", got=1, expected="2"), 400),
        (errors.UnknownModel("m", known=[]), 404),
        (errors.UnknownVersion("m", "2", known=["1"]), 404),
        (errors.IndexMissing(None), 404),
        (errors.Overloaded("m", lane="bulk", tokens=9, retry_after=7.4), 429),
        (errors.NotReady("m", state="loading", stage="x", elapsed=1, expected=3.0), 503),
        (errors.StillComputing(3, after=1.0), 504),
        (errors.MissingExtra("torch", extra="torch"), 503),
        (errors.LoadFailed("m", error=ValueError("no"), retry_in=1.0), 503),
        (errors.RemoteTimeout("there", after=1.0), 504),
        (errors.RemoteUnavailable("there", reason="down"), 502),
    ],
)
def test_problem_has_detail_and_remedy(error: errors.HotstartError, status: int) -> None:
    answer = problem_of("/embed", error)
    told = json.loads(bytes(answer.body))
    assert answer.status_code == status == told["status"]
    assert (told["detail"], told["remedy"]) == (error.facts, error.remedy)
    assert answer.media_type == "application/problem+json"
    openai = json.loads(bytes(problem_of("/v1/embeddings", error).body))["error"]
    assert openai["message"] == str(error)


def test_every_error_has_documented_status() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.HotstartError)
    ]
    for kind in kinds:
        status = next(status for row, status in STATUSES if issubclass(kind, row))
        assert status in STATUS_CODES


def test_retry_after_is_sent() -> None:
    late = errors.NotReady("m", state="loading", stage="x", elapsed=1, expected=3.6)
    assert problem_of("/embed", late).headers["retry-after"] == "3"
    full = errors.Overloaded("m", lane="bulk", tokens=9, retry_after=7.4)
    assert problem_of("/embed", full).headers["retry-after"] == "7"
    assert "retry-after" not in problem("/embed", 400, "a", "b").headers
    assert problem("/embed", 401, "a", "b").headers["www-authenticate"] == "Bearer"


def test_unexpected_error_is_named() -> None:
    told = json.loads(bytes(unforeseen("/embed", ValueError("of a model")).body))
    assert told["status"] == 500
    assert "ValueError: of a model" in told["detail"]
