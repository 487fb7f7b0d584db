"""A business assistant: the mood of the market, who is about to leave, what will be sold.

    python -m examples.business_assistant.assistant [--data FOLDER] [--ask mood|churn|sales]

It can be asked at once. Its models load behind it, side by side; until each is there, or where its
library is not installed, a simpler one answers, and the answer says so.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from examples.business_assistant.make_data import FOLDER
from hotstart import HotstartError, ModelRegistry
from hotstart.errors import PredictionTimeout

PATIENCE = 1.7
"""Seconds that a question waits for the better model."""


class Answer(NamedTuple):
    """What is said, by which model, and why not by the better one, if so."""

    text: str
    model: str
    reason: str | None


class Assistant:
    """Answers questions about the data in `folder`, by the models its hotstart.toml names."""

    def __init__(self, folder: Path) -> None:
        self.registry = ModelRegistry.from_config(folder / "hotstart.toml")
        self.folder = folder
        self.questions = {"mood": self.mood, "churn": self.churn, "sales": self.sales}

    async def mood(self) -> Answer:
        """How the market feels: the share of texts that are positive."""
        lines = (self.folder / "market.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        found = await self._predict("mood", texts)
        good = sum(feeling["label"] == "positive" for feeling in found.output)
        text = f"{good} of {len(texts)} market texts are positive"
        return Answer(text, f"{found.model} {found.version}", found.reason)

    async def churn(self) -> Answer:
        """Who is about to leave: the three customers with the highest risk."""
        with (self.folder / "churn.csv").open(newline="", encoding="utf-8") as file:
            rows = [
                [float(value) for value in list(row.values())[:-1]] for row in csv.DictReader(file)
            ]
        found = await self._predict("churn", rows, key="the board")
        risks = [risk for _, risk in found.output]
        worst = sorted(range(len(rows)), key=risks.__getitem__, reverse=True)[:3]
        said = ", ".join(f"customer {place} ({risks[place]:.0%})" for place in worst)
        return Answer(f"most at risk: {said}", f"{found.model} {found.version}", found.reason)

    async def sales(self) -> Answer:
        """What will be sold in the seven days after the series."""
        asked = {"periods": 7, "freq": "D"}
        found = await self._predict("sales", asked)
        total = sum(day["yhat"] for day in found.output)
        text = f"about {total:.0f} will be sold from {found.output[0]['ds'][:10]} on, in a week"
        return Answer(text, f"{found.model} {found.version}", found.reason)

    async def _predict(self, name: str, inputs: Any, key: str | None = None) -> Any:
        """Return the answer of a model, or of its fallback if it is not ready within PATIENCE."""
        try:
            return await self.registry.apredict(name, inputs, key=key, timeout=PATIENCE)
        except PredictionTimeout:  # the model got ready at the last moment
            return await self.registry.apredict(name, inputs, key=key)

    async def ask(self, topic: str) -> str:
        """Return the answer to a topic as it is said, whatever comes of it."""
        question = self.questions.get(topic)
        if question is None:
            return f"Ask me about one of: {', '.join(self.questions)}."
        began = time.perf_counter()
        try:
            answer = await question()
        except HotstartError as error:
            return f"I cannot say: {error}"
        took = f"{time.perf_counter() - began:.2f} s"
        why = f"; for the better one: {answer.reason}" if answer.reason else ""
        return f"{answer.text} ({answer.model}, {took}{why})"


async def prepare(assistant: Assistant) -> None:
    """Load one topic's models after the other's: the imports of their libraries take turns anyway,
    and side by side the first question would wait for all of them."""
    for topic in assistant.questions:
        await assistant.registry.aload_selected([topic])


async def converse(assistant: Assistant) -> None:
    """Answer line after line, while models load and change."""
    loading = asyncio.ensure_future(prepare(assistant))
    print("Ask me about mood, churn or sales. An empty line ends it.")
    while topic := (await asyncio.to_thread(input, "> ")).strip():
        print(await assistant.ask(topic))
    loading.cancel()


def main() -> None:
    """Answer one question, or converse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--ask", metavar="TOPIC")
    arguments = parser.parse_args()
    if not (arguments.data / "hotstart.toml").exists():
        parser.error(f"{arguments.data} holds no data: run make_data first")
    assistant = Assistant(arguments.data)
    if arguments.ask:
        print(asyncio.run(assistant.ask(arguments.ask)))
    else:
        asyncio.run(converse(assistant))


if __name__ == "__main__":
    main()
