"""What an instance says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from hotstart.pool.load import Attempt
from hotstart.pool.serving import Serving
from hotstart.types import State


class Status(NamedTuple):
    """An account of one moment.

    Attributes:
        reason: why it is in this state, for a person to read.
        stage: what serves, or, while it loads, what is being done.
        fraction: how far the load is, 0 to 1; None while nothing loads.
        elapsed: seconds since the load began, None while nothing loads.
        load_time: seconds the last successful load took, None before one ended.
        stages: seconds each stage took to load, in the order they were reached.
        refused: stages it could not be promoted to, with the reason.
        loads: loads that ended well; promotions are not counted.
        in_use: calls that are using the model now.
        strategy: its name, and why it was chosen where the machine chose it.
    """

    state: State
    reason: str
    stage: str
    fraction: float | None
    elapsed: float | None
    load_time: float | None
    stages: dict[str, float]
    refused: Mapping[str, str]
    loads: int
    in_use: int
    strategy: str = ""


def status_of(
    state: State,
    reason: str,
    attempt: Attempt[Any] | None,
    serving: Serving[Any],
    load_time: float | None,
    loads: int,
) -> Status:
    """Return the account of an instance whose lock is held."""
    loading = attempt if state == "loading" else None
    slot = serving.slot
    doing = attempt.doing if attempt else "-"
    return Status(
        state=state,
        reason=reason,
        stage=slot.stage if slot else doing,
        fraction=loading.fraction if loading else None,
        elapsed=time.monotonic() - loading.began if loading else None,
        load_time=load_time,
        stages=dict(serving.stage_times),
        refused={**serving.promoter.refused},
        loads=loads,
        in_use=slot.users if slot else 0,
    )
