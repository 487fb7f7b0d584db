from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotstart.search.vectors import VectorMatrix
from support.make_nearest import FOLDER, TYPES, content


def unit(seed: int, count: int, dimension: int = 24) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    scaled: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def matrix(rows: NDArray[np.float32], kind: Any) -> VectorMatrix:
    dimension = rows.shape[1]
    if kind != "int8":
        return VectorMatrix(bytearray(rows.astype(kind).tobytes()), dimension, kind)
    scales = np.abs(rows).max(axis=1) / 127
    levels = np.round(rows / scales[:, None]).astype(np.int8)
    return VectorMatrix(
        bytearray(levels.tobytes()),
        dimension,
        "int8",
        scales=bytearray(scales.astype(np.float32).tobytes()),
    )


@pytest.mark.parametrize("kind", list(TYPES))
def test_the_graphs_are_those_that_the_program_makes(kind: str) -> None:
    assert (FOLDER / f"nearest-{kind}.onnx").read_bytes() == content(kind)


@given(
    kind=st.sampled_from(["float32", "float16", "int8"]),
    seed=st.integers(0, 99),
    count=st.integers(1, 200),
    limit=st.integers(0, 30),
)
def test_the_nearest_are_those_of_the_whole_sorted(
    kind: Any, seed: int, count: int, limit: int
) -> None:
    rows, (query,) = unit(seed, count), unit(seed + 1000, 1)
    found = matrix(rows, kind).nearest(query.tolist(), limit)
    stored = rows.astype(kind).astype(np.float32) if kind == "float16" else rows
    cosines = stored @ query
    best = np.sort(cosines)[::-1][:limit]
    off = 0.02 if kind == "int8" else 1e-6
    np.testing.assert_allclose([each.score for each in found], best, atol=off)
    np.testing.assert_allclose([cosines[each.row] for each in found], best, atol=off)


@pytest.mark.parametrize("kind", list(TYPES))
def test_equal_rows_come_by_place(kind: Any) -> None:
    rows = np.repeat(unit(3, 1), 50_000, axis=0)
    rows[40_000] = unit(4, 1)[0]
    found = matrix(rows, kind).nearest(rows[0].tolist(), 5)
    assert [each.row for each in found] == [0, 1, 2, 3, 4]


def test_a_mapped_file_is_searched(tmp_path: Path) -> None:
    rows = unit(7, 1000)
    path = tmp_path / "rows"
    path.write_bytes(rows.tobytes())
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    found = VectorMatrix(mapped, rows.shape[1]).nearest(rows[123].tolist(), 1)
    assert (found[0].row, round(found[0].score, 5)) == (123, 1.0)


def test_an_empty_matrix_and_no_limit_have_no_neighbours() -> None:
    assert VectorMatrix(bytearray(), 8).nearest([0.0] * 8, 3) == []
    assert matrix(unit(1, 3), "float32").nearest([0.0] * 24, 0) == []
    assert [each.row for each in matrix(unit(1, 3), "int8").nearest([0.0] * 24, 2)] == [0, 1]


def test_numpy_is_not_imported() -> None:
    code = """
import sys
from array import array
from hotstart.search.vectors import VectorMatrix
rows = array("f", [1, 0, 0, 1])
assert VectorMatrix(rows, 2).nearest([0.0, 1.0], 1)[0] == (1, 1.0)
assert not {"numpy", "onnxruntime"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
