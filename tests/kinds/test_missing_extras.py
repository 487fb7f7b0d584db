"""Missing optional libraries, in a process that cannot import them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sklearn.linear_model import LinearRegression

skops_io = pytest.importorskip("skops.io", reason="in the dev extra")

CODE = """
import hashlib, sys
from hotstart.errors import MissingExtra
from hotstart.kinds import kind_named
from hotstart.kinds import ModelSource

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
kind = kind_named({kind!r})
material = ModelSource("m", {source!r}, hashlib.sha256(b"").hexdigest() if {pickled} else None)
try:
    model = kind.load(material, lambda what, fraction: None)
    kind.predict(model, [{{"a": 1}}], material)
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "kind", "file", "extra"),
    [
        ("skops", "sklearn", "m.skops", "sklearn"),
        ("sklearn", "sklearn", "m.skops", "sklearn"),
        ("joblib", "sklearn", "m.pkl", "sklearn"),
        ("prophet", "prophet", "m.json", "prophet"),
        ("textblob", "sentiment", "textblob", "textblob"),
        ("transformers", "sentiment", "a/model", "sentiment"),
    ],
)
def test_the_error_names_the_extra(
    library: str,
    kind: str,
    file: str,
    extra: str,
    tmp_path: Path,
    python: Callable[..., CompletedProcess[str]],
) -> None:
    (tmp_path / file.replace("/", "-")).write_bytes(b"")
    source = str(tmp_path / file) if "." in file else file
    pickled = file.endswith(".pkl")
    process = python("-c", CODE.format(library=library, kind=kind, source=source, pickled=pickled))
    message = f"{library} is not installed. Run: pip install 'hotstart[{extra}]'."
    assert process.stdout.strip() == message, process.stderr


def test_rows_by_name_require_pandas(
    tmp_path: Path, python: Callable[..., CompletedProcess[str]]
) -> None:
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    model.feature_names_in_ = ["a"]
    path = tmp_path / "model.skops"
    skops_io.dump(model, path)
    code = CODE.format(library="pandas", kind="sklearn", source=str(path), pickled=False)
    process = python("-c", code)
    assert process.stdout.strip().endswith("pip install 'hotstart[pandas]'."), process.stderr
