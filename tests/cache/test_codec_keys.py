"""A vector's name: whatever decides its value changes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.cache.codec import VectorSpace
from hotstart.models.description import describe
from hotstart.models.modules import Pipeline, Pooling
from hotstart.preparation.variant import fingerprint
from support.golden import FAMILIES

SPACE = VectorSpace("model", "main", "f" * 32, "graph", "query", "query: ", 256)
CHANGES: dict[str, Any] = {
    "source": "other",
    "revision": None,
    "fingerprint": "e" * 32,
    "engine": "torch",
    "role": "document",
    "prompt": "passage: ",
    "dimensions": None,
}


@pytest.mark.parametrize("field", VectorSpace._fields)
def test_changing_any_field_changes_every_key(field: str) -> None:
    changed = SPACE._replace(**{field: CHANGES[field]})
    assert not {*SPACE.keys(["a", ""])} & {*changed.keys(["a", ""])}


@pytest.mark.parametrize(
    "change",
    [
        {"pipeline": Pipeline((), Pooling(("cls",)), ("normalize",))},
        {"pipeline": Pipeline((), Pooling(("mean",)), ())},
        {"pipeline": Pipeline(("normalize",), Pooling(("mean",)), ("normalize",))},
        {"pipeline": Pipeline((), Pooling(("mean",), False), ("normalize",))},
        {"dimension": 16},
        {"max_seq_length": 7},
        {"lowercase": True},
        {"normalizer": {"type": "Lowercase"}},
        {"truncate_dim": 3},
        {"prompts": {"query": "q: "}},
        {"default_prompt_name": "query"},
    ],
)
def test_the_fingerprint_follows_whatever_decides_a_vector(change: dict[str, Any]) -> None:
    model = describe(str(FAMILIES / "bert-mean-normalize" / "model"), "m")
    hashes = {"model.safetensors": "a", "tokenizer.json": "b"}
    plain = fingerprint(model, hashes, "float32")
    from dataclasses import replace

    assert fingerprint(replace(model, **change), hashes, "float32") != plain


def test_the_fingerprint_follows_weights_tokenizer_and_precision() -> None:
    model = describe(str(FAMILIES / "bert-mean-normalize" / "model"), "m")
    found = {
        fingerprint(model, {"model.safetensors": weights, "tokenizer.json": tokenizer}, precision)
        for weights in "ab"
        for tokenizer in "cd"
        for precision in ("float32", "int8")
    }
    assert len(found) == 8


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), unique=True))
def test_texts_that_differ_have_keys_that_differ(texts: list[str]) -> None:
    keys = SPACE.keys(texts)
    assert len({*keys}) == len(texts)
    assert keys == SPACE.keys(texts)
    assert {len(key) for key in keys} <= {20}


@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_no_prompt_and_text_pass_for_others(a: str, b: str, c: str, d: str) -> None:
    """Joined, `query: x` and `query:` with ` x` would be one."""
    one, other = SPACE._replace(prompt=a), SPACE._replace(prompt=c)
    surrogates = any("\ud800" <= letter <= "\udfff" for letter in a + b + c + d)
    if not surrogates and (a, b) != (c, d):
        assert one.keys([b]) != other.keys([d])
    assert json.dumps(one)
