"""Make ``tests/data/sparse``: tiny sparse models, with their embeddings.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_sparse.py

``sparse/<name>/model`` is a model folder; ``weights.npy`` beside it holds what
sentence-transformers' SparseEncoder makes of ``families/texts.json``, each text alone, as a dense
matrix (texts, vocabulary). ``bge`` is laid out as BAAI/bge-m3; its weights follow FlagEmbedding's
``_process_token_weights``, its ``vectors.npz`` FlagEmbedding's ``_colbert_embedding``. Weights
follow from the model's name, so that running it again gives the same numbers. ``router`` is laid
out as opensearch-neural-sparse-encoding-doc-v3-distill, with a table of weights for queries:
``query.npy`` holds what its ``encode_query`` makes of the texts, ``document.npy`` the documents.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from family_texts import FAMILY_TEXTS
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tiny_models import config_of, scatter, tiny_model
from tiny_tokenizers import TOKENIZERS
from torch import nn
from transformers import AutoModelForMaskedLM

FOLDER = Path(__file__).parent / "sparse"
SHIFT = -12.0  # of the logits' bias, without which most of them would be positive
HIDDEN = 32


def masked_model(name: str, kind: str, folder: str) -> None:
    """Write a tiny masked language model."""
    tokenizer = TOKENIZERS.get(kind, TOKENIZERS["bert"])()
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder)
    model = AutoModelForMaskedLM.from_config(config_of(kind, tokenizer, {}))
    scatter(model, name)
    with torch.no_grad():
        model.get_output_embeddings().bias += SHIFT
    model.save_pretrained(folder)


def store(name: str, model: SparseEncoder) -> None:
    """Write the weights of every text, each computed alone."""
    found = [model.encode([text], convert_to_sparse_tensor=False)[0] for text in FAMILY_TEXTS]
    weights = np.stack([row.numpy() for row in found])
    share = (weights > 0).mean()
    assert 0.01 < share < 0.9, (name, share)
    np.save(FOLDER / name / "weights.npy", weights)
    print(f"{name:24}{weights.shape[1]:6} tokens, {share:.2f} of them active")


def make(name: str, kind: str, strategy: Any, activation: Any) -> None:
    """Write one SPLADE model, load it again and store its weights."""
    folder = str(FOLDER / name / "model")
    with tempfile.TemporaryDirectory() as passing:
        masked_model(name, kind, passing)
        modules: list[nn.Module] = [
            Transformer(passing, transformer_task="fill-mask"),
            SpladePooling(strategy, activation_function=activation),
        ]
        SparseEncoder(modules=modules, device="cpu").save(folder, create_model_card=False)
    store(name, SparseEncoder(folder, device="cpu"))


def make_bare(name: str, kind: str) -> None:
    """Write a masked language model as transformers saves it, without modules."""
    folder = str(FOLDER / name / "model")
    masked_model(name, kind, folder)
    store(name, SparseEncoder(folder, device="cpu"))


def make_bge(name: str) -> None:
    """Write a model with the layout of bge-m3 and store what its two more heads make."""
    folder = FOLDER / name / "model"
    tokenizer = TOKENIZERS["xlm-roberta"]()
    tokenizer.model_max_length = 48
    with tempfile.TemporaryDirectory() as passing:
        tokenizer.save_pretrained(passing)
        tiny_model(name, "xlm-roberta", tokenizer, {}).save_pretrained(passing)
        modules: list[nn.Module] = [Transformer(passing), Pooling(HIDDEN, "cls"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save(
            str(folder), create_model_card=False
        )
    sparse, colbert = nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, HIDDEN)
    for layer, file in ((sparse, "sparse_linear.pt"), (colbert, "colbert_linear.pt")):
        scatter(nn.ModuleDict({"linear": layer}), f"{name} {file}")
        torch.save(layer.state_dict(), folder / file)
    encoder = SentenceTransformer(str(folder), device="cpu")
    unused = {tokenizer.cls_token_id, tokenizer.eos_token_id}
    unused |= {tokenizer.pad_token_id, tokenizer.unk_token_id}
    weights = np.zeros((len(FAMILY_TEXTS), len(tokenizer)), np.float32)
    vectors = {}
    for number, text in enumerate(FAMILY_TEXTS):
        features = encoder.preprocess([text])
        with torch.inference_mode():
            hidden = encoder[0](dict(features))["token_embeddings"][0]
            values = torch.relu(sparse(hidden))[:, 0].tolist()
            rows = nn.functional.normalize(colbert(hidden[1:]), dim=-1)
        for token, value in zip(features["input_ids"][0].tolist(), values, strict=True):
            if token not in unused:
                weights[number, token] = max(weights[number, token], value)
        vectors[str(number)] = rows.numpy()
    np.save(FOLDER / name / "weights.npy", weights)
    np.savez(FOLDER / name / "vectors.npz", **vectors)


def make_router(name: str) -> None:
    """Write a model with a table for queries and a masked language model for documents."""
    folder = FOLDER / name / "model"
    with tempfile.TemporaryDirectory() as passing:
        masked_model(name, "distilbert", passing)
        encoder = Transformer(passing, transformer_task="fill-mask")
        chance = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        table = 6 * torch.rand(len(encoder.tokenizer), generator=chance)
        table[::7] = 0
        table[3::11] *= -1
        router = Router.for_query_document(
            [SparseStaticEmbedding(encoder.tokenizer, weight=table, frozen=True)],
            [encoder, SpladePooling("max", activation_function="log1p_relu")],
        )
        SparseEncoder(modules=[router], device="cpu").save(str(folder), create_model_card=False)
    for path in (folder / "document_0_Transformer").iterdir():  # as in opensearch's repositories
        path.rename(folder / path.name)
    (folder / "document_0_Transformer").rmdir()
    config = folder / "router_config.json"
    config.write_text(config.read_text().replace('"document_0_Transformer"', '""'))
    assert json.loads(config.read_text())["structure"]["document"][0] == ""
    model = SparseEncoder(str(folder), device="cpu")
    for task, encode in (("query", model.encode_query), ("document", model.encode_document)):
        found = [encode([text], convert_to_sparse_tensor=False)[0] for text in FAMILY_TEXTS if text]
        np.save(FOLDER / name / f"{task}.npy", np.stack([row.numpy() for row in found]))


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    make("bert", "bert", "max", "relu")
    make("distilbert-sum", "distilbert", "sum", "relu")
    make("roberta-log1p", "roberta", "max", "log1p_relu")
    make("modernbert", "modernbert", "max", "relu")
    make("gte", "gte", "max", "log1p_relu")
    make_bare("mpnet-bare", "mpnet")
    make_bge("bge")
    make_router("router")


if __name__ == "__main__":
    main()
