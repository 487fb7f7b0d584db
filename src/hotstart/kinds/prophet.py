"""The kind `prophet`: forecasts from the JSON of prophet.serialize."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput, ModelDamaged
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import frame, plain, timestamps
from hotstart.kinds.files import find_file
from hotstart.types import Progress

_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
_COLUMNS = ("ds", "yhat", "yhat_lower", "yhat_upper")
_ASKED = "{'periods': 30, 'freq': 'D', 'include_history': false} or {'ds': ['2026-01-31', ...]}"


def load(material: ModelSource, report: Progress) -> Any:
    """Return the fitted Prophet model in the file `material.source`. There are no options.

    Raises:
        ModelFileMissing: the path is not a file.
        ModelDamaged: the file is not from prophet.serialize.model_to_json, or its SHA-256 differs
            from the configured one.
    """
    path = find_file(material)
    report("importing", 0.0)
    serialize = _import_quietly()
    report("reading", 0.7)
    with open(path, "rb") as file:
        content = file.read()
    try:
        return serialize.model_from_json(content.decode())
    except _DAMAGE as error:
        reason = f"it is no JSON of a Prophet model ({type(error).__name__}: {error})"
        raise ModelDamaged(path, reason=reason) from error


def predict(model: Any, inputs: Any, material: ModelSource) -> list[dict[str, Any]]:
    """Return the forecast: `ds` (ISO date), `yhat`, `yhat_lower` and `yhat_upper` of every date.

    The bounds are from random trends, different in each call; they are None if the model was fitted
    with `uncertainty_samples=0`.

    Args:
        model: the model.
        inputs: `periods`, the number of dates after the fitted ones, with `freq` (a pandas
            frequency, by default `D`) and `include_history` (by default false); or `ds`, the dates,
            with a list for each further column of the model, for example `cap` or a regressor.
        material: source of the model.

    Raises:
        InvalidInput: the dates are invalid, or a column is missing.
    """
    if not isinstance(inputs, Mapping) or not {"periods", "ds"} & inputs.keys():
        got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise InvalidInput("inputs", got=got, expected=_ASKED)
    try:
        dates = _given(inputs) if "ds" in inputs else _following(model, inputs)
        if not len(dates):
            return []
        forecast = model.predict(dates)
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        expected = f"{_ASKED}, with what else the model needs"
        raise InvalidInput("inputs", got=str(error), expected=expected) from error
    rows = plain(forecast[[name for name in _COLUMNS if name in forecast]])
    return [dict.fromkeys(_COLUMNS) | row for row in rows]


def _following(model: Any, inputs: Mapping[str, Any]) -> Any:
    options = {"freq": "D", "include_history": False} | dict(inputs)
    unknown = options.keys() - {"periods", "freq", "include_history"}
    if unknown:
        raise InvalidInput("inputs", got=sorted(unknown), expected=_ASKED)
    periods = options["periods"]
    if not isinstance(periods, int) or isinstance(periods, bool) or periods < 1:
        raise InvalidInput("periods", got=periods, expected="a whole number from 1 on")
    return model.make_future_dataframe(**options)


def _given(inputs: Mapping[str, Any]) -> Any:
    for name, column in inputs.items():
        if not isinstance(column, list):
            expected = "a list, as long as ds"
            raise InvalidInput(name, got=column, expected=expected)
    for position, day in enumerate(inputs["ds"]):
        if not isinstance(day, str):
            raise InvalidInput(f"ds[{position}]", got=day, expected="an ISO date, '2026-01-31'")
    dates = timestamps(inputs["ds"])
    return frame({**inputs, "ds": dates}, extra="prophet")


def _import_quietly() -> Any:
    """Import Prophet without its log messages about plotly and at level INFO.

    Keep a log level of the program; Prophet sets its own on import.
    """
    silenced = {"prophet.plot": logging.CRITICAL, "cmdstanpy": logging.WARNING}
    for name, level in silenced.items():
        _set_unless_set(name, level)
    theirs = logging.getLogger("prophet").level
    serialize = require("prophet.serialize", extra="prophet")
    logging.getLogger("prophet").setLevel(theirs or logging.WARNING)
    return serialize


def _set_unless_set(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)
