"""Older folders: vocabulary files without tokenizer.json, an encoder in a sub-folder."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.errors import HotstartError, ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.models.vocabulary import build_tokenizer
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts
from support.old_folders import field, in_sub_folder, varint, with_vocabulary

NAMES = (
    *("bert-mean-normalize", "bert-lowercase", "bert-config-case", "distilbert-mean"),
    *("mpnet-mean-normalize", "roberta-mean", "camembert-mean", "xlm-roberta-cls-normalize"),
)


def copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FAMILIES / name / "model", folder))


def agrees(folder: Path, name: str) -> bool:
    vectors = Embedder(folder, pool=Pool()).encode(family_texts())
    return bool(cosines(vectors, np.load(FAMILIES / name / "vectors.npy")).min() > 0.999999)


@pytest.mark.parametrize("name", NAMES)
def test_a_vocabulary_gives_the_vectors_of_tokenizer_json(
    fresh: Settings, tmp_path: Path, name: str
) -> None:
    assert agrees(with_vocabulary(copy(name, tmp_path / "model")), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_vocabulary_is_built_as_transformers_builds_it(tmp_path: Path, name: str) -> None:
    folder = copy(name, tmp_path / "model")
    expected = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    with_vocabulary(folder)
    (vocabulary,) = [p for p in folder.iterdir() if p.name.startswith(("vocab.", "sentencep"))]
    content = build_tokenizer(str(vocabulary), model_type)
    assert content["added_tokens"] == expected["added_tokens"]
    assert content["pre_tokenizer"] == expected["pre_tokenizer"]
    assert content["post_processor"] == expected["post_processor"]
    found, wanted = ([*each["model"]["vocab"]] for each in (content, expected))
    if isinstance(wanted[0], list):  # pieces with scores, which SentencePiece rounds to float32
        found, wanted = ([piece for piece, _ in pieces] for pieces in (found, wanted))
    assert found == wanted


@pytest.mark.parametrize("name", ["bert-mean-normalize", "bert-dense-tanh", "bert-sharded"])
@pytest.mark.parametrize("is_old", [False, True])
def test_an_encoder_in_a_sub_folder_is_found(
    fresh: Settings, tmp_path: Path, name: str, is_old: bool
) -> None:
    folder = copy(name, tmp_path / "model")
    if is_old:
        with_vocabulary(folder)
    assert agrees(in_sub_folder(folder), name)


def test_what_is_missing_in_a_sub_folder_is_named(fresh: Settings, tmp_path: Path) -> None:
    folder = in_sub_folder(copy("bert-mean-normalize", tmp_path / "model"))
    (folder / "0_Transformer" / "model.safetensors").unlink()
    with pytest.raises(ModelIncomplete, match=r"missing 0_Transformer/model\.safetensors"):
        Embedder(folder, pool=Pool()).encode("a text")


def test_a_changed_vocabulary_is_another_vector_space(fresh: Settings, tmp_path: Path) -> None:
    folder = with_vocabulary(copy("bert-mean-normalize", tmp_path / "model"))
    first = Embedder(folder, pool=Pool())
    before = first.fingerprint
    lines = (folder / "vocab.txt").read_text().splitlines()
    lines[20], lines[21] = lines[21], lines[20]
    (folder / "vocab.txt").write_text("\n".join(lines))
    assert Embedder(folder, pool=Pool()).fingerprint != before


@pytest.mark.parametrize(
    ("name", "changes", "got"),
    [
        ("bert-mean-normalize", {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapanese"),
        ("bert-mean-normalize", {"tokenizer_class": "RobertaTokenizer"}, r"vocab\.txt"),
        ("roberta-mean", {"tokenizer_class": "GPT2Tokenizer"}, "GPT2Tokenizer"),
    ],
)
def test_other_tokenizers_are_refused_by_name(
    fresh: Settings, tmp_path: Path, name: str, changes: dict[str, Any], got: str
) -> None:
    folder = with_vocabulary(copy(name, tmp_path / "model"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UnsupportedModel, match=got):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (field(1, field(1, b"user") + varint(3 << 3) + varint(4)), UnsupportedModel),
        (field(2, varint(3 << 3) + varint(2)), UnsupportedModel),
        (field(2, varint(35 << 3) + varint(1)), UnsupportedModel),
        (b"\x0a\xff\xff\xff\xff\x7f", ModelDamaged),
        (b"\x0b", ModelDamaged),
        (b"\xff" * 12, ModelDamaged),
        (b"version https://git-lfs.github.com/spec/v1\n", ModelDamaged),
        (b"", ModelDamaged),
    ],
)
def test_other_sentencepiece_files_are_refused(
    fresh: Settings, tmp_path: Path, raw: bytes, error: type[HotstartError]
) -> None:
    folder = with_vocabulary(copy("xlm-roberta-cls-normalize", tmp_path / "model"))
    (folder / "sentencepiece.bpe.model").write_bytes(raw)
    with pytest.raises(error):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize("prefix", ["0.auto_model.", "model.", "module."])
def test_tensors_under_the_prefix_of_a_training_checkpoint_are_found(
    fresh: Settings, tmp_path: Path, prefix: str
) -> None:
    folder = copy("bert-mean-normalize", tmp_path / "model")
    rename(folder / "model.safetensors", lambda name: prefix + name)
    assert agrees(folder, "bert-mean-normalize")


def test_tensors_of_unknown_names_are_unsupported_not_damaged(
    fresh: Settings, tmp_path: Path
) -> None:
    folder = copy("bert-mean-normalize", tmp_path / "model")
    rename(folder / "model.safetensors", lambda name: name.replace("word", "token"))
    with pytest.raises(UnsupportedModel, match="tensor names"):
        Embedder(folder, pool=Pool()).encode("a text")


def rename(path: Path, new: Callable[[str], str]) -> None:
    """Rename the tensors of a safetensors file."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header = {new(k) if k != "__metadata__" else k: value for k, value in header.items()}
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    path.write_bytes(struct.pack("<Q", len(written)) + written + raw[8 + length :])
