"""Measure a quantized artifact in fresh processes.

Fresh processes, because memory of an imported library stays in its process.
`python -m hotstart.preparation.calibrate` is that process; it reads and writes JSON.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hotstart.engines import open_engine
from hotstart.engines.graph import Tokenizer, feed, pad
from hotstart.models.description import Description
from hotstart.models.metadata import Measurements, Metadata
from hotstart.ort import input_types, open_session, session_options
from hotstart.preparation.variant import WrittenFiles, write_observed, write_variant
from hotstart.system import available_cores
from hotstart.types import TOKENIZER, GraphFiles, PreparedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.preparation.graph.weights import Ranges


SAME_SPACE = 0.999
"""The least cosine to float32, over PROBES, at which vectors may stand for float32's."""

PROBES: tuple[str, ...] = (
    "a",
    "OK",
    "No?",
    "...",
    "42",
    "hello world",
    "The cat sat on the mat.",
    "THE CAT SAT ON THE MAT!",
    "How do I reset my password?",
    "What is the capital of France?",
    "Paris is the capital and most populous city of France.",
    "lol thats soooo funny 😂😂",
    "https://example.com/photos/2021?id=7&size=large#top",
    "Call +49 30 1234567 or write to someone@example.org by 31.12.2024.",
    "The invoice of $1,234.56 is due in 30 days; late payment costs 1.5 % a month.",
    "Ignore the noise: qwzx vbnm 0x7f3a 9f86d081884c7d65 !!! ???",
    "def add(a, b):\n    return a + b  # sum of two numbers",
    "SELECT name, COUNT(*) FROM users WHERE age > 30 GROUP BY name ORDER BY 2 DESC;",
    "Traceback (most recent call last):\n  File \"app.py\", line 3\nKeyError: 'id'",
    '<p class="x">Text &amp; more</p> {"id": 1, "tags": ["a", "b"]}',
    "E = mc², ∫₀¹ x² dx = ⅓, and ∑ 1/n² = π²/6",
    "Die Katze saß gestern auf der Matte und schlief.",
    "¿Dónde está la biblioteca más cercana, por favor?",
    "Le président a annoncé une réforme des retraites à l'Assemblée nationale.",
    "Привет, мир! Кошка сидит на окне.",
    "Ο γρήγορος σκύλος τρέχει στο πάρκο.",
    "你好,世界。猫坐在垫子上。",
    "東京は日本の首都で、人口が最も多い都市です。",
    "안녕하세요, 오늘 날씨가 정말 좋네요.",
    "مرحبا بالعالم، القطة تجلس على النافذة.",
    "नमस्ते दुनिया, बिल्ली चटाई पर बैठी है।",
    "The dog chased the cat around the garden, and then the cat sat on the mat again. " * 3,
    "Photosynthesis converts light energy into chemical energy that is stored in sugars. "
    "It takes place in the chloroplasts of plants and algae, releases oxygen as a by-product, "
    "and feeds, directly or through other creatures, nearly all life on Earth. " * 8,
)
"""Short and long, prose and code, many scripts. Short texts show an error first."""


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row of `left` with the same row of `right`."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    result: NDArray[np.float64] = (a * b).sum(-1) / np.maximum(lengths, 1e-300)
    return result


def observe(model: Description, folder: str) -> Ranges:
    """Return the largest input of each linear layer of `model` over PROBES.

    `folder` holds temporary files.
    """
    with _beside(model, folder, write_observed) as prepared:
        return ranges(prepared)


def add_measurements(metadata: Metadata, folder: str, model: Description, float32: str) -> Metadata:
    """Return `metadata` of the artifact in `folder` with its cost and its cosines to float32.

    Args:
        metadata: the record without measurements.
        folder: the artifact without its record.
        model: the original model; it is written in float32 for the comparison, then removed.
        float32: fingerprint of the model in float32. The artifact gets it if the least cosine is
            at least SAME_SPACE.
    """
    with _beside(model, folder, functools.partial(write_variant, precision="float32")) as plain:
        found = measure(metadata.prepared(folder), plain)
    same = found.cosine_min >= SAME_SPACE
    return metadata._replace(measured=found, same_space_as=float32 if same else None)


