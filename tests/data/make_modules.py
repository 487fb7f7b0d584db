"""Make ``tests/data/modules``: tiny models with modules beyond pooling, with their vectors.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_modules.py

``modules/<name>/model`` is a model folder; ``vectors*.npy`` beside it hold what
sentence-transformers makes of ``families/texts.json``, each text alone and in float32. Weights
follow from the model's name, so that running it again gives the same vectors.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from family_models import PROMPTS
from family_texts import FAMILY_TEXTS
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tiny_models import scatter, tiny_model
from tiny_tokenizers import TOKENIZERS
from torch import nn

FOLDER = Path(__file__).parent / "modules"


def transformer(name: str, folder: str) -> Transformer:
    """A tiny BERT, read from ``folder``."""
    tokenizer = TOKENIZERS["bert"]()
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder)
    tiny_model(name, "bert", tokenizer, {}).save_pretrained(folder)
    return Transformer(folder)


def scattered(name: str, *modules: nn.Module) -> list[nn.Module]:
    """The modules with weights that follow from the name."""
    for number, module in enumerate(modules):
        scatter(module, f"{name} {number}")
    return list(modules)


def save(name: str, modules: list[nn.Module], **options: Any) -> SentenceTransformer:
    """Write a model and load it again."""
    folder = str(FOLDER / name / "model")
    made = SentenceTransformer(modules=modules, device="cpu", **options)
    made.save(folder, create_model_card=False)
    return SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})


def store(name: str, encode: Any, suffix: str = "") -> None:
    """Write the vectors of every text, each computed alone."""
    vectors = np.stack([encode([text])[0] for text in FAMILY_TEXTS]).astype(np.float32)
    np.save(FOLDER / name / f"vectors{suffix}.npy", vectors)


def make_steps(passing: str) -> None:
    """Steps on tokens and on vectors, and modules that the vector does not depend on."""
    name = "steps"
    steps = scattered(
        name,
        Dense(32, 24, activation_function=nn.LeakyReLU(), module_input_name="token_embeddings"),
        Pooling(24, ("cls", "mean")),
        LayerNorm(48),
        Dense(48, 16, activation_function=nn.Mish(), use_residual=True),
        Dense(16, 8, module_output_name="another_embedding"),
    )
    unused = Normalize(module_input_name="token_embeddings")
    model = save(name, [transformer(name, passing), *steps, unused])
    store(name, model.encode)


def make_excluded_prompt(passing: str) -> None:
    """A model that pools the tokens after the prompt only, in every pooling mode."""
    name = "excluded-prompt"
    pooling = Pooling(32, "mean", include_prompt=False)
    model = save(name, [transformer(name, passing), pooling], prompts=PROMPTS)
    for mode in Pooling.POOLING_MODES:
        model[1].pooling_mode = mode
        store(name, model.encode_query, f"_query_{mode}")
        store(name, model.encode, f"_plain_{mode}")


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for make in (make_steps, make_excluded_prompt):
        with tempfile.TemporaryDirectory() as passing:
            make(passing)


if __name__ == "__main__":
    main()
