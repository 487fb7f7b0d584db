"""Make ``tests/data/static``: tiny static models of every kind, with their library's own vectors.

Run from the repository root, in an environment that has model2vec (0.10.0 was used) and
sentence-transformers (6.2.0)::

    .venv-bench/bin/python tests/data/make_static.py

Each ``static/<name>/model`` is a folder as model2vec or sentence-transformers saves it, its table
seeded by the name; ``static/<name>/vectors.npy`` is what ``encode`` of that library makes of
``static/texts.json``. Running it again gives the same bytes.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model2vec import StaticModel
from model2vec.persistence import save_pretrained
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

FOLDER = Path(__file__).parent / "static"
DIMENSION = 16
TEXTS: list[Any] = [
    "the quick brown fox jumps over the lazy dog",
    "The Quick Brown Fox",
    "a model that is ready",
    "",
    " ",
    "word",
    "unknowable 東京 words",
    "東京",
    "[PAD] the [UNK] dog",
    "punctuation, too: yes!",
    {"text": "the quick brown fox ", "times": 40},
    {"text": "incomprehensibilities", "times": 30},
    "a" * 30,
    "dogs and foxes and models",
]
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "a",
    "model",
    "that",
    "is",
    "ready",
    "word",
    "words",
    "punctuation",
    "too",
    "yes",
    "dogs",
    "and",
    "foxes",
    "models",
]
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LETTERS = "abcdefghijklmnopqrstuvwxyz,:!"


def texts() -> list[str]:
    """The texts as they are encoded."""
    return [e["text"] * e["times"] if isinstance(e, dict) else e for e in TEXTS]


def wordpiece() -> Tokenizer:
    """Words, letters and pieces of words; `unk_token` is the model's."""
    pieces = dict.fromkeys((*SPECIALS, *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)))
    vocab = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")  # to be disregarded
    return tokenizer


def wordlevel() -> Tokenizer:
    """Whole words alone: what is not one of them is unknown."""
    vocab = {piece: index for index, piece in enumerate(("[PAD]", "[UNK]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(2)  # to be disregarded
    return tokenizer


def unigram() -> Tokenizer:
    """Pieces with scores; the unknown one is known by its id."""
    pieces = dict.fromkeys(("▁", *(f"▁{word}" for word in WORDS), *LETTERS))
    scores = [("<unk>", 0.0), *((piece, -math.log(3 + i)) for i, piece in enumerate(pieces))]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def table(name: str, rows: int, dtype: str) -> Any:
    """Numbers that follow from ``name``."""
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    values = chance.normal(size=(rows, DIMENSION))
    return (values * 40).clip(-127, 127).astype(dtype) if dtype == "int8" else values.astype(dtype)


def save(name: str, tokenizer: Tokenizer, config: dict[str, Any], dtype: str = "float32") -> None:
    """Write a model as model2vec does."""
    rows = table(name, tokenizer.get_vocab_size(), dtype)
    folder = FOLDER / name / "model"
    save_pretrained(folder, rows, tokenizer, config, create_model_card=False)


def save_quantized(name: str, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Write a model of which several tokens share a row, each with its own weight."""
    size = tokenizer.get_vocab_size()
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    save_pretrained(
        FOLDER / name / "model",
        table(name, 12, "float32"),
        tokenizer,
        config,
        create_model_card=False,
        weights=chance.uniform(0.1, 2, size),
        mapping=chance.integers(0, 12, size),
    )


def save_as_sentence_transformers(
    name: str, tokenizer: Tokenizer, *, normalize: bool, nested: bool, dtype: str = "float32"
) -> None:
    """Write a model as sentence-transformers does, or as its version 3 did if ``nested``."""
    folder = FOLDER / name / "model"
    rows = torch.from_numpy(table(name, tokenizer.get_vocab_size(), dtype))
    modules: list[Any] = [StaticEmbedding(tokenizer, embedding_weights=rows)]
    if normalize:
        modules.append(Normalize())
    prompts = {"query": "the quick ", "document": ""}
    model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu", truncate_dim=12)
    model.save(str(folder), create_model_card=False)
    for path in folder.rglob("config_sentence_transformers.json"):
        content = json.loads(path.read_text())
        content["__version__"] = dict.fromkeys(content["__version__"], "0")
        path.write_text(json.dumps(content))
    if nested:
        inner = folder / "0_StaticEmbedding"
        inner.mkdir()
        for file in ("model.safetensors", "tokenizer.json"):
            (folder / file).rename(inner / file)
        described = json.loads((folder / "modules.json").read_text())
        described[0] |= {
            "path": "0_StaticEmbedding",
            "type": "sentence_transformers.models.StaticEmbedding",
        }
        (folder / "modules.json").write_text(json.dumps(described))


def vectors_of(folder: Path) -> Any:
    """Return the vectors of ``folder`` by the library that saved it."""
    if folder.parent.name.startswith("st-"):
        model = SentenceTransformer(str(folder), device="cpu", truncate_dim=DIMENSION)
        return np.stack([model.encode(text) for text in texts()])
    return StaticModel.from_pretrained(folder, force_download=False).encode(texts())


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    (FOLDER / "texts.json").write_text(json.dumps(TEXTS, indent=1) + "\n", encoding="ascii")
    save("wordpiece-normalize", wordpiece(), {"normalize": True})
    save("wordpiece-short", wordpiece(), {"normalize": True, "max_length": 7})
    save("wordpiece-endless", wordpiece(), {"normalize": False, "max_length": None})
    save("wordlevel-half", wordlevel(), {"normalize": True}, "float16")
    save("wordlevel-int8", wordlevel(), {"normalize": True}, "int8")
    save("unigram", unigram(), {})
    save_quantized("unigram-quantized", unigram(), {"normalize": True, "max_length": 9})
    save_as_sentence_transformers("st-wordpiece", wordpiece(), normalize=True, nested=False)
    save_as_sentence_transformers("st-nested", wordpiece(), normalize=False, nested=True)
    save_as_sentence_transformers("st-unigram", unigram(), normalize=True, nested=True)
    save_as_sentence_transformers("st-truncated", wordlevel(), normalize=False, nested=False)
    save_as_sentence_transformers(
        "st-half", wordlevel(), normalize=False, nested=False, dtype="float16"
    )
    for home in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        vectors = vectors_of(home / "model")
        np.save(home / "vectors.npy", vectors.astype(np.float32))
        print(home.name, vectors.shape)


if __name__ == "__main__":
    main()
