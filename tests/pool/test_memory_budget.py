from __future__ import annotations

import threading
from collections.abc import Hashable

import pytest

from hotstart.errors import InsufficientMemory
from hotstart.pool.memory import MemoryBudget, Resident
from hotstart.system import MemoryLeft


class Models:
    """Models of known sizes; those that are not busy may be unloaded."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.gone: list[Hashable] = []
        self.busy: set[Hashable] = set()

    def residents(self) -> list[Resident]:
        return [
            Resident(key, size, float(order), int(key in self.busy), False)
            for order, (key, size) in enumerate(self.sizes.items())
        ]

    def has_several(self) -> bool:
        return bool(self.sizes)

    def unload_if_idle(self, key: Hashable, why: str) -> bool:
        assert isinstance(key, str)
        del self.sizes[key]
        self.gone.append(key)
        return True


def memory(models: Models, budget: int | None = None, left: int = 10**9) -> MemoryBudget:
    return MemoryBudget(models, budget, lambda: MemoryLeft(left, "the machine"))


def test_what_fits_displaces_nothing() -> None:
    models = Models(a=40, b=40)
    with memory(models, budget=100).reserve("new", lambda: 20):
        assert models.gone == []


def test_the_longest_unused_make_way_and_no_more_than_need_to() -> None:
    models = Models(a=40, b=40)
    with memory(models, budget=100).reserve("new", lambda: 30):
        assert models.gone == ["a"]


def test_what_is_in_use_stays_and_what_does_not_fit_is_refused_with_both_numbers() -> None:
    models = Models(a=40_000_000)
    models.busy.add("a")
    with (
        pytest.raises(InsufficientMemory, match=r"70 MB and the budget of its registry leaves 60"),
        memory(models, budget=100_000_000).reserve("new", lambda: 70_000_000),
    ):
        pass
    assert models.gone == []


def test_loads_side_by_side_are_not_promised_the_same_bytes() -> None:
    models = Models()
    shared = memory(models, budget=100)
    with (
        shared.reserve("first", lambda: 60),
        pytest.raises(InsufficientMemory),
        shared.reserve("second", lambda: 60),
    ):
        pass
    with shared.reserve("second", lambda: 60):  # what was promised is given back
        pass


def test_the_machine_bounds_it_too() -> None:
    models = Models(a=10)
    with (
        pytest.raises(InsufficientMemory, match="the machine leaves"),
        memory(models, left=20).reserve("new", lambda: 50),
    ):
        pass
    assert models.gone == ["a"]


def test_a_model_alone_is_not_asked_for_its_size() -> None:
    def size() -> int:
        raise AssertionError("nothing could make way")

    with memory(Models()).reserve("only", size):
        pass


def test_relief_says_how_many_went() -> None:
    models = Models(a=10, b=10, c=10)
    assert memory(models).evict(15, "memory is short") == 2
    assert models.gone == ["a", "b"]


def test_a_forked_child_begins_with_nothing_promised() -> None:
    models = Models()
    shared = memory(models, budget=100)
    held = threading.Event()
    with shared.reserve("parent's", lambda: 90):
        held.set()
        shared.reset_after_fork()
        with shared.reserve("child's", lambda: 90):
            pass
    with shared.reserve("later", lambda: 90):
        pass
