from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.errors import ConfigNotNamed, InvalidInput
from hotstart.registry.config import (
    ModelCheck,
    ModelConfig,
    RegistryConfig,
    VersionConfig,
    check_unnamed,
    discovered,
    natural_order,
    read_config,
    read_model,
    resolve,
    with_fallbacks,
)

SHA = "ab" * 32


def test_documented_file_is_read() -> None:
    config = read_config(
        {
            "registry": {"memory": "2GB", "most_loads": 4, "watch": True},
            "models": {
                "default": {"source": "all-MiniLM-L6-v2", "strategy": "progressive"},
                "churn": {
                    "kind": "sklearn",
                    "versions": {"v1": "models/churn-1.skops", "v2": "models/churn-2.skops"},
                    "route": {"v1": 90, "v2": 10},
                    "shadow": "v2",
                    "check": [{"input": [[0.0]], "output": [0], "tolerance": 0.1}],
                },
            },
        },
        "/home",
    )
    assert (config.memory, config.most_loads, config.watch) == (2 * 10**9, 4, True)
    default, churn = config.models["default"], config.models["churn"]
    assert default.kind == "embedding"
    assert default.versions == {"1": VersionConfig("all-MiniLM-L6-v2")}
    assert default.weights == {"1": 1.0}
    assert churn.versions["v2"] == VersionConfig("/home/models/churn-2.skops")
    assert churn.weights == {"v1": 90, "v2": 10}
    assert churn.check == (ModelCheck([[0.0]], [0], 0.1),)


def test_default_route_is_named_or_highest_version() -> None:
    table: dict[str, Any] = {"kind": "onnx", "versions": {"1.10": "b", "1.9": "a"}}
    assert read_model("m", table).weights == {"1.10": 1.0}
    assert read_model("m", table | {"version": "1.9"}).weights == {"1.9": 1.0}


def test_single_source_takes_version_and_hash() -> None:
    table = {"kind": "sklearn", "source": "/m.pkl", "version": "7", "sha256": SHA}
    assert read_model("m", table).versions == {"7": VersionConfig("/m.pkl", SHA)}


def test_each_version_takes_hash() -> None:
    table = {"kind": "sklearn", "versions": {"1": "/a.pkl", "2": "/b.pkl"}, "sha256": {"2": SHA}}
    versions = read_model("m", table).versions
    assert (versions["1"].sha256, versions["2"].sha256) == (None, SHA)


def test_source_that_is_no_path_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    home = str(tmp_path)
    assert read_model("m", {"source": "owner/name"}, home).versions["1"].source == "owner/name"
    assert read_model("m", {"source": "here"}, home).versions["1"].source == "here"
    assert read_model("m", {"source": "./here"}, home).versions["1"].source == f"{home}/here"
    assert read_model("m", {"source": "./x"}, home).versions["1"].source == str(tmp_path / "x")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "either a source or a table of versions"),
        ({"source": "a", "versions": {"1": "b"}}, "either a source or a table of versions"),
        ({"versions": {}}, "at least one version"),
        ({"versions": {"1": 2}}, r"models\.m\.versions\.1 must be a text, got 2"),
        ({"source": "a", "sorce": "b"}, "a key of .models.m. must be .* got 'sorce'"),
        (
            {"source": "a", "version": "x", "route": {"y": 1}},
            r"models\.m\.route must be one of x, got 'y'",
        ),
        ({"source": "a", "shadow": "v9"}, r"models\.m\.shadow must be one of 1, got 'v9'"),
        ({"source": "a", "sha256": "zz"}, "sha256 must be .* got 'zz'"),
        ({"source": "a", "check": [{"output": 1}]}, "an input to ask"),
        (
            {"source": "a", "check": [{"input": 1, "exact": 1}]},
            r"check\[0\]. must be .* got 'exact'",
        ),
        (
            {"source": "a", "trust_remote_code": True},
            "a key of .models.m. must be .* got 'trust_remote_code'",
        ),
        ({"source": "a", "keep_alive": -1}, r"models\.m\.keep_alive must be .* got -1"),
        ({"source": "a", "strategy": "someday"}, r"models\.m\.strategy must be one of lazy, "),
        ({"source": "a", "engine": "steam"}, r"models\.m\.engine must be one of onnx, "),
        ({"source": "a", "precision": "int3"}, r"models\.m\.precision must be one of float32, "),
        ({"source": "a", "kind": "xx"}, "kind must be one of embedding, "),
        ({"source": "a", "kind": "sparse"}, "a program calls Embedder.encode_sparse"),
        ({"source": "a", "max_length": 9}, "max_length must be left out for .* kind embedding"),
        ({"source": "a", "kind": "reranker", "truncate_dim": 9}, "truncate_dim must be left out"),
        ({"source": "a", "cache": "foo://x"}, "cache must be one of "),
        ({"source": "a", "names": ["a b"]}, "a model's name must be"),
    ],
)
def test_invalid_table_is_refused_by_key(table: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_model("m", table)


@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "é", "a" * 129, "a/b/c", "a/", "/a"])
def test_invalid_model_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="a model's name"):
        read_model(name, {"source": "a"})