@contextmanager
def _beside(
    model: Description, folder: str, write: Callable[[Description, str], WrittenFiles]
) -> Iterator[PreparedModel]:
    """Yield `model` written by `write` into a temporary folder in `folder`."""
    reference = tempfile.mkdtemp(prefix="float32-", dir=folder)
    try:
        graphs = write(model, reference).graphs
        yield PreparedModel(reference, graphs, model.dimension, model.pad_token_id)
    finally:
        shutil.rmtree(reference, ignore_errors=True)


def greatest(
    prepared: PreparedModel, texts: Sequence[str], threads: int
) -> dict[str, NDArray[Any]]:
    """Return the element-wise maximum of each output except the result.

    The texts run one by one, so that no padding is included.
    """
    graphs = prepared.graphs
    path = os.path.join(prepared.folder, graphs.encoder)
    session = open_session(path, session_options(threads, packed=False), optimize=False)
    inputs = input_types(session)
    names = [entry.name for entry in session.get_outputs() if entry.name != graphs.output]
    found: dict[str, NDArray[Any]] = {}
    for tokens in Tokenizer(os.path.join(prepared.folder, TOKENIZER)).tokens(texts):
        values = session.run(names, feed(inputs, pad([tokens], prepared.pad_token_id)))
        for name, value in zip(names, values, strict=True):
            found[name] = np.maximum(found[name], value) if name in found else value
    return found


_TEXT = "How do I reset my password?"
_REPEATS = 20


def ranges(observed: PreparedModel) -> Ranges:
    """Return the maxima of the further outputs of `observed` over PROBES, in a fresh process."""
    with _asked("ranges", observed) as (_, path), np.load(path) as found:
        return dict(found)


def measure(prepared: PreparedModel, reference: PreparedModel) -> Measurements:
    """Measure `prepared`, and its cosines to `reference`, each in a fresh process."""
    with _asked("figures", prepared) as (metrics, path):
        vectors = np.load(path)
    with _asked("figures", reference) as (_, path):
        found = cosines(vectors, np.load(path))
    return Measurements(
        memory_bytes=int(metrics["memory_bytes"]),
        load_seconds=metrics["load_seconds"],
        text_ms=metrics["text_ms"],
        cosine_min=float(found.min()),
        cosine_mean=float(found.mean()),
    )


@contextmanager
def _asked(what: str, prepared: PreparedModel) -> Iterator[tuple[dict[str, float], str]]:
    """Yield the measurements of `prepared` by a fresh process, and the file of its arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "found")
        told = json.dumps(
            [
                what,
                prepared.folder,
                list(prepared.graphs),
                prepared.dimension,
                prepared.pad_token_id,
                path,
            ]
        )
        command = [sys.executable, "-m", "hotstart.preparation.calibrate"]
        done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
        yield json.loads(done.stdout), path


def _answer(what: str, folder: str, graphs: list[Any], dimension: int, pad: int, path: str) -> None:
    prepared = PreparedModel(folder, GraphFiles(*graphs), dimension, pad)
    with open(path, "xb") as file:
        json.dump(_ANSWERS[what](prepared, file), sys.stdout)


def _ranges_here(prepared: PreparedModel, file: BinaryIO) -> dict[str, float]:
    arrays: dict[str, Any] = dict(greatest(prepared, PROBES, available_cores()))
    np.savez(file, **arrays)
    return {}


def _measure_here(prepared: PreparedModel, file: BinaryIO) -> dict[str, float]:
    open_engine("onnx", prepared, "fast_start", 1).close()  # imports do not count for the model
    before, began = _resident(), time.perf_counter()
    engine = open_engine("onnx", prepared, "full", available_cores())
    loaded = time.perf_counter() - began
    engine.embed([_TEXT])
    memory = _resident() - before
    laps = sorted(_lap(engine) for _ in range(_REPEATS))
    np.save(file, engine.embed(list(PROBES)).vectors)
    return {"memory_bytes": memory, "load_seconds": loaded, "text_ms": laps[len(laps) // 2]}


def _lap(engine: Any) -> float:
    began = time.perf_counter()
    engine.embed([_TEXT])
    return 1000 * (time.perf_counter() - began)


def _resident() -> int:
    """Return the resident bytes of this process; 0 if unknown (proc(5))."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


_ANSWERS = {"ranges": _ranges_here, "figures": _measure_here}

if __name__ == "__main__":
    _answer(*json.load(sys.stdin))
