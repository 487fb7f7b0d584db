"""Measure a quantized artifact in fresh processes, and the cosines of any model.

A fresh process is needed because a library's memory stays in the process that imported the library.
The child process runs `run_task`. It reads and writes JSON.
"""

from __future__ import annotations

import functools
import itertools
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
from hotstart.ort import Session
from hotstart.preparation.variant import WrittenFiles, write_observed, write_variant
from hotstart.system import available_cores, python_command
from hotstart.types import TOKENIZER, GraphFiles, PreparedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.preparation.graph.weights import Ranges


COMPARABLE = 0.999
"""Minimum cosine to float32 at which search may compare vectors with float32 vectors."""

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
"""Short and long texts, prose and code, many scripts. Short texts are most sensitive to errors."""


_MARKS = (" ", "\n", " [MASK] ", " [SEP] ", "[CLS]", " <s> ", " </s> ", " [UNK] ", " <mask> ")
_COMPARED = 512


def comparison_probes() -> list[str]:
    """Return PROBES, then pairs of their beginnings with a special token between, 512 texts in all.

    Mixed scripts and special tokens in a text are what 8-bit weights embed worst.
    """
    beginnings = [text[:40] for text in PROBES]
    pairs = (
        beginnings[first] + _MARKS[(first + step) % len(_MARKS)] + beginnings[first - step]
        for step in range(1, len(PROBES))
        for first in range(len(PROBES))
    )
    return [*PROBES, *itertools.islice(pairs, _COMPARED - len(PROBES))]


_PAIRS = (
    ("How do I reset my password?", "Open the account settings and choose a new password."),
    ("What is the capital of France?", "Paris is the capital and most populous city of France."),
    ("why is the sky blue", "Air scatters short wavelengths of sunlight more than long ones."),
    (
        "how long do eggs boil",
        "Cook eggs in simmering water for seven minutes until they are firm.",
    ),
    (
        "cheap flights to Rome in May",
        "Low-cost airlines sell spring tickets to Italy from 30 euros.",
    ),
    ("symptoms of the flu", "Influenza begins with fever, a cough, and pain in the muscles."),
    ("who wrote Hamlet", "Shakespeare finished the tragedy of the Danish prince about 1600."),
    ("dog does not eat", "A pet that refuses its food may be ill; call a veterinarian."),
    ("interest rates decision", "The central bank left the cost of borrowing money unchanged."),
    (
        "rules of offside in football",
        "A player nearer to the goal than the ball may not receive a pass.",
    ),
    (
        "fix a flat bicycle tyre",
        "Take out the inner tube, find the hole, and glue a patch over it.",
    ),
    ("how do vaccines work", "An immunization teaches the body to recognise a virus."),
    ("grow tomatoes on a balcony", "The plants need sun, a deep pot, and water every day."),
    ("cancel a subscription", "You can end your membership at any time on the billing page."),
    ("train from Berlin to Prague", "The railway line between both cities follows the river Elbe."),
    ("noise of the neighbours at night", "Tenants must be quiet from 10 p.m. to 6 a.m."),
    ("read a file line by line in Python", "for row in open(path): print(row.rstrip())"),
    ("sort a list of dicts by a key", "return sorted(rows, key=lambda row: row[name])"),
    (
        "retry a request after a timeout",
        "def fetch(url, attempts=3): # tries again if the server is late",
    ),
    ("connect to a database", "engine = create_engine('postgresql://localhost/shop')"),
    ("remove duplicates from an array", "const unique = [...new Set(values)];"),
    (
        "parse command line arguments",
        "parser = argparse.ArgumentParser(); parser.add_argument('--port')",
    ),
    ("undo the last commit", "git reset --soft HEAD~1 keeps the changes in the index."),
    (
        "hash passwords before they are stored",
        "salt = bcrypt.gensalt(); digest = bcrypt.hashpw(secret, salt)",
    ),
)
QUESTIONS = [question for question, _ in _PAIRS]
PASSAGES = [passage for _, passage in _PAIRS]

_TYPICAL_GAP = 0.4695
"""By how much a passage is nearer to its question than to others, for all-MiniLM-L6-v2."""


