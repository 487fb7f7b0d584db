"""Real scikit-learn models, saved with skops, pickle and joblib."""

from __future__ import annotations

import hashlib
import json
import pickle
import tracemalloc
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
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from hotstart.errors import (
    InvalidInput,
    ModelDamaged,
    ModelFileMissing,
    PickleRefused,
    TypesRefused,
)
from hotstart.kinds import sklearn as kind
from hotstart.kinds.sklearn import load, predict
from kinds.malice import check_progress, malicious, material

pd = pytest.importorskip("pandas", reason="in the dev extra")
skops_io = pytest.importorskip("skops.io", reason="in the dev extra")

ROWS = [[float(i), float(i * i % 7)] for i in range(20)]
NAMED = [{"age": row[0], "visits": row[1]} for row in ROWS]
CLASSES = [int(row[1] > 3) for row in ROWS]


def doubled(rows: Any) -> Any:
    """Double the rows; skops does not trust this function."""
    return np.asarray(rows) * 2


def saved(model: Any, folder: Path) -> Path:
    path = folder / "model.skops"
    skops_io.dump(model, path)
    return path


@pytest.fixture(scope="module")
def classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES)


def test_a_skops_file_predicts_as_the_saved_model(classifier: Any, tmp_path: Path) -> None:
    from_file = material(saved(classifier, tmp_path))
    model = load(from_file, check_progress)
    assert predict(model, ROWS, from_file) == classifier.predict(ROWS).tolist()
    assert predict(model, np.array(ROWS), from_file) == classifier.predict(ROWS).tolist()
    assert predict(model, [], from_file) == []
    assert type(predict(model, ROWS[:1], from_file)[0]) is int


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
def test_the_option_method_selects_the_method(classifier: Any, method: str, tmp_path: Path) -> None:
    source = material(saved(classifier, tmp_path), options={"method": method})
    answer = predict(load(source, check_progress), ROWS, source)
    np.testing.assert_allclose(answer, getattr(classifier, method)(ROWS))
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("method", ["score_samples", "fit", "__class__", "get_params", "", 3])
def test_load_raises_for_a_missing_method(classifier: Any, method: Any, tmp_path: Path) -> None:
    source = material(saved(classifier, tmp_path), options={"method": method})
    with pytest.raises(InvalidInput, match="one of predict, predict_proba, decision_function"):
        load(source, check_progress)


def test_predict_accepts_texts_and_converts_sparse_output(tmp_path: Path) -> None:
    fitted = TfidfVectorizer().fit(["a good day", "a bad day"])
    source = material(saved(fitted, tmp_path), options={"method": "transform"})
    answer = predict(load(source, check_progress), ["good good", "day"], source)
    np.testing.assert_allclose(answer, fitted.transform(["good good", "day"]).toarray())
    with pytest.raises(InvalidInput, match=r"inputs\[1\] must be a text, got 'int'"):
        predict(fitted, ["day", 3], source)


def test_rows_by_name_use_the_column_order_of_the_fit() -> None:
    fitted = LinearRegression().fit(pd.DataFrame(NAMED), CLASSES)
    expected = fitted.predict(pd.DataFrame(NAMED)).tolist()
    reordered = [{"id": 3, "visits": row["visits"], "age": row["age"]} for row in NAMED]
    for rows in (NAMED, reordered, ROWS):
        assert predict(fitted, rows, material("")) == pytest.approx(expected)
    with pytest.raises(
        InvalidInput, match=r"inputs\[1\] must be a mapping with age, visits, got \['age'\]"
    ):
        predict(fitted, [NAMED[0], {"age": 1}], material(""))
    with pytest.raises(InvalidInput, match=r"inputs\[1\] must be a mapping.*'list'"):
        predict(fitted, [NAMED[0], [1, 2]], material(""))


def test_rows_may_contain_texts() -> None:
    rows = [{"town": "Oslo", "age": 3.0}, {"town": "Rome", "age": 5.0}]
    columns = ColumnTransformer([("town", OneHotEncoder(), ["town"])], remainder="passthrough")
    fitted = make_pipeline(columns, LinearRegression()).fit(pd.DataFrame(rows), [1.0, 2.0])
    assert predict(fitted, rows, material("")) == pytest.approx([1.0, 2.0])


def test_none_beside_a_text_stays_none() -> None:
    """In the texts of pandas 3 it would be NaN."""
    column = pd.Series(["red", "red", "blue", None], dtype=object)
    impute = SimpleImputer(missing_values=None, strategy="constant", fill_value="?")
    steps = make_pipeline(impute, OneHotEncoder())
    columns = ColumnTransformer([("colour", steps, ["colour"])])
    fitted = make_pipeline(columns, DecisionTreeClassifier(random_state=0))
    fitted.fit(pd.DataFrame({"colour": column}), [0, 0, 1, 2])
    for rows, expected in (([None], [2]), (["red"], [0]), (["red", None], [0, 2])):
        assert predict(fitted, [{"colour": row} for row in rows], material("")) == expected


def test_none_is_an_unknown_number() -> None:
    fitted = StandardScaler().fit(ROWS)
    source = material("", options={"method": "transform"})
    assert predict(fitted, [[None, 1]], source)[0][0] is None


