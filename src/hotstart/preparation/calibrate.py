"""What an artifact costs and gives, measured in fresh processes when it is prepared.

In a process of its own, because memory that a library once took stays in the process that imported
it. `python -m hotstart.preparation.calibrate` is that process; it speaks JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from hotstart.engines import open_engine
from hotstart.models.measuring import PROBES, cosines
from hotstart.models.metadata import Measured
from hotstart.system import available_cores
from hotstart.types import Graphs, Prepared

if TYPE_CHECKING:
    from hotstart.preparation.graph.weights import Ranges

_TEXT = "How do I reset my password?"
_REPEATS = 20


def ranges(observed: Prepared) -> Ranges:
    """Return what the further outputs of `observed` show over PROBES, from a fresh process."""
    import numpy as np

    with _asked("ranges", observed) as (_, path), np.load(path) as found:
        return dict(found)


def measure(prepared: Prepared, reference: Prepared) -> Measured:
    """Measure `prepared`, and its cosines to `reference`, each in a fresh process."""
    import numpy as np

    with _asked("figures", prepared) as (figures, path):
        vectors = np.load(path)
    with _asked("figures", reference) as (_, path):
        found = cosines(vectors, np.load(path))
    return Measured(
        memory_bytes=int(figures["memory_bytes"]),
        load_seconds=figures["load_seconds"],
        text_ms=figures["text_ms"],
        cosine_min=float(found.min()),
        cosine_mean=float(found.mean()),
    )


@contextmanager
def _asked(what: str, prepared: Prepared) -> Iterator[tuple[dict[str, float], str]]:
    """What a fresh process says of `prepared`, and the file of the arrays that it found."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "found")
        told = json.dumps([what, prepared.folder, list(prepared.graphs), *prepared[2:], path])
        command = [sys.executable, "-m", "hotstart.preparation.calibrate"]
        done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
        yield json.loads(done.stdout), path


def _answer(what: str, folder: str, graphs: list[Any], dimension: int, pad: int, path: str) -> None:
    prepared = Prepared(folder, Graphs(*graphs), dimension, pad)
    with open(path, "xb") as file:
        json.dump(_ANSWERS[what](prepared, file), sys.stdout)


def _ranges_here(prepared: Prepared, file: BinaryIO) -> dict[str, float]:
    import numpy as np

    from hotstart.engines.observing import greatest

    arrays: dict[str, Any] = dict(greatest(prepared, PROBES, available_cores()))
    np.savez(file, **arrays)
    return {}


def _measure_here(prepared: Prepared, file: BinaryIO) -> dict[str, float]:
    import numpy as np

    open_engine("onnx", prepared, "first light", 1).close()  # the libraries are not the model's
    before, began = _resident(), time.perf_counter()
    engine = open_engine("onnx", prepared, "full", available_cores())
    loaded = time.perf_counter() - began
    engine.embed([_TEXT])
    memory = _resident() - before
    laps = sorted(_lap(engine) for _ in range(_REPEATS))
    np.save(file, engine.embed(list(PROBES)))
    return {"memory_bytes": memory, "load_seconds": loaded, "text_ms": laps[len(laps) // 2]}


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


_ANSWERS = {"ranges": _ranges_here, "figures": _measure_here}

if __name__ == "__main__":
    _answer(*json.load(sys.stdin))
