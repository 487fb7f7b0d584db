"""The kind `prophet`: forecasts from the JSON of prophet.serialize."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput, ModelDamaged, check_count
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import frame, plain, timestamps
from hotstart.kinds.files import find_file
from hotstart.types import Progress

_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
_COLUMNS = ("ds", "yhat", "yhat_lower", "yhat_upper")
_EXPECTED = "{'periods': 30, 'freq': 'D', 'include_history': false} or {'ds': ['2026-01-31', ...]}"


def load(material: ModelSource, report: Progress) -> Any:
    """Return the fitted Prophet model of the file `material.source`. This kind has no options.

    Raises:
        ModelFileMissing: the source is not a file.
        ModelDamaged: the file was not written by prophet.serialize.model_to_json, or the SHA-256
            differs.
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
        reason = f"it is not JSON of a Prophet model ({type(error).__name__}: {error})"
        raise ModelDamaged(path, reason=reason) from error


def predict(model: Any, inputs: Any, material: ModelSource) -> list[dict[str, Any]]:
    """Return the forecast: `ds` (ISO date), `yhat`, `yhat_lower` and `yhat_upper` of every date.

    The bounds depend on random trends that differ in each call. They are None if the model was
    fitted with `uncertainty_samples=0`.

    Args:
        model: the loaded model.
        inputs: `periods`, the number of dates after the history, optionally with `freq` (a pandas
            frequency, default `D`) and `include_history` (default false). Or `ds`, the dates, with
            a list for every other column that the model needs, such as `cap` or a regressor.
        material: the source of the model.

    Raises:
        InvalidInput: a date is invalid, or a column is missing.
    """
    if not isinstance(inputs, Mapping) or not {"periods", "ds"} & inputs.keys():
        got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise InvalidInput("inputs", got=got, expected=_EXPECTED)
    try:
        dates = _frame_of(inputs) if "ds" in inputs else _future_frame(model, inputs)
        if not len(dates):
            return []
        forecast = model.predict(dates)
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        expected = f"{_EXPECTED}, with the other columns of the model"
        raise InvalidInput("inputs", got=str(error), expected=expected) from error
    rows = plain(forecast[[name for name in _COLUMNS if name in forecast]])
    return [dict.fromkeys(_COLUMNS) | row for row in rows]


def _future_frame(model: Any, inputs: Mapping[str, Any]) -> Any:
    options = {"freq": "D", "include_history": False} | dict(inputs)
    unknown = options.keys() - {"periods", "freq", "include_history"}
    if unknown:
        raise InvalidInput("inputs", got=sorted(unknown), expected=_EXPECTED)
    periods = options["periods"]
    check_count("periods", periods)
    return model.make_future_dataframe(**options)


def _frame_of(inputs: Mapping[str, Any]) -> Any:
    for name, column in inputs.items():
        if not isinstance(column, list):
            raise InvalidInput(name, got=column, expected="a list of the same length as ds")
    for position, day in enumerate(inputs["ds"]):
        if not isinstance(day, str):
            raise InvalidInput(
                f"ds[{position}]", got=day, expected="an ISO date such as '2026-01-31'"
            )
    dates = timestamps(inputs["ds"])
    return frame({**inputs, "ds": dates}, extra="prophet")


def _import_quietly() -> Any:
    """Import prophet.serialize without its log messages.

    On import Prophet logs that plotly is missing, and cmdstanpy logs at INFO. A level that the
    program has set is kept, although Prophet sets its own level on import.
    """
    levels = {"prophet.plot": logging.CRITICAL, "cmdstanpy": logging.WARNING}
    for name, level in levels.items():
        _set_default_level(name, level)
    program_level = logging.getLogger("prophet").level
    serialize = require("prophet.serialize", extra="prophet")
    logging.getLogger("prophet").setLevel(program_level or logging.WARNING)
    return serialize


def _set_default_level(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)
