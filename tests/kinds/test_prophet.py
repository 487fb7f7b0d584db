"""A real Prophet model, fitted once and saved as documented."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from hotstart.errors import InvalidInput, ModelDamaged, ModelFileMissing
from hotstart.kinds.prophet import load, predict
from hotstart.registry.config import discover
from kinds.malice import check_progress, malicious, material

pd = pytest.importorskip("pandas", reason="in the dev extra")

pytestmark = [  # pandas' warnings about Prophet
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'convert_dates' keyword:DeprecationWarning"),
]

DAYS = 60


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import warnings

    path = tmp_path_factory.mktemp("prophet") / "sales-3.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prophet import Prophet
        from prophet.serialize import model_to_json

        days = pd.date_range("2026-01-01", periods=DAYS)
        y = np.arange(DAYS) / 10 + np.sin(np.arange(DAYS) * 2 * np.pi / 7)
        history = pd.DataFrame({"ds": days, "y": y, "price": np.arange(DAYS) % 3})
        model = Prophet(uncertainty_samples=50).add_regressor("price").fit(history)
        path.write_text(model_to_json(model))
        plain = Prophet(uncertainty_samples=50).fit(history[["ds", "y"]])
        path.with_name("plain.json").write_text(model_to_json(plain))
    return path


@pytest.fixture(scope="module")
def priced(saved: Path) -> Any:
    return _loaded(saved)


@pytest.fixture(scope="module")
def model(saved: Path) -> Any:
    return _loaded(saved.with_name("plain.json"))


def _loaded(path: Path) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(material(path), check_progress)


def test_predict_by_periods_returns_dates_after_the_history(model: Any) -> None:
    forecast = predict(model, {"periods": 3}, material(""))
    days = ["2026-03-02T00:00:00", "2026-03-03T00:00:00", "2026-03-04T00:00:00"]
    assert [row["ds"] for row in forecast] == days
    for row in forecast:
        assert list(row) == ["ds", "yhat", "yhat_lower", "yhat_upper"]
        assert row["yhat_lower"] <= row["yhat"] <= row["yhat_upper"]
        assert 4 < row["yhat"] < 9
    json.dumps(forecast, allow_nan=False)
    assert len(predict(model, {"periods": 2, "include_history": True}, material(""))) == DAYS + 2
    weeks = predict(model, {"periods": 2, "freq": "7D"}, material(""))
    assert [row["ds"][:10] for row in weeks] == ["2026-03-08", "2026-03-15"]


def test_predict_by_dates(model: Any) -> None:
    expected = predict(model, {"periods": 2}, material(""))
    for days in (["2026-03-02", "2026-03-03"], ["2026-03-02T00:00:00", "2026-03-03 00:00"]):
        rows = predict(model, {"ds": days}, material(""))
        assert [row["ds"] for row in rows] == [row["ds"] for row in expected]
        assert [row["yhat"] for row in rows] == pytest.approx([row["yhat"] for row in expected])
    assert predict(model, {"ds": []}, material("")) == []


def test_a_missing_regressor_raises(priced: Any) -> None:
    rows = predict(priced, {"ds": ["2026-03-02"], "price": [2]}, material(""))
    assert len(rows) == 1
    with pytest.raises(InvalidInput, match="price"):
        predict(priced, {"ds": ["2026-03-02"]}, material(""))
    with pytest.raises(InvalidInput, match="price"):
        predict(priced, {"periods": 2}, material(""))


def test_bounds_are_none_without_samples(saved: Path) -> None:
    model = _loaded(saved.with_name("plain.json"))
    model.uncertainty_samples = 0
    (row,) = predict(model, {"periods": 1}, material(""))
    assert (row["yhat_lower"], row["yhat_upper"]) == (None, None)
    assert row["yhat"] > 4


@pytest.mark.parametrize(
    "inputs",
    [
        *({}, [], None, "2026-01-01", {"freq": "D"}, {"periods": 0}, {"periods": -1}),
        *({"periods": True}, {"periods": "3"}, {"periods": 2.5}, {"periods": 2, "cap": 1}),
        *({"periods": 2, "freq": "fortnightly"}, {"periods": 2, "freq": 3}),
        *({"ds": ["yesterday"]}, {"ds": [None]}, {"ds": [3]}, {"ds": "2026-01-01"}),
        *({"ds": ["2026-01-01"], "cap": [1, 2]}, {"ds": ["2026-01-01"], "cap": 1}),
        {"ds": ["2026-01-01T00:00:00+02:00"]},
    ],
)
def test_invalid_inputs_raise(model: Any, inputs: Any) -> None:
    with pytest.raises(InvalidInput):
        predict(model, inputs, material(""))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b'"x"', b'{"growth": 1}', b"\xff", b"[" * 100_000]
)
def test_a_file_of_another_format_raises(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"model\.json"):
        load(material(path), check_progress)


def test_a_pickle_with_the_suffix_json_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(malicious(tmp_path / "mark"))
    with pytest.raises(ModelDamaged):
        load(material(tmp_path / "model.json"), check_progress)
    assert not (tmp_path / "mark").exists()


def test_a_truncated_or_missing_file_raises(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    (tmp_path / "model.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelDamaged):
        load(material(tmp_path / "model.json"), check_progress)
    with pytest.raises(ModelFileMissing):
        load(material(tmp_path / "none.json"), check_progress)


def test_discover_finds_prophet_files(saved: Path) -> None:
    files = discover(str(saved.parent))
    assert [(f.kind, f.version) for f in files["sales"]] == [("prophet", "3")]
    assert [(f.kind, f.version) for f in files["plain"]] == [("prophet", None)]


def test_threads_share_one_model(model: Any) -> None:
    expected = [row["yhat"] for row in predict(model, {"periods": 5}, material(""))]
    with ThreadPoolExecutor(4) as threads:
        for rows in threads.map(lambda _: predict(model, {"periods": 5}, material("")), range(8)):
            assert [row["yhat"] for row in rows] == pytest.approx(expected)


def test_load_and_predict_log_nothing(
    saved: Path, python: Callable[..., CompletedProcess[str]]
) -> None:
    code = f"""
import logging
logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
from hotstart.kinds import ModelSource
from hotstart.kinds.prophet import load, predict
material = ModelSource("m", {str(saved.with_name("plain.json"))!r})
predict(load(material, lambda what, fraction: None), {{"periods": 1}}, material)
names = ("prophet", "cmdstanpy")
print([(logging.getLogger(name).level, logging.getLogger(name).handlers) for name in names])
"""
    process = python("-c", code)
    assert process.stdout.strip() == str([(logging.WARNING, []), (logging.ERROR, [])])
    assert process.stderr == ""
