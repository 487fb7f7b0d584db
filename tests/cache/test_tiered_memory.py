"""Vectors in memory: bounded, the least recently used given up first."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hotstart.cache.tiered import ENTRY_BYTES, MemoryTier

ROOM = 5 * (ENTRY_BYTES + 16)
KEYS = st.sampled_from([bytes([letter]) for letter in range(12)])


class AgainstAModel(RuleBasedStateMachine):
    """Room for five vectors of four floats, beside an ordered dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(ROOM)
        self.model: OrderedDict[bytes, float] = OrderedDict()

    @rule(key=KEYS, value=st.floats(width=32, allow_nan=False))
    def put(self, key: bytes, value: float) -> None:
        self.tier.put_many({key: np.full(4, value, np.float32).tobytes()})
        self.model[key] = value
        self.model.move_to_end(key)
        while len(self.model) > 5:
            self.model.popitem(last=False)

    @rule(keys=st.lists(KEYS, max_size=4))
    def get(self, keys: list[bytes]) -> None:
        found = self.tier.get_many(keys)
        assert {key: np.frombuffer(row, np.float32)[0] for key, row in found.items()} == {
            key: self.model[key] for key in keys if key in self.model
        }
        for key in keys:
            if key in self.model:
                self.model.move_to_end(key)

    @invariant()
    def the_bound_is_kept(self) -> None:
        info = self.tier.info()
        assert info.entries == len(self.model)
        assert info.bytes == len(self.model) * (ENTRY_BYTES + 16) <= ROOM


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=80, deadline=None)


def test_a_vector_that_is_larger_than_all_the_room_is_not_kept() -> None:
    tier = MemoryTier(100)
    tier.put_many({b"a": bytes(1600)})
    assert tier.info()[:2] == (0, 0)
