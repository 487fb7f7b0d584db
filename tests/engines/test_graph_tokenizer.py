from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hotstart.engines.graph import Tokens, batches, pad

LENGTHS = st.lists(st.integers(0, 600), max_size=200)


@given(LENGTHS, st.none() | st.integers(1, 50), st.integers(1, 5000))
def test_every_text_is_in_one_batch_and_batches_respect_the_limits(
    lengths: list[int], batch_size: int | None, budget: int
) -> None:
    groups = list(batches(lengths, batch_size, budget))
    assert sorted(i for batch in groups for i in batch) == list(range(len(lengths)))
    for batch in groups:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert batch_size is None or len(batch) <= batch_size


@given(LENGTHS)
def test_batches_go_from_long_to_short(lengths: list[int]) -> None:
    order = [lengths[i] for batch in batches(lengths) for i in batch]
    assert order == sorted(lengths, reverse=True)


def test_pad_pads_on_the_right_and_masks_padding() -> None:
    batch = pad([Tokens([5, 6, 7], [0, 1, 1]), Tokens([8], None)], pad_token_id=1)
    assert batch.shape == (2, 3)
    assert batch.ids == [5, 6, 7, 8, 1, 1]
    assert batch.mask == [1, 1, 1, 1, 0, 0]
    assert batch.segments == [0, 1, 1, 0, 0, 0]
