"""A vector as bytes: whole and exact, or nothing."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from hotstart.cache.codec import decode, encode

VECTORS = of_numpy.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
HALVES = of_numpy.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=16))


@given(VECTORS)
def test_any_float32_comes_back_bit_for_bit(vector: np.ndarray) -> None:
    assert decode(encode(vector.tobytes())) == vector.tobytes()


@given(HALVES)
def test_float16_takes_half_and_keeps_what_it_can(vector: np.ndarray) -> None:
    raw = encode(vector.tobytes(), "float16")
    assert len(encode(vector.tobytes())) - len(raw) == 2 * len(vector)
    np.testing.assert_array_equal(np.frombuffer(decode(raw) or b"", np.float32), vector)


@given(of_numpy.arrays(np.float32, 8, elements=st.floats(-65519, 65519, width=32)))
def test_float16_rounds_as_numpy_does(vector: np.ndarray) -> None:
    found = np.frombuffer(decode(encode(vector.tobytes(), "float16")) or b"", np.float32)
    np.testing.assert_array_equal(found, vector.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("largest", [65520.0, -1e30])
def test_float16_keeps_what_is_too_large_as_float32(largest: float) -> None:
    row = np.array([1.1, largest], np.float32).tobytes()
    assert decode(encode(row, "float16")) == row


@given(VECTORS, st.data())
def test_a_flipped_bit_is_noticed(vector: np.ndarray, data: st.DataObject) -> None:
    raw = bytearray(encode(vector.tobytes()))
    place = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[place // 8] ^= 1 << place % 8
    assert decode(bytes(raw)) is None


@given(VECTORS, st.data())
def test_a_part_is_no_value(vector: np.ndarray, data: st.DataObject) -> None:
    raw = encode(vector.tobytes())
    assert decode(raw[: data.draw(st.integers(0, len(raw) - 1))]) is None
    assert decode(raw + b"\0") is None


@given(st.binary(max_size=60))
def test_foreign_bytes_are_no_value(raw: bytes) -> None:
    assert decode(raw) is None


@pytest.mark.parametrize(
    "raw", [pickle.dumps([1.0]), b"[0.1, 0.2]", struct.pack("<4f", 1, 2, 3, 4), b""]
)
def test_what_others_write_is_no_value(raw: bytes) -> None:
    assert decode(raw) is None


def test_the_layout_is_as_documented() -> None:
    raw = encode(np.array([1.0, -2.0], np.float32).tobytes())
    assert raw[:8] == b"hv" + bytes([1, 0]) + struct.pack("<I", 2)
    assert raw[12:] == struct.pack("<2f", 1.0, -2.0)
