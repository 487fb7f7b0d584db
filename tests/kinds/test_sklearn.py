"""Real scikit-learn models, saved as their users save them."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from hotstart.errors import (
    InvalidInput,
    ModelDamaged,
    ModelFileMissing,
    PickleRefused,
    TypesRefused,
)
from hotstart.kinds import sklearn as kind
from hotstart.kinds.sklearn import load, predict
from kinds.malice import malicious, material, unheard

pd = pytest.importorskip("pandas", reason="in the dev extra")
skops_io = pytest.importorskip("skops.io", reason="in the dev extra")

ROWS = [[float(i), float(i * i % 7)] for i in range(20)]
NAMED = [{"age": row[0], "visits": row[1]} for row in ROWS]
CLASSES = [int(row[1] > 3) for row in ROWS]


def doubled(rows: Any) -> Any:
    """A type of the program's own, which skops does not trust."""
    return np.asarray(rows) * 2


def saved(model: Any, folder: Path) -> Path:
    path = folder / "model.skops"
    skops_io.dump(model, path)
    return path


@pytest.fixture(scope="module")
def classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES)


def test_a_skops_file_answers_as_the_model_that_was_saved(classifier: Any, tmp_path: Path) -> None:
    from_file = material(saved(classifier, tmp_path))
    model = load(from_file, unheard)
    assert predict(model, ROWS, from_file) == classifier.predict(ROWS).tolist()
    assert predict(model, np.array(ROWS), from_file) == classifier.predict(ROWS).tolist()
    assert predict(model, [], from_file) == []
    assert type(predict(model, ROWS[:1], from_file)[0]) is int


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
def test_the_method_is_an_option(classifier: Any, method: str, tmp_path: Path) -> None:
    asked = material(saved(classifier, tmp_path), options={"method": method})
    answer = predict(load(asked, unheard), ROWS, asked)
    np.testing.assert_allclose(answer, getattr(classifier, method)(ROWS))
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("method", ["score_samples", "fit", "__class__", "get_params", "", 3])
def test_a_method_it_has_not_is_told_when_it_is_loaded(
    classifier: Any, method: Any, tmp_path: Path
) -> None:
    asked = material(saved(classifier, tmp_path), options={"method": method})
    with pytest.raises(InvalidInput, match="one of predict, predict_proba, decision_function"):
        load(asked, unheard)


def test_texts_and_sparse_answers(tmp_path: Path) -> None:
    fitted = TfidfVectorizer().fit(["a good day", "a bad day"])
    asked = material(saved(fitted, tmp_path), options={"method": "transform"})
    answer = predict(load(asked, unheard), ["good good", "day"], asked)
    np.testing.assert_allclose(answer, fitted.transform(["good good", "day"]).toarray())
    with pytest.raises(InvalidInput, match=r"inputs\[1\] must be a text, got 'int'"):
        predict(fitted, ["day", 3], asked)


def test_rows_by_name_are_put_in_the_order_of_the_fit() -> None:
    fitted = LinearRegression().fit(pd.DataFrame(NAMED), CLASSES)
    expected = fitted.predict(pd.DataFrame(NAMED)).tolist()
    turned = [{"id": 3, "visits": row["visits"], "age": row["age"]} for row in NAMED]
    for rows in (NAMED, turned, ROWS):
        assert predict(fitted, rows, material("")) == pytest.approx(expected)
    with pytest.raises(
        InvalidInput, match=r"inputs\[1\] must be a mapping with age, visits, got \['age'\]"
    ):
        predict(fitted, [NAMED[0], {"age": 1}], material(""))
    with pytest.raises(InvalidInput, match=r"inputs\[1\] must be a mapping.*'list'"):
        predict(fitted, [NAMED[0], [1, 2]], material(""))


def test_columns_of_texts() -> None:
    rows = [{"town": "Oslo", "age": 3.0}, {"town": "Rome", "age": 5.0}]
    columns = ColumnTransformer([("town", OneHotEncoder(), ["town"])], remainder="passthrough")
    fitted = make_pipeline(columns, LinearRegression()).fit(pd.DataFrame(rows), [1.0, 2.0])
    assert predict(fitted, rows, material("")) == pytest.approx([1.0, 2.0])


