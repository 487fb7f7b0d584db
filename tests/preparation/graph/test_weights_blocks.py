"""Quantized blocks: rounding error, file layout, invalid values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotstart.errors import ModelDamaged
from hotstart.preparation.graph import weights as blocks
from hotstart.preparation.graph.weights import BlockFile, QuantizedBlocks, quantize_rows
from hotstart.safetensors import Tensor


def stored(folder: Path, array: NDArray[np.float32], dtype: str = "F32") -> Tensor:
    """Write `array` into a file after 8 other bytes, and return its tensor."""
    raw = {
        "F32": lambda: array.tobytes(),
        "F16": lambda: array.astype("<f2").tobytes(),
        "BF16": lambda: (array.view("<u4") >> 16).astype("<u2").tobytes(),
    }[dtype]()
    path = folder / f"{dtype}.bin"
    path.write_bytes(bytes(8) + raw)
    return Tensor(str(path), dtype, array.shape, 8, len(raw))


def array_of(tensor: Tensor) -> NDArray[np.float32]:
    dtype = {"F32": "<f4", "U8": "u1"}[tensor.dtype]
    with open(tensor.path, "rb") as file:
        file.seek(tensor.offset)
        raw = file.read(tensor.length)
    return np.frombuffer(raw, dtype).reshape(tensor.shape).astype(np.float32)


def dequantized(placed: QuantizedBlocks, width: int) -> NDArray[np.float32]:
    levels, scales, zeros = (array_of(part) for part in placed)
    values: NDArray[np.float32] = (levels - zeros[..., None]) * scales[..., None]
    return values.reshape(len(values), -1)[:, :width]


@given(
    rows=st.integers(1, 5),
    width=st.integers(1, 40),
    seed=st.integers(0, 1000),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]),
    shift=st.sampled_from([0.0, 3.0, -3.0]),
)
def test_the_rounding_error_is_at_most_one_step(
    rows: int, width: int, seed: int, size: float, shift: float
) -> None:
    generator = np.random.default_rng(seed)
    numbers = ((generator.standard_normal((rows, width)) + shift) * size).astype(np.float32)
    levels, scales, zeros = quantize_rows(numbers, 16)
    assert levels.shape == (rows, -(-width // 16), 16)
    values = (levels.astype(np.float32) - zeros[..., None]) * scales[..., None]
    error = np.abs(values.reshape(rows, -1)[:, :width] - numbers)
    allowed = np.repeat(scales, 16, axis=1)[:, :width]  # half for the level, half for the zero
    assert (error <= allowed * 1.001).all()


def test_zeros_are_exact() -> None:
    numbers = np.zeros((2, 32), np.float32)
    numbers[1, ::3] = 0.7
    levels, scales, zeros = quantize_rows(numbers, 16)
    values = ((levels.astype(np.float32) - zeros[..., None]) * scales[..., None]).reshape(2, 32)
    assert (values[numbers == 0] == 0).all()


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_matrix_is_written_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    numbers = np.random.default_rng(1).standard_normal((101, 48)).astype(np.float32)
    tensor = stored(tmp_path, numbers, dtype)
    whole = BlockFile(str(tmp_path / "whole.bin")).blocks(tensor, 16)
    monkeypatch.setattr(blocks, "_CHUNK", 48 * 7)
    parts = BlockFile(str(tmp_path / "parts.bin")).blocks(tensor, 16)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(array_of(one), array_of(other))
    assert np.abs(dequantized(parts, 48) - numbers).max() < 0.04


def test_whole_writes_float32_and_aligns_large_tensors_to_pages(tmp_path: Path) -> None:
    large = stored(tmp_path, np.arange(5000, dtype=np.float32).reshape(50, 100))
    file = BlockFile(str(tmp_path / "weights.bin"))
    small = file.whole(Tensor(large.path, "F32", (3,), large.offset, 12))
    placed = file.whole(large)
    assert small.offset == 0
    assert placed.offset == 4096
    np.testing.assert_array_equal(array_of(placed), array_of(large))
    assert file.whole(large) == placed, "a tensor must be written once"


def test_blocks_multiplies_columns_by_their_factors(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).standard_normal((9, 48)).astype(np.float32)
    factors = np.linspace(0.5, 2, 48, dtype=np.float32)
    tensor, file = stored(tmp_path, numbers), BlockFile(str(tmp_path / "weights.bin"))
    scaled, plain = file.blocks(tensor, 16, factors), file.blocks(tensor, 16)
    assert np.abs(dequantized(scaled, 48) - numbers * factors).max() < 0.06
    assert np.abs(dequantized(plain, 48) - numbers).max() < 0.03, "factors must be part of the key"
    assert file.blocks(tensor, 16, factors.copy()) == scaled, "a tensor must be written once"


def test_a_transposed_matrix_is_turned_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_CHUNK", 100)
    matrix = np.random.default_rng(1).standard_normal((70, 33), np.float32)
    tensor = stored(tmp_path, matrix)
    turned = BlockFile(str(tmp_path / "turned.bin")).blocks(tensor, 32, transposed=True)
    (tmp_path / "other").mkdir()
    whole = stored(tmp_path / "other", np.ascontiguousarray(matrix.T))
    plain = BlockFile(str(tmp_path / "plain.bin")).blocks(whole, 32)
    for left, right in zip(turned, plain, strict=True):
        np.testing.assert_array_equal(array_of(left), array_of(right))


def test_equal_numbers_are_written_once(tmp_path: Path) -> None:
    values = np.arange(7, dtype=np.float32)
    file = BlockFile(str(tmp_path / "weights.bin"))
    placed = file.numbers(values)
    np.testing.assert_array_equal(array_of(placed), values)
    assert file.numbers(values.copy()) == placed
    assert file.numbers(values + 1) != placed


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_and_infinity_raise(tmp_path: Path, wrong: float) -> None:
    numbers = np.ones((4, 16), np.float32)
    numbers[2, 3] = wrong
    tensor = stored(tmp_path, numbers)
    with pytest.raises(ModelDamaged, match="not a finite number"):
        BlockFile(str(tmp_path / "weights.bin")).blocks(tensor, 16)
