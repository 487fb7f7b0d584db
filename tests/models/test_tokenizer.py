"""A vocabulary in a separate file equals the vocabulary in tokenizer.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from hotstart import Embedder
from hotstart.engines.graph import open_tokenizer
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.tokenizer import take_vocabulary, write_tokenizer
from hotstart.pool.pool import Pool
from hotstart.types import TOKENIZER, WORDPIECE
from support.golden import FAMILIES

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


def test_added_tokens_behind_the_vocabulary_keep_their_ids() -> None:
    content = _wordpiece({word: number for number, word in enumerate([*SPECIAL, "a", "b"])})
    new = {**content["added_tokens"][0], "id": 6, "content": "<new>", "special": False}
    content["added_tokens"].append(new)
    whole, apart = _written(content)
    assert apart.encode("a <new> b").ids == whole.encode("a <new> b").ids == [4, 6, 5]


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
            str(source / TOKENIZER),
            str(folder),
            normalizer=None,
            lowercase=False,
            max_seq_length=64,
        )
        apart = open_tokenizer(str(folder / TOKENIZER))
        (folder / WORDPIECE).unlink(missing_ok=True)
        whole = Tokenizer.from_file(str(source / TOKENIZER))
        whole.enable_truncation(64)
        return whole, apart


TEXT = "the " * 60 + "last words count"


def variant(folder: Path, family: str, file: str, drop: str = "", **new: Any) -> Path:
    """Copy the model of `family` with a changed configuration file."""
    shutil.copytree(FAMILIES / family / "model", folder)
    content = json.loads((folder / file).read_text()) | new
    content.pop(drop, None)
    (folder / file).write_text(json.dumps(content))
    return folder


# The first numbers that sentence-transformers 6.2 gives for each variant.
@pytest.mark.parametrize(
    ("family", "file", "change", "expected"),
    [
        (
            "bert-mean-normalize",
            "tokenizer_config.json",
            {"truncation_side": "left"},
            [-0.3238, 0.3596, 0.0572],
        ),
        (
            "roberta-mean",
            "tokenizer_config.json",
            {"add_prefix_space": True},
            [0.2189, -0.4612, 0.6449],
        ),
        ("roberta-mean", "config.json", {"drop": "pad_token_id"}, [0.5740, -0.1737, 0.8560]),
    ],
    ids=["truncation_side", "add_prefix_space", "pad_token_id"],
)
def test_settings_outside_tokenizer_json_are_those_of_transformers(
    tmp_path: Path, family: str, file: str, change: dict[str, Any], expected: list[float]
) -> None:
    folder = variant(tmp_path / "model", family, file, **change)
    vector = Embedder(folder, pool=Pool()).encode(TEXT)
    np.testing.assert_allclose(vector[:3], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "change", "feature"),
    [
        ("tokenizer_config.json", {"truncation_side": "middle"}, "truncation_side"),
        ("config.json", {"is_decoder": True}, "is_decoder"),
    ],
)
def test_a_setting_that_is_not_honoured_is_refused_by_name(
    tmp_path: Path, file: str, change: dict[str, Any], feature: str
) -> None:
    folder = variant(tmp_path / "model", "bert-mean-normalize", file, **change)
    with pytest.raises(UnsupportedModel, match=feature):
        Embedder(folder, pool=Pool()).encode(TEXT)


def test_a_tokenizer_that_is_not_wordpiece_keeps_its_normalizer(tmp_path: Path) -> None:
    """As paraphrase-multilingual-MiniLM-L12-v2: a BERT with the tokenizer of XLM-R."""
    source = FAMILIES / "xlm-roberta-cls-normalize" / "model"
    normalizer = json.loads((source / TOKENIZER).read_text())["normalizer"]
    overriding = {"type": "BertNormalizer", "lowercase": True}
    write_tokenizer(
        str(source / TOKENIZER),
        str(tmp_path),
        normalizer=overriding,
        lowercase=False,
        max_seq_length=32,
    )
    written = json.loads((tmp_path / TOKENIZER).read_text())
    assert written["normalizer"] == normalizer


def test_modules_of_other_libraries_and_other_orders_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-dense-tanh" / "model", folder)
    modules = json.loads((folder / "modules.json").read_text())
    foreign = [modules[0], modules[2] | {"type": "pylate.models.Dense.Dense"}]
    for content, name in ((foreign, "pylate.models.Dense.Dense"), (modules[::-1], "module")):
        (folder / "modules.json").write_text(json.dumps(content))
        with pytest.raises(UnsupportedModel, match=name):
            Embedder(folder, pool=Pool()).encode(TEXT)


def _of_bert(folder: Path, file: str, change: Any) -> Path:
    copied = folder / "model"
    shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", copied)
    path = copied / file
    content = json.loads(path.read_text()) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content))
    return copied


def _template(content: Any) -> Any:
    return content["post_processor"]["special_tokens"]


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (TOKENIZER, lambda c: _template(c)["[SEP]"].update(ids=[7]), "'.SEP.' has id 7"),
        (TOKENIZER, lambda c: _template(c)["[CLS]"].update(ids=[]), "'.CLS.' has id None"),
        (TOKENIZER, lambda c: c["model"]["vocab"].update({"[SEP]": 7}), "in the vocabulary, 7"),
        (TOKENIZER, lambda c: c["model"]["vocab"].pop("[SEP]"), "not in its vocabulary"),
        (TOKENIZER, lambda c: c.pop("post_processor"), "no post_processor"),
        ("special_tokens_map.json", lambda c: c.update(cls_token="x"), "special token 'x'"),
        ("special_tokens_map.json", lambda c: c.update(cls_token=None), "special token None"),
        ("tokenizer_config.json", lambda c: c.update(sep_token={"content": "y"}), "token 'y'"),
    ],
)
def test_special_tokens_that_transformers_would_replace_raise(
    tmp_path: Path, file: str, change: Any, reason: str
) -> None:
    folder = _of_bert(tmp_path, file, change)
    with pytest.raises(ModelDamaged, match=reason):
        Embedder(folder, pool=Pool()).encode("a text")


def test_a_bare_transformer_has_no_settings_of_sentence_transformers(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-plain" / "model", folder)
    expected = Embedder(folder, pool=Pool()).encode("A Text")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'
    )
    found = Embedder(folder, pool=Pool())
    assert np.array_equal(found.encode("A Text"), expected)
    assert (found.max_seq_length or 0) > 3