def test_none_is_a_number_not_known() -> None:
    fitted = StandardScaler().fit(ROWS)
    asked = material("", options={"method": "transform"})
    assert predict(fitted, [[None, 1]], asked)[0][0] is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0]], r"inputs\[0\] must be a list of 2, got 'a list of 1'"),
        ([[1, 2], [1, 2, 3]], r"inputs\[1\] must be a list of 2, got 'a list of 3'"),
        ([["a", "b"]], "could not convert"),
        ([[1, [2]]], "inputs must be lists of numbers"),
        ([[1, {}]], "inputs must be lists of numbers"),
        ([[None, 1]], "NaN"),
        ([1, 2], r"inputs\[0\] must be a list of 2 numbers, got 'int'"),
        ([{"age": 1, "visits": 2}], "fitted without names"),
        ("text", "got 'str'"),
        ({"a": 1}, "got 'dict'"),
        (None, "got 'NoneType'"),
    ],
)
def test_rows_that_do_not_fit_are_told_what_is_needed(
    classifier: Any, rows: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        predict(classifier, rows, material(""))


def test_a_model_never_fitted_is_not_the_callers_fault() -> None:
    with pytest.raises(NotFittedError):
        predict(LogisticRegression(), ROWS, material(""))


def test_types_must_be_trusted_by_name(tmp_path: Path) -> None:
    fitted = make_pipeline(FunctionTransformer(doubled), LogisticRegression()).fit(ROWS, CLASSES)
    path = saved(fitted, tmp_path)
    with pytest.raises(TypesRefused) as refused:
        load(material(path), unheard)
    assert [name.rpartition(".")[2] for name in refused.value.types] == ["doubled"]
    with pytest.raises(TypesRefused):
        load(material(path, trusted=["another.type"]), unheard)
    model = load(material(path, trusted=refused.value.types), unheard)
    assert predict(model, ROWS, material(path)) == fitted.predict(ROWS).tolist()


def _archive(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)


def _with_pickled_arrays(path: Path, model: bytes, pickled: bytes) -> None:
    """The model's own schema, whose arrays are pickles."""
    path.write_bytes(model)
    with zipfile.ZipFile(path) as archive:
        names, schema = archive.namelist(), archive.read("schema.json")
    entries = {name.replace(".", "__"): pickled for name in names if name != "schema.json"}
    _archive(path, schema__json=schema, **entries)


DAMAGES: dict[str, Callable[[Path, bytes, bytes], object]] = {
    "a pickle": lambda path, model, pickled: path.write_bytes(pickled),
    "a text": lambda path, model, pickled: path.write_text("no model"),
    "nothing": lambda path, model, pickled: path.write_bytes(b""),
    "half of it": lambda path, model, pickled: path.write_bytes(model[: len(model) // 2]),
    "a byte turned": lambda path, model, pickled: path.write_bytes(
        model[:80] + bytes([model[80] ^ 255]) + model[81:]
    ),
    "a pickle in a zip": lambda path, model, pickled: _archive(path, data__pkl=pickled),
    "a pickled schema": lambda path, model, pickled: _archive(path, schema__json=pickled),
    "pickled arrays": _with_pickled_arrays,
    "a list": lambda path, model, pickled: _archive(path, schema__json=b"[1]"),
    "another protocol": lambda path, model, pickled: _archive(
        path, schema__json=b'{"protocol": 99}'
    ),
    "an abyss": lambda path, model, pickled: _archive(
        path, schema__json=b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_skops_file_is_damaged_and_never_run(
    damage: str, classifier: Any, tmp_path: Path
) -> None:
    path, mark = tmp_path / "model.skops", tmp_path / "mark"
    DAMAGES[damage](path, skops_io.dumps(classifier), malicious(mark))
    with pytest.raises(ModelDamaged, match=r"model\.skops"):
        load(material(path, trusted=["pathlib.Path.touch", "os.system"]), unheard)
    assert not mark.exists()


@pytest.mark.parametrize("ending", [".pkl", ".pickle", ".joblib", ".PKL"])
def test_a_pickle_is_run_only_with_its_own_sha256(
    ending: str, classifier: Any, tmp_path: Path
) -> None:
    path, mark = tmp_path / f"model{ending}", tmp_path / "mark"
    path.write_bytes(malicious(mark))
    for sha256 in (None, "", "0" * 64, hashlib.sha256(b"another").hexdigest(), "é"):
        with pytest.raises(PickleRefused, match="skops"):
            load(material(path, sha256=sha256), unheard)
    assert not mark.exists()
    path.write_bytes(pickle.dumps(classifier))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for sha256 in (digest, digest.upper()):
        model = load(material(path, sha256=sha256), unheard)
        assert predict(model, ROWS, material(path)) == classifier.predict(ROWS).tolist()


def test_what_is_named_is_run(tmp_path: Path) -> None:
    """So that the tests above would see it: the mark is made where the policy lets it."""
    path, mark = tmp_path / "model.pkl", tmp_path / "mark"
    path.write_bytes(malicious(mark))
    with pytest.raises(InvalidInput, match="NoneType has"):
        load(material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), unheard)
    assert mark.exists()


@pytest.mark.parametrize("compress", [0, 3])
def test_joblibs_own_files_are_read(compress: int, classifier: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(classifier, path, compress=compress)
    model = load(material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), unheard)
    assert predict(model, ROWS, material(path)) == classifier.predict(ROWS).tolist()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04\x95", b"\x80"])
def test_a_file_with_the_right_sha256_that_is_no_pickle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match="no pickle"):
        load(material(path, sha256=hashlib.sha256(content).hexdigest()), unheard)


def test_the_sha256_of_a_skops_file_is_compared_too(classifier: Any, tmp_path: Path) -> None:
    path = saved(classifier, tmp_path)
    load(material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), unheard)
    with pytest.raises(ModelDamaged, match="SHA-256"):
        load(material(path, sha256="0" * 64), unheard)


@pytest.mark.parametrize("name", ["none.skops", "none.pkl", "folder.skops"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.skops").mkdir()
    with pytest.raises(ModelFileMissing, match=name):
        load(material(tmp_path / name), unheard)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(malicious(tmp_path / "mark"))
    with pytest.raises(InvalidInput, match=r"ends in \.skops, \.pkl"):
        kind.load(material(tmp_path / "model.bin", sha256="0" * 64), unheard)
    assert not (tmp_path / "mark").exists()


def test_loads_and_answers_in_threads(tmp_path: Path) -> None:
    fitted = KMeans(3, random_state=0, n_init=1).fit(ROWS)
    asked = material(saved(fitted, tmp_path))
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: load(asked, unheard), range(8)))
        answers = list(threads.map(lambda model: predict(model, ROWS, asked), models))
    assert answers == [fitted.predict(ROWS).tolist()] * 8
