"""What a pull would fetch from repositories as they are, against what the loader then needs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.files import missing_files
from hotstart.models.hub import files_to_fetch
from hotstart.models.spec import KINDS
from support.golden import ROOT

LISTINGS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (ROOT / "tests/data/listings.jsonl").read_text(encoding="utf-8").splitlines()
]
GRAPH = "onnx/model.onnx"
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".onnx", ".h5", ".msgpack", ".ot")

each_listing = pytest.mark.parametrize("listing", LISTINGS, ids=lambda each: each["repository"])


def chosen(listing: dict[str, Any]) -> list[str]:
    """Return what a pull would fetch, as `fetch` asks for it."""
    first = listing["modules"][0][0] if listing["modules"] else "Transformer"
    folders = ["" if path == "." else path for _, path in listing["modules"]] or [""]
    family = first if first.endswith("StaticEmbedding") else listing["model_type"]
    return files_to_fetch(listing["files"], family, folders=folders)


def expected_weights(listing: dict[str, Any]) -> set[str]:
    """Return the weights to fetch: where both will do, the ONNX file unless a graph is built."""
    weights = {*listing["weights"]}
    if GRAPH in weights and len(weights) > 1:
        return weights - {GRAPH} if listing["model_type"] in FAMILIES else {GRAPH}
    return weights


def test_there_are_listings_of_many_models() -> None:
    assert len({each["repository"] for each in LISTINGS}) >= 60
    assert {each["source"] for each in LISTINGS} == {"review", "fastembed", "general"}


@each_listing
def test_a_pull_fetches_one_set_of_weights_and_nothing_else_that_is_large(
    listing: dict[str, Any],
) -> None:
    files = chosen(listing)
    assert {name for name in files if name.endswith(WEIGHTS)} == expected_weights(listing)
    assert not [name for name in files if name.endswith((".md", ".py", ".gguf", ".xml", ".ot"))]
    assert {*files} <= {*listing["files"]}
    assert len(files) == len({*files})


def test_a_pull_fetches_the_chat_template_of_a_reranker_and_the_tokens_that_score_it() -> None:
    (listing,) = (each for each in LISTINGS if each["repository"] == "Qwen/Qwen3-Reranker-0.6B")
    assert {"chat_template.jinja", "1_LogitScore/config.json"} <= {*chosen(listing)}


@each_listing
def test_a_pull_fetches_a_whole_tokenizer(listing: dict[str, Any]) -> None:
    names = {name.rpartition("/")[2] for name in chosen(listing)}
    vocabularies = [
        {"vocab.txt"},
        {"vocab.json", "merges.txt"},
        {"sentencepiece.bpe.model"},
        {"spiece.model"},
    ]
    assert "tokenizer.json" in names or any(each <= names for each in vocabularies)
    if "tokenizer.json" in names:
        assert not names & {"vocab.txt", "merges.txt", "spiece.model"}


@pytest.mark.parametrize(
    "listing",
    [each for each in LISTINGS if each["kind"] in KINDS],
    ids=lambda each: each["repository"],
)
def test_nothing_that_the_loader_needs_is_missing_after_a_pull(
    listing: dict[str, Any], tmp_path: Path
) -> None:
    """A model may be refused by name; it lacks no file that its repository has."""
    for name in chosen(listing):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}" if name.endswith(".json") else "")
    modules = [{"type": class_of(name), "path": path} for name, path in listing["modules"]]
    if modules:
        (tmp_path / "modules.json").write_text(json.dumps(modules))
    shards = [name for name in listing["weights"] if "-of-" in name]
    for index in tmp_path.glob("*.index.json"):
        index.write_text(json.dumps({"weight_map": {str(n): n for n in shards}}))
    first = listing["modules"][0][1] if listing["modules"] else ""
    config = tmp_path / first / "config.json"
    config.write_text(json.dumps({"model_type": listing["model_type"]}))
    with suppress(UnsupportedModel):
        missing = missing_files(str(tmp_path))
        assert not [name for name in missing if name in listing["files"]]
        assert missing == [] or missing == ["tokenizer.json"]  # a vocabulary alone


def class_of(name: str) -> str:
    return name if "." in name else f"sentence_transformers.models.{name}"
