from __future__ import annotations

from hotstart.errors import LoadFailed, ModelNotFound
from hotstart.pool.load import Backoff


def test_delays_double_up_to_their_bound_and_begin_anew_after_a_success() -> None:
    backoff = Backoff("m")
    now, delays = 0.0, []
    for _ in range(8):
        failure = backoff.note(RuntimeError("no"), now)
        assert isinstance(failure, LoadFailed)
        delays.append(failure.retry_in)
        assert not backoff.is_over(now + failure.retry_in * 0.99)
        now += failure.retry_in
        assert backoff.is_over(now)
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.end()
    again = backoff.note(RuntimeError("no"), now)
    assert isinstance(again, LoadFailed)
    assert (again.retry_in, backoff.count) == (0.5, 9)


def test_an_error_of_ours_is_kept_as_itself() -> None:
    error = ModelNotFound("m", looked=["here"], on_hub=True)
    assert Backoff("m").note(error, 0.0) is error
