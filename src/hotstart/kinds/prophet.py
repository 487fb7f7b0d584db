"""Prophet's forecasts, from the JSON that `prophet.serialize.model_to_json` writes."""

from __future__ import annotations

import logging
from typing import Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput, ModelDamaged
from hotstart.kinds.base import Material
from hotstart.kinds.files import read_file
from hotstart.kinds.plain import plain
from hotstart.types import Progress

COLUMNS = ("ds", "yhat", "yhat_lower", "yhat_upper")
MOST_PERIODS = 10_000


def load(material: Material, report: Progress) -> Any:
    """Return the fitted `prophet.Prophet` in the file `material.source`.

    Raises:
        ModelFileMissing: there is no such file.
        ModelDamaged: it is no model of Prophet's.
        MissingExtra: prophet is not installed.
    """
    report("libraries", 0.1)
    content = read_file(material.source)
    logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)  # it misses plotly, aloud
    serialize = require("prophet.serialize", extra="prophet")
    report("model", 0.7)
    try:
        return serialize.model_from_json(content.decode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no JSON of Prophet's ({type(error).__name__}: {error})"
        raise ModelDamaged(material.source, reason=reason) from error


def predict(model: Any, inputs: Any, material: Material) -> Any:
    """Return the forecast, a list of {ds, yhat, yhat_lower, yhat_upper}, `ds` in ISO format.

    `inputs` is {"periods": 30, "freq": "D"} for so many steps after the series that was fitted, or
    {"ds": ["2026-01-01", ...]} for these dates. The bounds are drawn at random by Prophet, so that
    they differ a little from call to call.
    """
    if not isinstance(inputs, dict) or bool("periods" in inputs) == bool("ds" in inputs):
        expected = 'a table with "periods" (and "freq"), or with "ds", a list of dates'
        raise InvalidInput("inputs", got=inputs, expected=expected)
    try:
        future = _future(model, inputs)
    except (ValueError, TypeError) as error:
        raise InvalidInput("inputs", got=inputs, expected=f"dates ({error})") from error
    forecast = model.predict(future)
    return plain(forecast[list(COLUMNS)].to_dict("records"))


def _future(model: Any, inputs: dict[str, Any]) -> Any:
    """The dates asked for, as the data frame that Prophet takes."""
    if "ds" in inputs:
        history = model.history[["ds"]]
        dates = history.iloc[[0] * len(inputs["ds"])].reset_index(drop=True)
        return dates.assign(ds=inputs["ds"]).astype({"ds": history["ds"].dtype})
    periods = inputs["periods"]
    if isinstance(periods, bool) or not isinstance(periods, int) or not 0 < periods <= MOST_PERIODS:
        raise InvalidInput("periods", got=periods, expected=f"a number from 1 to {MOST_PERIODS}")
    freq = inputs.get("freq", "D")
    return model.make_future_dataframe(periods=periods, freq=freq, include_history=False)
