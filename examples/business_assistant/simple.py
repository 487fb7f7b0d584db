"""What answers while a model loads, or where its library is not installed: rules of thumb.

Each takes what the model it stands in for takes, and answers in the same shape.
"""

from __future__ import annotations

import csv
import datetime
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any


def churn_rule() -> Callable[[list[list[float]]], list[list[float]]]:
    """New customers, many tickets, few logins and no yearly contract: they leave."""

    def risk(row: list[float]) -> float:
        tenure, _, tickets, logins, yearly = row
        signs = [tenure < 12, tickets > 2, logins < 4, not yearly]
        return (1 + sum(signs)) / 6

    return lambda rows: [[1 - risk(row), risk(row)] for row in rows]


def weekday_mean(table: str) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """The mean of the same weekday in the last eight weeks of the series in the CSV `table`."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = [(datetime.date.fromisoformat(r["ds"]), float(r["y"])) for r in csv.DictReader(file)]
    sold: dict[int, list[float]] = defaultdict(list)
    for day, number in rows[-56:]:
        sold[day.weekday()].append(number)
    last = rows[-1][0]

    def forecast(inputs: dict[str, Any]) -> list[dict[str, Any]]:
        days = [last + datetime.timedelta(n + 1) for n in range(inputs["periods"])]
        return [
            {
                "ds": day.isoformat(),
                "yhat": statistics.mean(sold[day.weekday()]),
                "yhat_lower": min(sold[day.weekday()]),
                "yhat_upper": max(sold[day.weekday()]),
            }
            for day in days
        ]

    return forecast
