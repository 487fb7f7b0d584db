"""A PyTorch checkpoint without torch: the vectors of safetensors, or a refusal by name."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart import Embedder
from hotstart.checkpoint import read_checkpoint
from hotstart.errors import ModelDamaged, ModelError, UnsupportedModel
from hotstart.pool.pool import Pool
from hotstart.safetensors import read_header
from support.checkpoints import archive, pickled, to_checkpoint
from support.golden import FAMILIES

TEXTS = ["a text", "How do I reset my password?"]
SOURCE = FAMILIES / "bert-mean-normalize" / "model" / "model.safetensors"


class Runs:
    """Runs a command where it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_the_tensors_are_found_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    to_checkpoint(SOURCE, path)
    expected, found = read_header(str(SOURCE)), read_checkpoint(str(path))
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        other = expected[name]
        assert (tensor.dtype, tensor.shape, tensor.length) == (
            other.dtype,
            other.shape,
            other.length,
        )
        own = path.read_bytes()[tensor.offset : tensor.offset + tensor.length]
        assert own == SOURCE.read_bytes()[other.offset : other.offset + other.length]


@pytest.mark.parametrize(
    "family", ["bert-mean-normalize", "bert-dense-tanh", "bert-fp16", "bert-bf16", "roberta-mean"]
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_vectors_are_those_of_safetensors(tmp_path: Path, family: str, precision: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / family / "model", folder)
    expected = Embedder(folder, precision=precision, pool=Pool()).encode(TEXTS)
    for path in list(folder.rglob("model.safetensors")):
        to_checkpoint(path, path.with_name("pytorch_model.bin"))
        path.unlink()
    found = Embedder(folder, precision=precision, pool=Pool()).encode(TEXTS)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("echo ran > {}",), r"posix\.system"),
        (subprocess.getoutput, ("echo ran > {}",), r"commands\.getoutput"),
        (eval, ("open('{}', 'w')",), r"__builtin__\.eval"),
        (getattr, (os, "system"), r"__builtin__\.getattr"),
        (pickle.loads, (b"",), r"pickle\.loads"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused_and_runs_nothing(
    tmp_path: Path, function: Any, arguments: tuple[Any, ...], name: str
) -> None:
    ran = tmp_path / "ran"
    given = [a.format(ran) if isinstance(a, str) else a for a in arguments]
    if os in given:
        given[0] = "os"
    content = pickle.dumps({"weight": Runs(function, *given)}, protocol=2)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(archive(content, {}))
    with pytest.raises(UnsupportedModel, match=name):
        read_checkpoint(str(path))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "PyTorch before 1.6"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch before 1.6"),
        (archive(b"no pickle", {}), "its pickle is damaged"),
        (archive(pickled([1, 2]), {}), "its pickle has list"),
        (archive(pickled(OrderedDict()), {})[:-30], "no checkpoint"),
        (b"PK\x03\x04" + bytes(100), "no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        read_checkpoint(str(path))


def test_a_compressed_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    to_checkpoint(SOURCE, path)
    with zipfile.ZipFile(path) as whole:
        content = whole.read("archive/data.pkl")
        storages = {
            int(name.rpartition("/")[2]): whole.read(name)
            for name in whole.namelist()
            if "/data/" in name
        }
    path.write_bytes(archive(content, storages, zipfile.ZIP_DEFLATED))
    with pytest.raises(ModelDamaged, match="compressed"):
        read_checkpoint(str(path))


@given(data=st.data())
def test_damage_is_one_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "pytorch_model.bin"
    to_checkpoint(SOURCE, path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(ModelError):
        read_checkpoint(str(path))
