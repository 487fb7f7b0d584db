"""What an artifact costs and gives, measured in fresh processes when it is prepared.

In a process of its own, because memory that a library once took stays in the process that imported
it. `python -m hotstart.pool.measuring` is that process; it speaks JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from hotstart.engines import open_engine
from hotstart.models.measuring import PROBES, cosines
from hotstart.models.metadata import Measured
from hotstart.resources import available_cores
from hotstart.types import Graphs, Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT = "How do I reset my password?"
_REPEATS = 20


def measure(prepared: Prepared, reference: Prepared) -> Measured:
    """Measure `prepared`, and its cosines to `reference`, each in a fresh process."""
    figures, vectors = _run(prepared)
    _, expected = _run(reference)
    found = cosines(vectors, expected)
    return Measured(
        memory_bytes=int(figures["memory_bytes"]),
        load_seconds=figures["load_seconds"],
        text_ms=figures["text_ms"],
        cosine_min=float(found.min()),
        cosine_mean=float(found.mean()),
    )


def _run(prepared: Prepared) -> tuple[dict[str, float], NDArray[np.float32]]:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vectors.npy")
        told = json.dumps([prepared.folder, list(prepared.graphs), *prepared[2:], path])
        command = [sys.executable, "-m", "hotstart.pool.measuring"]
        done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures, np.load(path)


def _measure_here(folder: str, graphs: list[Any], dimension: int, pad: int, path: str) -> None:
    import numpy as np

    prepared = Prepared(folder, Graphs(*graphs), dimension, pad)
    open_engine("onnx", prepared, "first light", 1).close()  # the libraries are not the model's
    before, began = _resident(), time.perf_counter()
    engine = open_engine("onnx", prepared, "full", available_cores())
    loaded = time.perf_counter() - began
    engine.embed([_TEXT])
    memory = _resident() - before
    laps = sorted(_lap(engine) for _ in range(_REPEATS))
    np.save(path, engine.embed(list(PROBES)))
    figures = {"memory_bytes": memory, "load_seconds": loaded, "text_ms": laps[len(laps) // 2]}
    json.dump(figures, sys.stdout)


def _lap(engine: Any) -> float:
    began = time.perf_counter()
    engine.embed([_TEXT])
    return 1000 * (time.perf_counter() - began)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell (proc(5))."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    _measure_here(*json.load(sys.stdin))
