"""A vocabulary in a separate file equals the vocabulary in tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from hotstart.engines.graph import open_tokenizer
from hotstart.models.tokenizer import take_vocabulary, write_tokenizer
from hotstart.types import TOKENIZER, WORDPIECE

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
TOKENS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4), unique=True, max_size=30
)


@given(TOKENS, st.integers(1, 200), st.sampled_from(["##", "", "@"]))
@example(["a", "\x85", "b"], 100, "##")
@example(["a\r", "b\n", "\n", ""], 100, "##")
@example(["a\u2028b", " a", "a "], 100, "##")
def test_the_artifacts_tokenizer_equals_the_models(
    tokens: list[str], longest: int, prefix: str
) -> None:
    words = list(dict.fromkeys([*SPECIAL, *tokens]))
    content = _wordpiece({word: number for number, word in enumerate(words)})
    content["model"] |= {"max_input_chars_per_word": longest, "continuing_subword_prefix": prefix}
    whole, apart = _written(content)
    assert json.loads(apart.to_str()) == json.loads(whole.to_str())
    for text in ("a b ab", *tokens):
        assert apart.encode(text).ids == whole.encode(text).ids


@pytest.mark.parametrize(
    "change",
    [
        {"vocab": {"[UNK]": 0, "a": 2}},
        {"vocab": {"[UNK]": 0, "a ": 1}},
        {"vocab": {"[UNK]": 0, "a\nb": 1}},
        {"type": "BPE"},
        {"type": "Unigram", "vocab": [["a", -1.0]]},
    ],
)
def test_a_vocabulary_that_lines_cannot_represent_is_unchanged(change: dict[str, Any]) -> None:
    content = _wordpiece({"[UNK]": 0, "a": 1})
    content["model"] |= change
    before = json.dumps(content)
    assert take_vocabulary(content) is None
    assert json.dumps(content) == before


def _wordpiece(vocabulary: dict[str, int]) -> dict[str, Any]:
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    added = [
        {"id": vocabulary[word], "content": word, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for word in SPECIAL
        if word in vocabulary
    ]
    names = ("truncation", "padding", "normalizer", "post_processor", "decoder")
    return dict.fromkeys(names) | {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": model,
    }


def _written(content: dict[str, Any]) -> tuple[Tokenizer, Tokenizer]:
    """Return the model's tokenizer, and the tokenizer of its artifact."""
    with TemporaryDirectory() as parent:
        source, folder = Path(parent, "source"), Path(parent, "artifact")
        source.mkdir()
        folder.mkdir()
        (source / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
        write_tokenizer(
            str(source), str(folder), normalizer=None, lowercase=False, max_seq_length=64
        )
        apart = open_tokenizer(str(folder / TOKENIZER))
        (folder / WORDPIECE).unlink(missing_ok=True)
        whole = Tokenizer.from_file(str(source / TOKENIZER))
        whole.enable_truncation(64)
        return whole, apart
