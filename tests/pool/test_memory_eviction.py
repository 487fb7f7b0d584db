from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hotstart.pool.memory import Resident, victims

SIZES = st.integers(0, 1000)
RESIDENTS = st.lists(
    st.builds(
        Resident,
        key=st.integers(),
        bytes=SIZES,
        last_used=st.floats(0, 100),
        in_use=st.integers(0, 2),
        pinned=st.booleans(),
    ),
    unique_by=lambda resident: resident.key,
)


def may_go(resident: Resident) -> bool:
    return not resident.in_use and not resident.pinned and resident.bytes > 0


@given(RESIDENTS, st.integers(-10, 5000))
def test_what_goes_is_idle_unpinned_and_the_longest_unused(
    residents: list[Resident], wanted: int
) -> None:
    chosen = victims(residents, wanted)
    stay = [r for r in residents if may_go(r) and r not in chosen]
    assert all(may_go(resident) for resident in chosen)
    assert all(gone.last_used <= left.last_used for gone in chosen for left in stay)
    assert len(set(chosen)) == len(chosen)


@given(RESIDENTS, st.integers(-10, 5000))
def test_enough_goes_and_no_more_than_enough(residents: list[Resident], wanted: int) -> None:
    chosen = victims(residents, wanted)
    freed = sum(resident.bytes for resident in chosen)
    possible = sum(resident.bytes for resident in residents if may_go(resident))
    assert freed >= min(wanted, possible)
    assert not chosen or freed - chosen[-1].bytes < wanted


@given(RESIDENTS, st.integers(0, 5000), st.randoms())
def test_the_order_in_which_they_are_told_does_not_matter(
    residents: list[Resident], wanted: int, random: object
) -> None:
    distinct = list({r.last_used: r for r in residents}.values())
    assert victims(distinct, wanted) == victims(distinct[::-1], wanted)
