"""Model folders as they were written before tokenizer.json and before 2021."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

TRANSFORMER_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("model.safetensors", "pytorch_model.bin", "sentence_bert_config.json", "vocab.txt"),
)


def with_vocabulary(folder: Path) -> Path:
    """Replace tokenizer.json by the vocabulary files of its model."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = content["model"]
    if model["type"] == "WordPiece":
        lines = sorted(model["vocab"], key=model["vocab"].__getitem__)
        (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif model["type"] == "BPE":
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
        text = "".join(f"{line}\n" for line in ["#version: 0.2", *merges])
        (folder / "merges.txt").write_text(text, encoding="utf-8")
    else:
        write_pieces(folder / "sentencepiece.bpe.model", content)
    (folder / "tokenizer.json").unlink()
    return folder


def write_pieces(path: Path, content: dict[str, Any]) -> None:
    """Write the Unigram vocabulary of XLM-R or CamemBERT as SentencePiece had it."""
    vocab = [(piece, score) for piece, score in content["model"]["vocab"][:-1]]
    if vocab[0][0] == "<s>NOTUSED":
        vocab = [("<unk>", 0.0), *vocab[5:]]
    else:
        vocab = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *vocab[4:]]
    raw = b"".join(field(1, piece_of(piece, score, n)) for n, (piece, score) in enumerate(vocab))
    path.write_bytes(raw + field(2, varint(3 << 3) + varint(1)))


def piece_of(piece: str, score: float, number: int) -> bytes:
    kind = 2 if number == 0 else 3 if piece in {"<s>", "</s>"} else 1
    scored = varint(2 << 3 | 5) + struct.pack("<f", score)
    return field(1, piece.encode()) + scored + varint(3 << 3) + varint(kind)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    raw = bytearray()
    while value > 127:
        raw.append(value & 127 | 128)
        value >>= 7
    return bytes([*raw, value])


def in_sub_folder(folder: Path) -> Path:
    """Move the encoder into 0_Transformer, as sentence-transformers had it until 2020."""
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in TRANSFORMER_FILES:
        if (folder / name).exists():
            os.replace(folder / name, inner / name)
    for path in folder.glob("model*.safetensors*"):
        shutil.move(path, inner)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0] |= {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def as_checkpoint(folder: Path) -> None:
    """Save every model.safetensors as pytorch_model.bin."""
    import torch
    from safetensors.torch import load_file

    for path in folder.rglob("model.safetensors"):
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
