from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hotstart.errors import ModelDamaged
from hotstart.safetensors import read_header
from support.golden import FAMILIES

WHOLE = (FAMILIES / "bert-cls" / "model" / "model.safetensors").read_bytes()


def write(folder: Path, content: bytes) -> str:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return str(path)


def test_tensors_lie_where_the_header_says(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    raw = json.dumps(header).encode()
    content = struct.pack("<Q", len(raw)) + raw + bytes(32)
    tensors = read_header(write(tmp_path, content))
    assert list(tensors) == ["a", "b"]
    assert tensors["b"].offset == len(content) - 8
    assert (tensors["a"].shape, tensors["a"].length) == ((2, 3), 24)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "4 bytes hold F32"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "ends at byte"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}, "ends at byte"),
        ({"dtype": "F32", "shape": [1]}, "unreadable header"),
        ("nonsense", "unreadable header"),
    ],
)
def test_an_entry_that_cannot_be_right(tmp_path: Path, entry: object, message: str) -> None:
    raw = json.dumps({"a": entry}).encode()
    with pytest.raises(ModelDamaged, match=message):
        read_header(write(tmp_path, struct.pack("<Q", len(raw)) + raw + bytes(4)))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 4000))
def test_a_truncated_header_is_said_to_be_damaged(tmp_path: Path, length: int) -> None:
    with pytest.raises(ModelDamaged):
        read_header(write(tmp_path, WHOLE[:length]))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_other_file_is_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(ModelDamaged):
        assert read_header(write(tmp_path, content)) == {}