def test_circular_fallbacks_are_refused() -> None:
    models = {
        "a": {"kind": "onnx", "source": "x", "fallback": "b"},
        "b": {"kind": "onnx", "source": "y", "fallback": "a"},
    }
    with pytest.raises(InvalidInput, match=r"models\.a\.fallback must be .* got 'a'"):
        read_config({"models": models})


def test_fallback_source_becomes_model_of_same_kind() -> None:
    models = {"feel": read_model("feel", {"kind": "sentiment", "source": "x", "fallback": "y"})}
    whole = with_fallbacks(models)
    assert whole["feel"].fallback == "feel.fallback"
    assert whole["feel.fallback"].kind == "sentiment"
    assert whole["feel.fallback"].versions == {"1": VersionConfig("y")}


def test_fallback_model_is_kept_and_embedding_keeps_its_own() -> None:
    models = {
        "a": ModelConfig("a", "onnx", {"1": VersionConfig("x")}, fallback="b"),
        "b": ModelConfig("b", "custom", {"1": VersionConfig("y")}),
        "c": ModelConfig("c", "embedding", {"1": VersionConfig("z")}, fallback="other"),
    }
    assert with_fallbacks(models) == models


def test_discovery_skips_configured_models(tmp_path: Path) -> None:
    for name in ("churn-1.skops", "churn-2.skops", "net.onnx", "mine.onnx", "notes.txt"):
        (tmp_path / name).touch()
    mine = ModelConfig("mine", "onnx", {"1": VersionConfig("x")})
    found = discovered(RegistryConfig({"mine": mine}, folder=str(tmp_path), version="1"))
    assert found.keys() == {"churn", "net"}
    assert found["churn"].weights == {"1": 1.0}
    assert discovered(RegistryConfig()) == {}


def test_environment_sets_folder_and_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL_VERSION", "2")
    assert read_config({})[-2:] == (str(tmp_path), "2")
    own = {"registry": {"folder": "models", "version": "3"}}
    assert read_config(own, "/home")[-2:] == (os.path.abspath("/home/models"), "3")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), unique=True))
def test_versions_are_ordered_numerically(numbers: list[tuple[int, int]]) -> None:
    labels = [f"v{major}.{minor}" for major, minor in numbers]
    assert natural_order(labels) == [f"v{a}.{b}" for a, b in sorted(numbers)]


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"kind": "custom", "source": "mine:make"}, "sets models.m.kind to 'custom'"),
        (
            {"kind": "sklearn", "source": "m.joblib", "sha256": "0" * 64},
            "a pickle runs code",
        ),
        ({"kind": "sklearn", "source": "M.PKL", "sha256": "0" * 64}, "a pickle runs code"),
        ({"kind": "sklearn", "source": "m.skops", "trusted": ["os.system"]}, "it may run code"),
        ({"source": "m", "cache": "sqlite:~/.profile?near=1MB"}, "writes a file outside"),
        ({"source": "m", "cache": "sqlite:../x.db"}, "writes a file outside"),
        ({"source": "openai:m@http://elsewhere/v1"}, "OPENAI_API_KEY of the environment"),
        ({"source": "m", "fallback": "openai:m@http://elsewhere/v1"}, "OPENAI_API_KEY"),
    ],
)
def test_a_file_that_nobody_named_runs_no_code_and_gets_no_key(
    table: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    with pytest.raises(ConfigNotNamed, match=re.escape(named)) as error:
        check_unnamed(read_config({"models": {"m": table}}))
    assert "hotstart serve --config hotstart.toml" in error.value.remedy


def test_a_file_that_nobody_named_may_configure_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    tables = {
        "a": {"source": "openai:text-embedding-3-small"},
        "b": {"source": "tei:http://elsewhere"},
        "c": {"kind": "sklearn", "source": "c.skops"},
        "d": {"source": "all-MiniLM-L6-v2", "cache": "sqlite:vectors.db"},
    }
    check_unnamed(read_config({"models": tables}))


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        ("mini", "mini"),
        ("mini:latest", "mini"),
        ("owner/other", "mini"),
        ("owner/other:latest", "mini"),
        ("sentence-transformers/all-MiniLM-L6-v2", "mini"),
        ("all-MiniLM-L6-v2", None),
        ("cross-encoder/ranker", "ranks"),
        ("owner/name", "owner/name"),
        ("nobody", None),
    ],
)
def test_a_model_has_several_names(asked: str, means: str | None) -> None:
    tables = {
        "mini": {"source": "all-MiniLM-L6-v2", "names": ["owner/other"]},
        "ranks": {"kind": "reranker", "source": "ranker"},
        "owner/name": {"source": "./folder"},
        "rows": {"kind": "sklearn", "source": "a.skops"},
    }
    assert resolve(asked, read_config({"models": tables}).models.values()) == means


def test_an_unknown_table_is_refused() -> None:
    known = "models, registry, remote, search, server"
    with pytest.raises(InvalidInput, match=f"one of {known}, got 'model'"):
        read_config({"model": {"default": {"source": "a"}}})
