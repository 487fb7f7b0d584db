from __future__ import annotations

import pytest

from hotstart.errors import InvalidInput
from hotstart.pool.strategies import STRATEGIES, strategy_named


def test_strategies_are_data() -> None:
    assert {name: strategy.starts for name, strategy in STRATEGIES.items()} == {
        "lazy": "at first use",
        "eager": "in the constructor",
    }


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"'soon'\. Give one of lazy, eager"):
        strategy_named("soon")
