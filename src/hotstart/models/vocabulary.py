"""Build tokenizer.json from the vocabulary files of older models, as transformers 5 does.

- vocab.txt: WordPiece (Wu et al. 2016), of BERT, DistilBERT and MPNet
- vocab.json and merges.txt: byte-level BPE (Radford et al. 2019), of RoBERTa
- sentencepiece.bpe.model: Unigram (Kudo 2018), of XLM-R and CamemBERT. The file is a message of
  protobuf (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto)
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hotstart.errors import UnsupportedModel
from hotstart.files import read_bounded

WORDS, PAIRS, PIECES = "vocab.txt", "vocab.json", "sentencepiece.bpe.model"
MERGES, ADDED = "merges.txt", "added_tokens.json"

_LARGEST = 64_000_000  # bytes; see `hotstart.models.tokenizer`


class _Kind(NamedTuple):
    """The tokenizer of one class of transformers.

    Attributes:
        file: its vocabulary.
        names: the default special tokens by their names in transformers.
        strips_left: special tokens that take the white space before them.
        gives_segments: whether the second text of a pair has segment 1, after one separator.
        pieces_left_out: leading pieces of a SentencePiece file that `fixed` replaces.
        fixed: the first pieces of the vocabulary; names in braces are special tokens.
    """

    file: str
    names: dict[str, str]
    strips_left: tuple[str, ...] = ()
    gives_segments: bool = False
    pieces_left_out: int = 0
    fixed: tuple[tuple[str, float], ...] = ()


_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_CAMEMBERT_FIXED = (
    *(("<s>NOTUSED", 0.0), ("{pad_token}", 0.0), ("</s>NOTUSED", 0.0)),
    *(("{unk_token}", 0.0), ("<unk>NOTUSED", -100.0)),
)
_XLM_FIXED = tuple((f"{{{name}_token}}", 0.0) for name in ("bos", "pad", "eos", "unk"))

_KINDS = {
    "BertTokenizer": _Kind(WORDS, _BERT, gives_segments=True),
    "DistilBertTokenizer": _Kind(WORDS, _BERT, gives_segments=True),
    "MPNetTokenizer": _Kind(WORDS, _ROBERTA | {"unk_token": "[UNK]"}, ("mask_token",)),
    "RobertaTokenizer": _Kind(PAIRS, _ROBERTA),
    "XLMRobertaTokenizer": _Kind(PIECES, _ROBERTA, pieces_left_out=3, fixed=_XLM_FIXED),
    "CamembertTokenizer": _Kind(
        PIECES, _ROBERTA, ("mask_token",), pieces_left_out=1, fixed=_CAMEMBERT_FIXED
    ),
}
_BY_MODEL_TYPE = {
    "bert": "BertTokenizer",
    "nomic_bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}


def build_tokenizer(path: str, model_type: str) -> dict[str, Any]:
    """Return the content of tokenizer.json for the vocabulary at `path`.

    Args:
        path: a file WORDS, PAIRS or PIECES; other files beside it have the settings.
        model_type: the family of the model, which decides without a class in these files.

    Raises:
        UnsupportedModel: transformers' tokenizer of that class is not built from such a file.
        OSError, ValueError, LookupError, TypeError: a file cannot be read.
    """
    folder = os.path.dirname(path)
    config = _json(folder, "tokenizer_config.json")
    named = str(config.get("tokenizer_class") or _BY_MODEL_TYPE.get(model_type))
    kind = _KINDS.get(named.removesuffix("Fast"))
    if kind is None or kind.file != os.path.basename(path):
        supported = tuple(f"{name} with {each.file}" for name, each in _KINDS.items())
        got = f"{named} with {os.path.basename(path)}"
        raise UnsupportedModel(folder, feature="a tokenizer", got=got, supported=supported)
    settings = dict(config)
    if not config.get("added_tokens_decoder"):
        settings |= _json(folder, "special_tokens_map.json")
    names = {key: settings.get(key) or usual for key, usual in kind.names.items()}
    tokens = {key: _content(token) for key, token in names.items()}
    content = _MODELS[kind.file](path, kind, tokens, settings)
    content["added_tokens"] = _added(folder, kind, names, settings, content["model"]["vocab"])
    ids = {entry["content"]: entry["id"] for entry in content["added_tokens"]}
    content["post_processor"] = _around(kind, tokens, ids, settings)
    return {"version": "1.0", "truncation": None, "padding": None, **content}


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, Mapping) else token)


def _json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    return dict(json.loads(read_bounded(path, _LARGEST))) if os.path.isfile(path) else {}


def _wordpiece(
    path: str, kind: _Kind, tokens: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    lines = read_bounded(path, _LARGEST).decode().removesuffix("\n").split("\n")
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": bool(settings.get("tokenize_chinese_chars", True)),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": bool(settings.get("do_lower_case", True)),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokens["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {line.rstrip(): number for number, line in enumerate(lines)},
        },
    }


def _byte_pairs(
    path: str, kind: _Kind, tokens: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    merges = read_bounded(os.path.join(os.path.dirname(path), MERGES), _LARGEST).decode()
    lines = [line for line in merges.split("\n") if line and not line.startswith("#version")]
    level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return {
        "normalizer": None,
        "pre_tokenizer": level | {"add_prefix_space": bool(settings.get("add_prefix_space"))},
        "decoder": level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(json.loads(read_bounded(path, _LARGEST))),
            "merges": [line.rstrip("\r").split(" ", 1) for line in lines],
        },
    }


def _unigram(
    path: str, kind: _Kind, tokens: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    pieces, charsmap = _read_pieces(path)
    fixed = [(piece.format(**tokens), score) for piece, score in kind.fixed]
    vocab = [*fixed, *pieces[kind.pieces_left_out :], (tokens["mask_token"], 0.0)]
    scheme = "always" if settings.get("add_prefix_space", True) else "never"
    marks = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
    normalizer = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(charsmap).decode(),
    }
    return {
        "normalizer": normalizer if charsmap else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, marks],
        },
        "decoder": marks,
        "model": {
            "type": "Unigram",
            "unk_id": [piece for piece, _ in fixed].index(tokens["unk_token"]),
            "vocab": [list(pair) for pair in vocab],
            "byte_fallback": False,
        },
    }


_MODELS = {WORDS: _wordpiece, PAIRS: _byte_pairs, PIECES: _unigram}


def _added(
    folder: str,
    kind: _Kind,
    names: Mapping[str, Any],
    settings: Mapping[str, Any],
    vocab: Any,
) -> list[dict[str, Any]]:
    """Return the entries of added tokens: those of other files, then the special ones."""
    ids = vocab if isinstance(vocab, dict) else {piece: n for n, (piece, _) in enumerate(vocab)}
    size = len(vocab)
    extra = settings.get("additional_special_tokens") or []
    special = [*names.values(), *extra]
    if kind.fixed is _CAMEMBERT_FIXED and not extra:
        special += ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
    contents = {_content(token) for token in special}
    decoder = settings.get("added_tokens_decoder") or {
        number: {"content": token, "normalized": token not in contents}
        for token, number in _json(folder, ADDED).items()
    }
    given = [decoder[key] for key in sorted(decoder, key=int)]
    strips = {_content(names[name]) for name in kind.strips_left}
    entries: dict[str, dict[str, Any]] = {}
    for token in [*given, *special]:
        text = _content(token)
        if text in entries:
            continue
        own = token if isinstance(token, Mapping) else {"lstrip": text in strips}
        number = ids.get(text)
        if number is None:
            number, size = size, size + 1
        entries[text] = {
            "id": number,
            "content": text,
            **{key: bool(own.get(key)) for key in ("single_word", "lstrip", "rstrip")},
            "normalized": bool(own.get("normalized", text not in contents)),
            "special": text in contents or bool(own.get("special")),
        }
    return sorted(entries.values(), key=lambda entry: int(entry["id"]))


def _around(
    kind: _Kind, tokens: Mapping[str, str], ids: Mapping[str, int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the post-processor, which puts special tokens around a text or a pair."""
    if kind.file == PIECES:
        first, last = tokens["bos_token"], tokens["eos_token"]
    else:
        first, last = tokens["cls_token"], tokens["sep_token"]
    if not kind.gives_segments and kind.file != PIECES:
        return {
            "type": "RobertaProcessing",
            "sep": [last, ids[last]],
            "cls": [first, ids[first]],
            "trim_offsets": True,
            "add_prefix_space": kind.file == PAIRS and bool(settings.get("add_prefix_space")),
        }
    second = int(kind.gives_segments)

    def special(token: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    def text(name: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [special(first, 0), text("A", 0), special(last, 0)]
    between = [] if kind.gives_segments else [special(last, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *between, text("B", second), special(last, second)],
        "special_tokens": {
            token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (first, last)
        },
    }


_NORMAL_TYPES = {1, 2, 3, 5}  # normal, unknown, control, unused; not user-defined or byte
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of ModelProto


def _read_pieces(path: str) -> tuple[list[tuple[str, float]], bytes]:
    """Return the pieces of a SentencePiece file with their scores, and its normalisation table.

    Raises:
        UnsupportedModel: its model is not Unigram, or it has pieces of the user.
    """
    pieces: list[tuple[str, float]] = []
    charsmap = b""
    raw = read_bounded(path, _LARGEST)
    for number, value in _fields(raw):
        inner = dict(_fields(value)) if isinstance(value, bytes) else {}
        if number == _PIECES:
            _refuse(path, "pieces of type", inner.get(3, 1), _NORMAL_TYPES)
            score = struct.unpack("<f", inner.get(2, bytes(4)))[0]
            pieces.append((inner.get(1, b"").decode(), score))
        elif number == _TRAINER:
            _refuse(path, "model_type", inner.get(3, 1), {1})
            _refuse(path, "byte_fallback", inner.get(35, 0), {0})
        elif number == _NORMALIZER:
            charsmap = inner.get(2, b"")
    if not pieces:
        raise ValueError("no pieces")
    return pieces, charsmap


def _refuse(path: str, feature: str, got: int, supported: set[int]) -> None:
    if got not in supported:
        names = tuple(map(str, sorted(supported)))
        folder = os.path.dirname(path)
        raise UnsupportedModel(folder, feature=f"{PIECES}: {feature}", got=got, supported=names)


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message of protobuf: an int, or bytes."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(raw, at)
        else:
            length = {1: 8, 5: 4}[wire]
        if at + length > len(raw):
            raise ValueError(f"a field ends at byte {at + length} of {len(raw)}")
        yield key >> 3, raw[at : at + length]
        at += length


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at byte `at`, and the position after it."""
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        at += 1
        if raw[at - 1] < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"no number at byte {at}")