@pytest.mark.parametrize(
    ("rows", "message"),
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
def test_rows_of_another_form_raise_and_name_the_expected_form(
    classifier: Any, rows: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        predict(classifier, rows, material(""))


def test_an_unfitted_model_raises_not_fitted_error() -> None:
    with pytest.raises(NotFittedError):
        predict(LogisticRegression(), ROWS, material(""))


def test_untrusted_types_raise(tmp_path: Path) -> None:
    fitted = make_pipeline(FunctionTransformer(doubled), LogisticRegression()).fit(ROWS, CLASSES)
    path = saved(fitted, tmp_path)
    with pytest.raises(TypesRefused) as refused:
        load(material(path), check_progress)
    assert [name.rpartition(".")[2] for name in refused.value.types] == ["doubled"]
    with pytest.raises(TypesRefused):
        load(material(path, trusted=["another.type"]), check_progress)
    model = load(material(path, trusted=refused.value.types), check_progress)
    assert predict(model, ROWS, material(path)) == fitted.predict(ROWS).tolist()


def _archive(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)


def _with_pickled_arrays(path: Path, model: bytes, pickled: bytes) -> None:
    """Write the model's schema with pickles as arrays."""
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
    "a changed byte": lambda path, model, pickled: path.write_bytes(
        model[:80] + bytes([model[80] ^ 255]) + model[81:]
    ),
    "a pickle in a zip": lambda path, model, pickled: _archive(path, data__pkl=pickled),
    "a pickled schema": lambda path, model, pickled: _archive(path, schema__json=pickled),
    "pickled arrays": _with_pickled_arrays,
    "a list": lambda path, model, pickled: _archive(path, schema__json=b"[1]"),
    "another protocol": lambda path, model, pickled: _archive(
        path, schema__json=b'{"protocol": 99}'
    ),
    "deep nesting": lambda path, model, pickled: _archive(
        path, schema__json=b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_skops_file_raises_and_runs_no_code(
    damage: str, classifier: Any, tmp_path: Path
) -> None:
    path, mark = tmp_path / "model.skops", tmp_path / "mark"
    DAMAGES[damage](path, skops_io.dumps(classifier), malicious(mark))
    with pytest.raises(ModelDamaged, match=r"model\.skops"):
        load(material(path, trusted=["pathlib.Path.touch", "os.system"]), check_progress)
    assert not mark.exists()


@pytest.mark.parametrize("ending", [".pkl", ".pickle", ".joblib", ".PKL"])
def test_a_pickle_is_run_only_with_its_own_sha256(
    ending: str, classifier: Any, tmp_path: Path
) -> None:
    path, mark = tmp_path / f"model{ending}", tmp_path / "mark"
    path.write_bytes(malicious(mark))
    for sha256 in (None, "", "0" * 64, hashlib.sha256(b"another").hexdigest(), "é"):
        with pytest.raises(PickleRefused, match="skops"):
            load(material(path, sha256=sha256), check_progress)
    assert not mark.exists()
    path.write_bytes(pickle.dumps(classifier))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for sha256 in (digest, digest.upper()):
        model = load(material(path, sha256=sha256), check_progress)
        assert predict(model, ROWS, material(path)) == classifier.predict(ROWS).tolist()


def test_a_pickle_with_its_sha256_is_run(tmp_path: Path) -> None:
    """Verify that the tests above would detect a pickle that runs: it creates the mark."""
    path, mark = tmp_path / "model.pkl", tmp_path / "mark"
    path.write_bytes(malicious(mark))
    with pytest.raises(InvalidInput, match="NoneType has"):
        load(material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), check_progress)
    assert mark.exists()


@pytest.mark.parametrize("compress", [0, 3])
def test_load_reads_joblib_files(compress: int, classifier: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(classifier, path, compress=compress)
    model = load(
        material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), check_progress
    )
    assert predict(model, ROWS, material(path)) == classifier.predict(ROWS).tolist()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04\x95", b"\x80"])
def test_a_file_with_the_right_sha256_must_be_a_pickle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match="not a pickle"):
        load(material(path, sha256=hashlib.sha256(content).hexdigest()), check_progress)


def test_load_checks_the_sha256_of_a_skops_file(classifier: Any, tmp_path: Path) -> None:
    path = saved(classifier, tmp_path)
    load(material(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), check_progress)
    with pytest.raises(ModelDamaged, match="SHA-256"):
        load(material(path, sha256="0" * 64), check_progress)


@pytest.mark.parametrize("name", ["none.skops", "none.pkl", "folder.skops"])
def test_a_missing_file_raises(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.skops").mkdir()
    with pytest.raises(ModelFileMissing, match=name):
        load(material(tmp_path / name), check_progress)


def test_an_unknown_suffix_raises(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(malicious(tmp_path / "mark"))
    with pytest.raises(InvalidInput, match=r"ends in \.skops, \.pkl"):
        kind.load(material(tmp_path / "model.bin", sha256="0" * 64), check_progress)
    assert not (tmp_path / "mark").exists()


def test_threads_load_and_predict_concurrently(tmp_path: Path) -> None:
    fitted = KMeans(3, random_state=0, n_init=1).fit(ROWS)
    source = material(saved(fitted, tmp_path))
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: load(source, check_progress), range(8)))
        answers = list(threads.map(lambda model: predict(model, ROWS, source), models))
    assert answers == [fitted.predict(ROWS).tolist()] * 8


@pytest.mark.parametrize("name", ["array.npy", "schema.json"])
def test_an_archive_that_unpacks_to_far_more_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.skops"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(ModelDamaged, match="it unpacks to 300000000 bytes"):
        load(material(path), check_progress)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
