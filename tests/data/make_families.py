"""Make ``tests/data/families``: tiny embedding models of every family, with their vectors.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_families.py

Each ``families/<name>/model`` is a model folder as a user meets it; ``families/<name>/vectors.npy``
holds what sentence-transformers makes of ``families/texts.json`` with it, each text alone and in
float32. Weights follow from the family's name, so that running it again gives the same vectors. No
network is used.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import numpy.typing as npt
import torch
from alibi_bert import make_alibi_bert
from family_models import FAMILIES, Family, assembled
from family_texts import FAMILY_TEXTS
from folder_formats import FORMATS, EmbedOutput, write_json
from nomic_moe import make_nomic_moe
from onnx_folder import make_onnx_only
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, normalizers

FOLDER = Path(__file__).parent / "families"


def encoded_alone(encode: Any) -> npt.NDArray[np.float32]:
    """One vector for each text of the families, each in a batch of its own."""
    return np.stack([encode([text])[0] for text in FAMILY_TEXTS]).astype(np.float32)


def loaded(folder: Path) -> SentenceTransformer:
    """A model folder as sentence-transformers reads it, in float32."""
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


def check_tokens(family: Family, folder: Path, model: SentenceTransformer) -> None:
    """``tokenizer.json``, truncated to the longest text, gives the ids the model saw.

    Two settings outside of that file take part: ``do_lower_case`` of ``sentence_bert_config.json``
    comes before its normaliser, ``do_lower_case`` of BERT's ``tokenizer_config.json`` overrides it.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.max_seq_length or 0)
    if family.lower_case:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), tokenizer.normalizer])
    if "config_case" in family.formats:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    for text in FAMILY_TEXTS:
        seen = model.preprocess([text])["input_ids"][0].tolist()
        assert tokenizer.encode(text).ids == seen, (family.name, text)


def check_spread(name: str, vectors: npt.NDArray[np.float32]) -> float:
    """The mean cosine between different texts, which must leave room to tell them apart."""
    assert np.isfinite(vectors).all(), name
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = float((unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean())
    assert mean < 0.95, (name, mean)
    return mean


def make(family: Family) -> None:
    """Write one family's folder, load it again and store its vectors."""
    home = FOLDER / family.name
    folder = home / "model"
    with tempfile.TemporaryDirectory() as passing:
        model = assembled(family, passing)
        model.save(str(folder), create_model_card=False)
        expected = encoded_alone(model.encode)
        for step in family.formats:
            FORMATS[step](EmbedOutput(folder, model, family))
    again = loaded(folder)
    vectors = encoded_alone(again.encode)
    tolerance = 0.1 if {"half", "bfloat16"} & set(family.formats) else 1e-5
    assert np.allclose(vectors, expected, atol=tolerance), (
        family.name,
        abs(vectors - expected).max(),
    )
    check_tokens(family, folder, again)
    np.save(home / "vectors.npy", vectors)
    if family.prompts:
        np.save(home / "vectors_query.npy", encoded_alone(again.encode_query))
        np.save(home / "vectors_document.npy", encoded_alone(again.encode_document))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{family.name:28}{vectors.shape[1]:4} dims {again.max_seq_length:4} tokens"
        f" {size // 1024:5} KiB  mean cosine {check_spread(family.name, vectors):.3f}"
    )


def make_unsupported(folder: Path) -> None:
    """A folder of an architecture without support: descriptions only."""
    config = {"model_type": "xlnet", "architectures": ["XLNetModel"], "d_model": 32, "n_layer": 2}
    write_json(folder / "config.json", config)
    modules = FOLDER / "bert-mean-normalize" / "model"
    shutil.copy(modules / "modules.json", folder)
    shutil.copytree(modules / "1_Pooling", folder / "1_Pooling")


def make_of_hub(home: Path, write: Any) -> None:
    """A folder of an architecture whose code lies on the hub, and its vectors."""
    vectors = write(home, FAMILY_TEXTS)
    check_spread(home.name, vectors)
    np.save(home / "vectors.npy", vectors)


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    (FOLDER / "texts.json").write_text(json.dumps(FAMILY_TEXTS, indent=1) + "\n", encoding="ascii")
    for family in FAMILIES:
        make(family)
    make_onnx_only(FOLDER / "bert-mean-normalize", FOLDER / "onnx-only", max_length=32)
    make_of_hub(FOLDER / "jina-bert-mean", make_alibi_bert)
    make_of_hub(FOLDER / "jina-code-mean", partial(make_alibi_bert, of_code=True))
    make_of_hub(FOLDER / "nomic-moe-mean", make_nomic_moe)
    make_unsupported(FOLDER / "xlnet-unsupported" / "model")


if __name__ == "__main__":
    main()
