"""Make ``tests/data/rerankers``: tiny cross-encoders of every family, with their scores.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_rerankers.py

``rerankers/<name>/model`` is a model folder; ``logits.npy`` and ``scores.npy`` beside it hold what
sentence-transformers' CrossEncoder makes of ``rerankers/pairs.json`` (numbers of texts in
``families/texts.json``), each pair alone and in float32: without an activation, and with the
model's own. Weights follow from the name, so that running it again gives the same numbers.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import numpy.typing as npt
import torch
from family_texts import FAMILY_TEXTS
from sentence_transformers import CrossEncoder
from tiny_models import config_of, scatter
from tiny_tokenizers import TOKENIZERS
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

FOLDER = Path(__file__).parent / "rerankers"
STEPS = (0, 1, 8, 13, 20)  # from a text to the one it is paired with
SHARPNESS = 2.0


@dataclass(frozen=True)
class Reranker:
    """One tiny cross-encoder: how it is built, and how its folder is written."""

    name: str
    kind: str
    tokenizer: str = ""
    max_length: int = 32
    labels: tuple[str, ...] = ("LABEL_0",)
    config: dict[str, Any] = field(default_factory=dict)
    modern: bool = False
    activation: nn.Module | None = None
    is_language_model: bool = False
    template: str | None = None
    prompts: dict[str, str] = field(default_factory=dict)


INSTRUCTION = (
    '<Instruct>: {{ messages | selectattr("role", "eq", "system") | map(attribute="content")'
    ' | first | default("Find passages that answer the query") }}\n'
)
QUERY = 'messages | selectattr("role", "eq", "query")'
DOCUMENT = 'messages | selectattr("role", "eq", "document")'
JUDGE = (
    "<|im_start|>system\nAnswer yes or no.<|im_end|>\n<|im_start|>user\n"
    + INSTRUCTION
    + f'<Query>: {{{{ {QUERY} | map(attribute="content") | first }}}}\n'
    + f'<Document>: {{{{ {DOCUMENT} | map(attribute="content") | first }}}}<|im_end|>\n'
    + "<|im_start|>assistant\n<think>\n\n</think>\n\n\n"
)
"""A template like Qwen3-Reranker's."""
PARTS = (
    f"{{{{ bos_token }}}}question:{{{{ ({QUERY} | first).content[0].text }}}} \n \n "
    f"passage:{{{{ ({DOCUMENT} | first).content[0].text }}}}"
)
"""A template like those of the classifiers: lists of parts, nothing after the document."""

MEAN: dict[str, Any] = {"classifier_pooling": "mean"}

