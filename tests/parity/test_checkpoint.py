"""A checkpoint that torch saved gives sentence-transformers' vectors, without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]
TEXTS = ["a text", "How do I reset my password?", "Ça dépend: 42 % of 漢字, or не все."]


@pytest.mark.parametrize("family", ["bert-mean-normalize", "bert-fp16", "mpnet-mean-normalize"])
@pytest.mark.parametrize("shards", [1, 2])
def test_vectors_of_a_saved_checkpoint(tmp_path: Path, family: str, shards: int) -> None:
    import torch
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / family / "model", folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        names = sorted(state)
        parts = {"pytorch_model-00001-of-00002.bin": names[::2]}
        parts["pytorch_model-00002-of-00002.bin"] = names[1::2]
        for file, part in parts.items():
            torch.save({name: state[name] for name in part}, folder / file)
        weight_map = {name: file for file, part in parts.items() for name in part}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    found = Embedder(folder, pool=Pool()).encode(TEXTS)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert np.allclose(cosines(found, expected), 1, atol=1e-4)