def similarity_scale(questions: NDArray[np.float32], passages: NDArray[np.float32]) -> float | None:
    """Return by what to multiply differences of cosines to make them those of all-MiniLM-L6-v2.

    None if no passage is nearer to its question than to others.

    Args:
        questions: the vectors of QUESTIONS, of length 1.
        passages: those of PASSAGES.
    """
    products = questions @ passages.T
    size = len(products)
    own = float(np.trace(products)) / size
    others = (float(products.sum()) - size * own) / (size * (size - 1))
    return _TYPICAL_GAP / (own - others) if own > others else None


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row of `left` with the corresponding row of `right`."""
    a = left.astype(np.float64)
    b = right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    result: NDArray[np.float64] = (a * b).sum(-1) / np.maximum(lengths, 1e-300)
    return result


def observe(model: Description, folder: str) -> Ranges:
    """Return the largest inputs of each linear layer of `model` over PROBES.

    Temporary files are written to `folder`.
    """
    with _temporary_variant(model, folder, write_observed) as prepared:
        return ranges(prepared)


def add_measurements(metadata: Metadata, folder: str, model: Description, float32: str) -> Metadata:
    """Return `metadata` of the artifact in `folder` with its cost and its cosines to float32.

    Args:
        metadata: the record without measurements.
        folder: the artifact folder, complete except for its record.
        model: the source model, written temporarily in float32 for the comparison.
        float32: the fingerprint of the model in float32. It becomes `comparable_with` if the
            minimum cosine is at least COMPARABLE.
    """
    write_float32 = functools.partial(write_variant, precision="float32")
    with _temporary_variant(model, folder, write_float32) as reference:
        measurements = measure(metadata.prepared(folder), reference)
    is_comparable = measurements.cosine_min >= COMPARABLE
    return metadata._replace(
        measured=measurements, comparable_with=float32 if is_comparable else None
    )


@contextmanager
def _temporary_variant(
    model: Description, folder: str, write: Callable[[Description, str], WrittenFiles]
) -> Iterator[PreparedModel]:
    """Write `model` with `write` into a temporary sub-folder of `folder`, and remove it at the end.

    If the process is killed, the next preparation removes `folder`.
    """
    reference = tempfile.mkdtemp(prefix="float32-", dir=folder)
    try:
        graphs = write(model, reference).graphs
        yield PreparedModel(reference, graphs, model.dimension, model.padding_token)
    finally:
        shutil.rmtree(reference, ignore_errors=True)


def greatest(
    prepared: PreparedModel, texts: Sequence[str], threads: int
) -> dict[str, NDArray[Any]]:
    """Return the element-wise maximum over `texts` of each additional output.

    The texts are run one by one, so padding does not affect the maximum.
    """
    graphs = prepared.graphs
    path = os.path.join(prepared.folder, graphs.encoder)
    session = Session(path, threads=threads, packed=False)
    names = [name for name in session.outputs if name != graphs.output]
    maxima: dict[str, NDArray[Any]] = {}
    if not names:  # a model without layers
        return maxima
    for tokens in Tokenizer(os.path.join(prepared.folder, TOKENIZER)).tokens(texts):
        inputs = feed(session.inputs, pad([tokens], prepared.pad_token_id))
        for name, tensor in zip(names, session.run(names, inputs), strict=True):
            value = np.frombuffer(tensor.data, tensor.type).reshape(tensor.shape)
            maxima[name] = np.maximum(maxima[name], value) if name in maxima else value
    return maxima


_TEXT = "How do I reset my password?"
_REPEATS = 20


def ranges(observed: PreparedModel) -> Ranges:
    """Return the maxima of the additional outputs of `observed` over PROBES, in a fresh process."""
    with _run_child("ranges", observed) as (_, path), np.load(path) as arrays:
        return dict(arrays)


def measure(prepared: PreparedModel, reference: PreparedModel) -> Measurements:
    """Measure `prepared` and its cosines to `reference`, each in a fresh process."""
    with _run_child("figures", prepared) as (metrics, path):
        vectors = np.load(path)
    with _run_child("figures", reference) as (_, path):
        similarities = cosines(vectors, np.load(path))
    return Measurements(
        memory_bytes=int(metrics["memory_bytes"]),
        load_seconds=metrics["load_seconds"],
        text_ms=metrics["text_ms"],
        cosine_min=float(similarities.min()),
        cosine_mean=float(similarities.mean()),
    )


@contextmanager
def _run_child(task: str, prepared: PreparedModel) -> Iterator[tuple[dict[str, float], str]]:
    """Run `task` in a child process; yield its JSON and the path of its arrays.

    The arrays are within the prepared folder: if this process is killed, the next preparation
    removes them with it.
    """
    with tempfile.TemporaryDirectory(dir=prepared.folder) as folder:
        path = os.path.join(folder, "arrays")
        request = json.dumps(
            [
                task,
                prepared.folder,
                list(prepared.graphs),
                prepared.dimension,
                prepared.pad_token_id,
                prepared.precision,
                path,
            ]
        )
        command = python_command("from hotstart.preparation.calibrate import run_task; run_task()")
        child = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
        yield json.loads(child.stdout), path


def run_task() -> None:
    """Run the task of a child process, whose arguments are the JSON on standard input.

    Write its arrays to a file, and its JSON to standard output.
    """
    task, folder, graphs, dimension, pad_token_id, precision, path = json.load(sys.stdin)
    prepared = PreparedModel(folder, GraphFiles(*graphs), dimension, pad_token_id, precision)
    with open(path, "xb") as file:
        json.dump(_TASKS[task](prepared, file), sys.stdout)


def _write_ranges(prepared: PreparedModel, file: BinaryIO) -> dict[str, float]:
    arrays: dict[str, Any] = dict(greatest(prepared, PROBES, available_cores()))
    np.savez(file, **arrays)
    return {}


def _write_measurements(prepared: PreparedModel, file: BinaryIO) -> dict[str, float]:
    open_engine("onnx", prepared, "fast_start", 1).close()  # exclude the memory of the libraries
    memory_before = _resident_bytes()
    start = time.perf_counter()
    engine = open_engine("onnx", prepared, "full", available_cores())
    load_seconds = time.perf_counter() - start
    engine.embed([_TEXT])
    memory = _resident_bytes() - memory_before
    times = sorted(_embed_ms(engine) for _ in range(_REPEATS))
    np.save(file, engine.embed(comparison_probes()).vectors)
    return {"memory_bytes": memory, "load_seconds": load_seconds, "text_ms": times[len(times) // 2]}


def _embed_ms(engine: Any) -> float:
    start = time.perf_counter()
    engine.embed([_TEXT])
    return 1000 * (time.perf_counter() - start)


def _resident_bytes() -> int:
    """Return the resident memory of this process (proc(5)); 0 if the system does not provide it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


_TASKS = {"ranges": _write_ranges, "figures": _write_measurements}