RERANKERS = (
    Reranker("bert", "bert", max_length=512),
    Reranker("bert-modern", "bert", modern=True, activation=nn.Tanh()),
    Reranker("bert-three-labels", "bert", labels=("contradiction", "entailment", "neutral")),
    Reranker(
        "bert-legacy-activation",
        "bert",
        config={"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
    ),
    Reranker(
        "roberta",
        "roberta",
        max_length=48,
        config={"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
    ),
    Reranker("xlm-roberta", "xlm-roberta", max_length=64),
    Reranker("camembert", "camembert"),
    Reranker("distilbert", "distilbert", labels=("LABEL_0", "LABEL_1")),
    Reranker("mpnet", "mpnet", max_length=40),
    Reranker("modernbert", "modernbert", tokenizer="bert", max_length=64),
    Reranker("modernbert-mean", "modernbert", tokenizer="bert", config=MEAN | {"norm_bias": True}),
    Reranker("gte", "gte", tokenizer="bert", max_length=64, config={"type_vocab_size": 2}),
    Reranker("deberta", "deberta-v2", tokenizer="bert", max_length=64),
    Reranker("eurobert-late", "eurobert", tokenizer="bert", max_length=64),
    Reranker("eurobert-mean", "eurobert", tokenizer="bert", config=MEAN),
    Reranker("qwen3-score", "qwen3", tokenizer="bert", max_length=64),
    Reranker("qwen2-score", "qwen2", max_length=64),
    Reranker("gemma3-score", "gemma3_text", tokenizer="bert", max_length=64),
    Reranker("qwen3-yes-no", "qwen3", tokenizer="yes-no", max_length=64, is_language_model=True),
    Reranker(
        "qwen3-logit-score",
        "qwen3",
        tokenizer="yes-no",
        config={"tie_word_embeddings": True},
        is_language_model=True,
        modern=True,
    ),
    Reranker(
        "gemma-yes-no",
        "gemma",
        tokenizer="yes-no",
        max_length=64,
        config={"tie_word_embeddings": False},
        is_language_model=True,
    ),
    Reranker(
        "qwen3-chat",
        "qwen3",
        tokenizer="yes-no",
        max_length=170,
        config={"max_position_embeddings": 256},
        is_language_model=True,
        template=JUDGE,
    ),
    Reranker(
        "qwen3-chat-modern",
        "qwen3",
        tokenizer="qwen2-yes-no",
        max_length=200,
        config={"max_position_embeddings": 256},
        is_language_model=True,
        modern=True,
        template=JUDGE,
        prompts={"web": "Given a web search query, retrieve relevant passages"},
    ),
    Reranker("llama-chat-score", "llama", tokenizer="roberta", max_length=64, template=PARTS),
)


def write_model(reranker: Reranker, folder: Path) -> None:
    """The folder as transformers saves it."""
    tokenizer = TOKENIZERS[reranker.tokenizer or reranker.kind]()
    tokenizer.model_max_length = reranker.max_length
    tokenizer.chat_template = reranker.template
    names = dict(enumerate(reranker.labels))
    changes: dict[str, Any] = {
        "id2label": names,
        "label2id": {label: number for number, label in names.items()},
    }
    config = config_of(reranker.kind, tokenizer, changes | reranker.config)
    if reranker.is_language_model:
        model = AutoModelForCausalLM.from_config(config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    scatter(model, f"reranker {reranker.name}")
    with torch.no_grad():  # scores then differ by more than rounding, and stay off the ends
        for key, parameter in model.named_parameters():
            if "classifier" in key and key.endswith("weight"):
                parameter.mul_(SHARPNESS)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def make(reranker: Reranker, pairs: list[list[str]]) -> None:
    """Write one folder, load it again and store its logits and scores."""
    home = FOLDER / reranker.name
    folder = home / "model"
    write_model(reranker, folder)
    if reranker.modern:
        prompts = {"prompts": reranker.prompts, "default_prompt_name": next(iter(reranker.prompts))}
        made = CrossEncoder(
            str(folder),
            device="cpu",
            activation_fn=reranker.activation,
            **(prompts if reranker.prompts else {}),
        )
        shutil.rmtree(folder)
        made.save(str(folder), create_model_card=False)
    model = CrossEncoder(str(folder), device="cpu")
    for name, activation in (("logits", nn.Identity()), ("scores", None)):
        found = [model.predict([pair], activation_fn=activation)[0] for pair in pairs]
        stored: npt.NDArray[np.float32] = np.stack(found).astype(np.float32)
        np.save(home / f"{name}.npy", stored)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    spread = f"{stored.mean():6.3f} +- {stored.std():.3f}"
    print(f"{reranker.name:24}{model.max_seq_length:6} tokens {size // 1024:4} KiB  {spread}")


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    count = len(FAMILY_TEXTS)
    numbers = [(i, (i + step) % count) for step in STEPS for i in range(count)]
    (FOLDER / "pairs.json").write_text(json.dumps(numbers) + "\n", encoding="ascii")
    for reranker in RERANKERS:
        make(reranker, [[FAMILY_TEXTS[a], FAMILY_TEXTS[b]] for a, b in numbers])


if __name__ == "__main__":
    main()
