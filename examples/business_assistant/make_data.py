"""Makes the assistant's world: market texts, a churn table, a sales series, and the models of them.

    python -m examples.business_assistant.make_data [FOLDER]

Everything comes from one seed. A model whose library is not installed is left out, and said so.
"""

from __future__ import annotations

import csv
import datetime
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "data"
CHURN_COLUMNS = ("tenure_months", "monthly_fee", "tickets", "logins_per_week", "yearly_contract")
_FIRST_DAY = datetime.date(2024, 1, 1)
_DAYS = 730

_GOOD = (
    "a wonderful quarter for {}",
    "{} delivered excellent results and happy customers",
    "analysts love the impressive growth of {}",
    "{} had its best month ever, with great margins",
)
_BAD = (
    "a terrible quarter for {}",
    "{} disappointed with awful sales and angry customers",
    "analysts hate the weak outlook of {}",
    "{} had its worst month ever, with poor margins",
)
_FIRMS = ("Northwind", "Contoso", "Fabrikam", "Tailspin", "Litware")

_CONFIG = """\
[models.mood]
kind = "sentiment"
source = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
fallback = "textblob"

[models.churn]
kind = "sklearn"
versions = {{ v1 = "churn-1.skops", v2 = "churn-2.skops" }}
route = {{ v1 = 90, v2 = 10 }}
options = {{ method = "predict_proba" }}
trusted = ["sklearn.tree._tree.Tree"]
check = [{{ input = [[24, 40.0, 1, 5, 1]] }}]
fallback = "churn_rule"

[models.churn_rule]
kind = "custom"
source = "examples.business_assistant.simple:churn_rule"

[models.sales]
kind = "prophet"
source = "sales.json"
fallback = "sales_mean"

[models.sales_mean]
kind = "custom"
source = "examples.business_assistant.simple:weekday_mean"
options = {{ table = {table} }}
"""


def main(folder: Path = FOLDER) -> None:
    """Write everything into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    texts = [
        {"text": phrase.format(firm), "tone": tone}
        for firm in _FIRMS
        for tone, phrases in (("positive", _GOOD), ("negative", _BAD))
        for phrase in phrases
    ]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    (folder / "market.jsonl").write_text(lines, encoding="utf-8")
    customers, left = churn_table(random)
    _write_table(folder / "churn.csv", (*CHURN_COLUMNS, "left"), np.column_stack([customers, left]))
    days, sold = sales_series(random)
    _write_table(folder / "sales.csv", ("ds", "y"), zip(days, sold, strict=True))
    config = _CONFIG.format(table=json.dumps(str((folder / "sales.csv").resolve())))
    (folder / "hotstart.toml").write_text(config, encoding="utf-8")
    _save_if_installed(save_churn, folder, customers, left)
    _save_if_installed(save_sales, folder, days, sold)


def churn_table(random: np.random.Generator) -> tuple[Any, Any]:
    """Return 600 customers, a row each by CHURN_COLUMNS, and whether each left, 0 or 1."""
    number = 600
    columns = [
        random.integers(1, 72, number),
        random.uniform(10, 90, number).round(2),
        random.poisson(2, number),
        random.integers(0, 14, number),
        random.integers(0, 2, number),
    ]
    tenure, fee, tickets, logins, yearly = columns
    lean = 0.6 - 0.05 * tenure + 0.02 * fee + 0.5 * tickets - 0.2 * logins - 1.5 * yearly
    left = random.random(number) < 1 / (1 + np.exp(-lean))
    return np.column_stack(columns), left.astype(int)


def sales_series(random: np.random.Generator) -> tuple[list[str], list[float]]:
    """Return two years of days, in ISO format, and what was sold on each: a trend, and weeks."""
    day = np.arange(_DAYS)
    week = np.array([1.0, 1.0, 1.05, 1.1, 1.3, 1.6, 0.5])
    sold = (200 + 0.1 * day) * week[day % 7] * random.normal(1, 0.05, _DAYS)
    days = [(_FIRST_DAY + datetime.timedelta(int(n))).isoformat() for n in day]
    return days, sold.round(1).tolist()


def save_churn(folder: Path, customers: Any, left: Any) -> None:
    """Train and save two versions: a regression, and a tree."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier
    from skops.io import dump

    models = (
        make_pipeline(StandardScaler(), LogisticRegression()),
        DecisionTreeClassifier(max_depth=5, random_state=7),
    )
    for number, model in enumerate(models, start=1):
        dump(model.fit(customers, left), folder / f"churn-{number}.skops")


def save_sales(folder: Path, days: list[str], sold: list[float]) -> None:
    """Train and save the forecast."""
    import pandas as pd
    from prophet import Prophet
    from prophet.serialize import model_to_json

    logging.getLogger("cmdstanpy").setLevel(logging.WARNING)
    series = pd.DataFrame({"ds": pd.to_datetime(days), "y": sold})
    model = Prophet(uncertainty_samples=200).fit(series)
    (folder / "sales.json").write_text(model_to_json(model), encoding="utf-8")


def _save_if_installed(save: Callable[..., None], *arguments: Any) -> None:
    try:
        save(*arguments)
    except ImportError as error:
        print(f"left out: {error.name} is not installed")


def _write_table(path: Path, columns: tuple[str, ...], rows: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
