"""Make ``tests/data/multi_vector``: tiny late-interaction models, with their embeddings.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_multi_vector.py

``multi_vector/<name>/model`` is a model folder; ``query.npz``, ``document.npz`` and ``plain.npz``
beside it hold what sentence-transformers' MultiVectorEncoder makes of ``families/texts.json`` with
``encode_query``, ``encode_document`` and ``encode``, each text alone, by its number. Weights follow
from the model's name, so that running it again gives the same numbers.
"""

from __future__ import annotations

import json
import os
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from family_texts import FAMILY_TEXTS
from folder_formats import write_json
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tiny_models import scatter, tiny_model
from tiny_tokenizers import TOKENIZERS
from torch import nn

FOLDER = Path(__file__).parent / "multi_vector"
HIDDEN, DIMENSION = 32, 8


def write_encoder(name: str, kind: str, folder: str, added: tuple[str, ...] = ()) -> None:
    """Write a tiny encoder and its tokenizer, which has the tokens ``added`` too."""
    tokenizer = TOKENIZERS[kind]()
    tokenizer.model_max_length = 40
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)
    tiny_model(name, kind, tokenizer, {}).save_pretrained(folder)


def projection(name: str) -> Dense:
    """The layer from hidden states to vectors."""
    dense = Dense(
        HIDDEN,
        DIMENSION,
        bias=False,
        activation_function=nn.Identity(),
        module_input_name="token_embeddings",
    )
    scatter(dense, name)
    return dense


def store(name: str) -> None:
    """Write the vectors of every text, each computed alone."""
    model = MultiVectorEncoder(str(FOLDER / name / "model"), device="cpu")
    for file, encode in (
        ("query", model.encode_query),
        ("document", model.encode_document),
        ("plain", model.encode),
    ):
        found = [encode([text], convert_to_numpy=True)[0] for text in FAMILY_TEXTS]
        np.savez_compressed(
            FOLDER / name / f"{file}.npz", **{str(n): rows for n, rows in enumerate(found)}
        )
        lengths = [len(rows) for rows in found]
        print(f"{name:24}{file:10}{min(lengths):4} to {max(lengths):3} vectors")


def make(name: str, kind: str, mask: dict[str, Any], **settings: Any) -> None:
    """Write a model as sentence-transformers 6 saves it."""
    with tempfile.TemporaryDirectory() as passing:
        write_encoder(name, kind, passing)
        modules: list[nn.Module] = [
            Transformer(passing, **settings),
            projection(name),
            MultiVectorMask(**mask),
            Normalize(module_input_name="token_embeddings"),
        ]
        prompts = {"query": "[Q] ", "document": "[D] "}
        made = MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts)
        made.save(str(FOLDER / name / "model"), create_model_card=False)
    store(name)


def make_pylate(name: str) -> None:
    """Write a model as PyLate 1 saves it: two modules, its settings beside the prompts."""
    folder = FOLDER / name / "model"
    write_encoder(name, "bert", str(folder), ("[Q] ", "[D] "))
    (folder / "1_Dense").mkdir()
    dense = projection(name)
    dense.save(str((folder / "1_Dense").absolute()))
    config = json.loads((folder / "1_Dense" / "config.json").read_text())
    for key in ("module_input_name", "module_output_name"):
        del config[key]
    write_json(folder / "1_Dense" / "config.json", config)
    types = ("sentence_transformers.models.Transformer", "pylate.models.Dense.Dense")
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": kind}
        for n, (path, kind) in enumerate(zip(("", "1_Dense"), types, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 37, "do_lower_case": False})
    settings: dict[str, Any] = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "model_type": "ColBERT",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 24,
        "document_length": 38,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    write_json(folder / "config_sentence_transformers.json", settings)
    store(name)


def make_colbert(name: str) -> None:
    """Write a model as ColBERT saves it: one file of weights with the projection in it."""
    folder = FOLDER / name / "model"
    write_encoder(name, "bert", str(folder))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    last = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    for token, marker in zip(last, ("[unused0]", "[unused1]"), strict=True):
        vocabulary[marker] = vocabulary.pop(token)
    path.write_text(json.dumps(tokenizer, ensure_ascii=False))
    weights = load_file(folder / "model.safetensors")
    weights = {f"bert.{key}": tensor for key, tensor in weights.items()}
    weights["linear.weight"] = projection(name).linear.weight.detach().clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"architectures": ["HF_ColBERT"]})
    settings = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 32,
        "doc_maxlen": 39,
        "dim": DIMENSION,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
    }
    write_json(folder / "artifact.metadata", settings)
    store(name)


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    torch.manual_seed(0)
    punctuation = {"skiplist_words": list(string.punctuation)}
    fixed = {"strategy": "fixed", "attend": False, "length": 24}
    make("bert-fixed", "bert", punctuation, query_expansion=fixed, document_length=36)
    least = {"strategy": "min", "attend": True, "length": 16}
    both = punctuation | {"skiplist_tasks": ["query", "document"]}
    make("roberta-min", "roberta", both, query_expansion=least, query_length=20)
    make("distilbert-plain", "distilbert", {})
    make_pylate("pylate")
    make_colbert("colbert")


if __name__ == "__main__":
    main()
