"""A model folder that has ``onnx/model.onnx`` and no weights of another format."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from family_texts import FAMILY_TEXTS
from tokenizers import Tokenizer
from transformers import AutoModel, PreTrainedModel

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"


class Exported(torch.nn.Module):
    """An encoder as a function of its three inputs."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        """Wrap ``encoder``."""
        super().__init__()
        self.encoder = encoder

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The last hidden state."""
        hidden: torch.Tensor = self.encoder(**dict(zip(INPUTS, inputs, strict=True)))[OUTPUT]
        return hidden


def export(folder: Path, target: Path) -> None:
    """Write the encoder of ``folder`` as an ONNX file with free batch size and length."""
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    example = torch.ones((2, 7), dtype=torch.int64)
    axes = {0: "batch_size", 1: "sequence_length"}
    target.parent.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Exported(encoder),
            (example, example, torch.zeros_like(example)),
            str(target),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=dict.fromkeys((*INPUTS, OUTPUT), axes),
            opset_version=17,
            dynamo=False,
        )


def mean_pooled(session: Any, tokenizer: Tokenizer, texts: list[str]) -> Any:
    """Normalised mean vectors of one padded batch."""
    batch = tokenizer.encode_batch(texts)
    ids, mask, types = (
        np.array([getattr(encoding, name) for encoding in batch], dtype=np.int64)
        for name in ("ids", "attention_mask", "type_ids")
    )
    (hidden,) = session.run([OUTPUT], dict(zip(INPUTS, (ids, mask, types), strict=True)))
    vectors = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_onnx_only(source: Path, home: Path, max_length: int) -> None:
    """Copy ``source`` with an ONNX file in the place of its weights, and check its vectors."""
    leave = shutil.ignore_patterns("model.safetensors")
    shutil.copytree(source / "model", home / "model", ignore=leave)
    export(source / "model", home / "model" / "onnx" / "model.onnx")
    shutil.copy(source / "vectors.npy", home)
    expected = np.load(home / "vectors.npy")
    session = onnxruntime.InferenceSession(home / "model" / "onnx" / "model.onnx")
    tokenizer = Tokenizer.from_file(str(home / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    alone = [mean_pooled(session, tokenizer, [text])[0] for text in FAMILY_TEXTS]
    tokenizer.enable_padding()
    together = mean_pooled(session, tokenizer, list(FAMILY_TEXTS))
    assert np.allclose(alone, expected, atol=1e-5), abs(alone - expected).max()
    assert np.allclose(together, expected, atol=1e-5), abs(together - expected).max()
