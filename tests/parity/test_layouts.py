"""Layouts of model folders: the vectors of sentence-transformers, or a refusal by name.

Each layout is a change of a folder in tests/data/families. `make test-parity` runs these.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts
from support.old_folders import as_checkpoint, in_sub_folder, with_vocabulary

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

Change = Callable[[Path], Any]


def change(name: str, **values: Any) -> Change:
    """Return a change of the JSON file `name`; a value None removes its key."""

    def apply(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: value for key, value in (content | values).items() if value is not None}
        path.write_text(json.dumps(kept))

    return apply


def together(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for each in changes:
            each(folder)

    return apply


def without(*names: str) -> Change:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return apply


ADDED = ["<new>", "[other]"]


def with_added_tokens(folder: Path) -> None:
    """Give the vocabulary tokens of added_tokens.json, one of them special."""
    import torch
    from safetensors.torch import load_file, save_file

    with_vocabulary(folder)
    weights = load_file(folder / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    count = len(table)
    more = torch.randn((2, table.shape[1]), generator=torch.Generator().manual_seed(1))
    weights["embeddings.word_embeddings.weight"] = torch.cat([table, more])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    change("config.json", vocab_size=count + 2)(folder)
    tokens = {token: count + number for number, token in enumerate(ADDED)}
    (folder / "added_tokens.json").write_text(json.dumps(tokens))
    change("special_tokens_map.json", additional_special_tokens=["[other]"])(folder)
    change("tokenizer_config.json", added_tokens_decoder=None)(folder)


MEAN = "bert-mean-normalize"
LAYOUTS: dict[str, tuple[str, Change]] = {
    **{
        f"vocabulary of {name}": (name, with_vocabulary)
        for name in (MEAN, "bert-config-case", "distilbert-mean", "mpnet-mean-normalize")
    },
    "vocabulary of roberta": ("roberta-mean", with_vocabulary),
    "vocabulary alone": (MEAN, together(with_vocabulary, without("special_tokens_map.json"))),
    "no tokenizer_config": (MEAN, together(with_vocabulary, without("tokenizer_config.json"))),
    "fast class": (
        MEAN,
        together(
            with_vocabulary, change("tokenizer_config.json", tokenizer_class="BertTokenizerFast")
        ),
    ),
    "cased vocabulary": (
        MEAN,
        together(with_vocabulary, change("tokenizer_config.json", do_lower_case=False)),
    ),
    "added tokens": (MEAN, with_added_tokens),
    "0_Transformer": (MEAN, in_sub_folder),
    "0_Transformer of 2020": (
        MEAN,
        together(with_vocabulary, as_checkpoint, in_sub_folder),
    ),
    "Dense as checkpoint": ("bert-dense-tanh", as_checkpoint),
    "0_Transformer and Dense": ("bert-dense-tanh", together(as_checkpoint, in_sub_folder)),
}


def of_sentence_transformers(folder: Path, texts: list[str]) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    return np.stack([model.encode(text) for text in texts])


TEXTS = [*family_texts(), "a <new> token and [other] ones", "<mask> [MASK]<s>[CLS] </s> [SEP]"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_vectors_of_sentence_transformers(
    fresh: Settings, tmp_path: Path, name: str
) -> None:
    family, apply = LAYOUTS[name]
    folder = Path(shutil.copytree(FAMILIES / family / "model", tmp_path / "model"))
    apply(folder)
    expected = of_sentence_transformers(folder, TEXTS)
    assert cosines(Embedder(folder, pool=Pool()).encode(TEXTS), expected).min() > 0.999999
