from __future__ import annotations

import threading
from collections.abc import Hashable

import pytest

from hotstart.errors import InsufficientMemory
from hotstart.pool.memory import MemoryBudget, Resident
from hotstart.system import MemoryLeft


class House:
    """Models of known sizes, of which any may be unloaded but those that are busy."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.gone: list[Hashable] = []
        self.busy: set[Hashable] = set()

    def residents(self) -> list[Resident]:
        return [
            Resident(key, size, float(order), int(key in self.busy), False)
            for order, (key, size) in enumerate(self.sizes.items())
        ]

    def unload(self, key: Hashable, why: str) -> bool:
        assert isinstance(key, str)
        del self.sizes[key]
        self.gone.append(key)
        return True


def room(house: House, budget: int | None = None, left: int = 10**9) -> MemoryBudget:
    return MemoryBudget(
        house.residents,
        lambda: bool(house.sizes),
        house.unload,
        budget,
        lambda: MemoryLeft(left, "the machine"),
    )


def test_what_fits_displaces_nothing() -> None:
    house = House(a=40, b=40)
    with room(house, budget=100).taken("new", lambda: 20):
        assert house.gone == []


def test_the_longest_unused_make_way_and_no_more_than_need_to() -> None:
    house = House(a=40, b=40)
    with room(house, budget=100).taken("new", lambda: 30):
        assert house.gone == ["a"]


def test_what_is_in_use_stays_and_what_does_not_fit_is_refused_with_both_numbers() -> None:
    house = House(a=40_000_000)
    house.busy.add("a")
    with (
        pytest.raises(InsufficientMemory, match=r"70 MB and the budget of its registry leaves 60"),
        room(house, budget=100_000_000).taken("new", lambda: 70_000_000),
    ):
        pass
    assert house.gone == []


def test_loads_side_by_side_are_not_promised_the_same_bytes() -> None:
    house = House()
    shared = room(house, budget=100)
    with (
        shared.taken("first", lambda: 60),
        pytest.raises(InsufficientMemory),
        shared.taken("second", lambda: 60),
    ):
        pass
    with shared.taken("second", lambda: 60):  # what was promised is given back
        pass


def test_the_machine_bounds_it_too() -> None:
    house = House(a=10)
    with (
        pytest.raises(InsufficientMemory, match="the machine leaves"),
        room(house, left=20).taken("new", lambda: 50),
    ):
        pass
    assert house.gone == ["a"]


def test_a_model_alone_is_not_asked_for_its_size() -> None:
    def size() -> int:
        raise AssertionError("nothing could make way")

    with room(House()).taken("only", size):
        pass


def test_relief_says_how_many_went() -> None:
    house = House(a=10, b=10, c=10)
    assert room(house).relieve(15, "memory is short") == 2
    assert house.gone == ["a", "b"]


def test_a_forked_child_begins_with_nothing_promised() -> None:
    house = House()
    shared = room(house, budget=100)
    held = threading.Event()
    with shared.taken("parent's", lambda: 90):
        held.set()
        shared.forget()
        with shared.taken("child's", lambda: 90):
            pass
    with shared.taken("later", lambda: 90):
        pass
