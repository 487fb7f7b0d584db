"""What an artifact of lower precision costs and gives, as measured when it is prepared.

This part of the house cannot run a model; whoever can hands in `Trials`.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotstart.models.description import Description
from hotstart.models.metadata import Metadata
from hotstart.models.trials import Trials
from hotstart.preparation.variant import Written, write_observed, write_variant
from hotstart.types import Prepared

if TYPE_CHECKING:
    import numpy as np
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
    import numpy as np

    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    result: NDArray[np.float64] = (a * b).sum(-1) / np.maximum(lengths, 1e-300)
    return result


def observed(model: Description, folder: str, trials: Trials) -> Ranges:
    """Return what the linear layers of `model` are given; `folder` is for files on the way."""
    with _beside(model, folder, write_observed) as prepared:
        return trials.ranges(prepared)


def measured(
    metadata: Metadata, folder: str, model: Description, trials: Trials, float32: str
) -> Metadata:
    """Return `metadata` of the artifact in `folder` with what `trials` find.

    Args:
        metadata: as it is before.
        folder: the artifact's, complete but for its record.
        model: what it was made from; written in float32 for the comparison, then removed.
        trials: measure it.
        float32: the fingerprint of the model in float32, which the artifact may stand for where it
            proves close enough.
    """
    with _beside(model, folder, functools.partial(write_variant, precision="float32")) as plain:
        found = trials.measure(metadata.prepared(folder), plain)
    same = found.cosine_min >= SAME_SPACE
    return metadata._replace(measured=found, same_space_as=float32 if same else None)


@contextmanager
def _beside(
    model: Description, folder: str, write: Callable[[Description, str], Written]
) -> Iterator[Prepared]:
    """`model` as `write` has it, in `folder` and gone afterwards, or with it if killed."""
    reference = tempfile.mkdtemp(prefix="float32-", dir=folder)
    try:
        graphs = write(model, reference).graphs
        yield Prepared(reference, graphs, model.dimension, model.pad_token_id)
    finally:
        shutil.rmtree(reference, ignore_errors=True)
