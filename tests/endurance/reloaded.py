"""A model is reloaded again and again under threads that call it; prints what came of it.

Arguments: seconds, seconds between two reloads, threads.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from endurance.account import answer, resident_bytes
from hotstart import ModelRegistry
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config


class Halves:
    """Two megabytes of one number, which is answered only as long as all of them agree."""

    def __init__(self, number: float) -> None:
        self.first = np.full(125_000, number)
        self.second = self.first.copy()

    def predict(self, inputs: Any) -> float:
        first, second = self.first, self.second
        assert first[0] == first[-1] == second[0] == second[-1], "half a model"
        return float(first[0])


def load(path: str) -> Halves:
    return Halves(float(Path(path).read_text(encoding="utf-8")))


def main(seconds: float, pause: float, threads: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "number"
        file.write_text("0")
        table: dict[str, Any] = {
            "kind": "custom",
            "source": "endurance.reloaded:load",
            "options": {"path": str(file)},
        }
        table["check"] = [{"input": 1}]
        registry = ModelRegistry(read_config({"models": {"m": table}}), pool=Pool())
        registry.load_all()
        end, failed, calls, newest = threading.Event(), [0], [0] * threads, [0.0]

        def call(place: int) -> None:
            seen = 0.0
            while not end.is_set():
                floor = newest[0]
                try:
                    found = registry.predict("m", 1).output
                    assert found >= max(floor, seen), "an older model after a newer one"
                    seen = found
                    assert registry.get_model("m").predict(1) >= floor
                except BaseException as error:  # noqa: BLE001 - each one is to be counted
                    print(repr(error), file=sys.stderr)
                    failed[0] += 1
                calls[place] += 1
                time.sleep(0.001)

        callers = [threading.Thread(target=call, args=(place,)) for place in range(threads)]
        for caller in callers:
            caller.start()
        reloads, levels = 0, []
        finish = time.monotonic() + seconds
        while time.monotonic() < finish:
            began = time.monotonic()
            reloads += 1
            file.write_text(str(reloads))
            registry.reload("m")
            newest[0] = float(reloads)
            levels.append(resident_bytes())
            time.sleep(max(0.0, pause - (time.monotonic() - began)))
        end.set()
        for caller in callers:
            caller.join()
        settled = len(levels) // 4
        entry = registry.models()["m"]
        registry.close()
    return {
        "failed": failed[0],
        "calls": sum(calls),
        "reloads": reloads,
        "uses": entry.uses,
        "early": statistics.median(levels[settled : 2 * settled]),
        "late": statistics.median(levels[-settled:]),
    }


if __name__ == "__main__":
    answer(**main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
