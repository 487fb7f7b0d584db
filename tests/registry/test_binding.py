from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.errors import CheckFailed, InvalidInput, WrongKind
from hotstart.pool.pool import Pool
from registry.conftest import Make, custom
from support.golden import FAMILIES, RERANKERS

RERANKER = str(RERANKERS / "bert" / "model")
PAIRS = [["what is it?", "it is a cat"], ["what is it?", "the sea"]]


def test_get_model_returns_reranker(make: Make) -> None:
    registry = make(rank={"kind": "reranker", "source": RERANKER})
    registry.load_all()
    model = registry.get_model("rank")
    assert isinstance(model, Reranker)
    scores = registry.predict("rank", PAIRS).output
    assert np.array_equal(scores, model.predict(PAIRS))
    assert scores.shape == (2,)


def test_a_file_names_the_onnx_file_and_the_longest_pair(make: Make, tmp_path: Path) -> None:
    source = str(shutil.copytree(FAMILIES / "onnx-only" / "model", tmp_path / "m"))
    registry = make(
        rank={"kind": "reranker", "source": RERANKER, "max_length": 7},
        embed={"source": source, "file": "onnx/model.onnx"},
    )
    assert registry.get_model("rank", timeout=60).max_seq_length == 7
    embedder = registry.get_model("embed", timeout=60)
    expected = Embedder(source, file="onnx/model.onnx", pool=Pool())
    assert embedder.fingerprint == expected.fingerprint


def test_a_known_model_of_another_kind_is_named(make: Make) -> None:
    error = make(m={"source": "bge-reranker-base"}).load_all()["m"].last_error
    assert isinstance(error, WrongKind)
    assert 'kind = "reranker" in hotstart.toml' in str(error)


def test_reranker_checks_compare_scores(make: Make) -> None:
    scores = Reranker(RERANKER, pool=Pool()).predict(PAIRS).tolist()
    right = {"input": PAIRS, "output": scores, "tolerance": 1e-5}
    wrong = {"input": PAIRS, "output": [score + 0.1 for score in scores], "tolerance": 1e-5}
    table = {"kind": "reranker", "source": RERANKER}
    good, bad = make(r=table | {"check": [right]}), make(r=table | {"check": [wrong]})
    assert good.load_all()["r"].status == "ready"
    assert isinstance(bad.load_all()["r"].last_error, CheckFailed)


def test_embedder_of_same_model_shares_instance(make: Make) -> None:
    pool = Pool()
    registry = make(pool=pool, m={"source": "fake:name=shared"})
    registry.load_all()
    own = Embedder("fake:name=shared", pool=pool)
    assert own.is_loaded


def test_embedding_model_with_failed_check_never_serves(make: Make) -> None:
    check = [{"input": "a", "output": [0.0] * 8}]
    registry = make(m={"source": "fake:dimension=8", "check": check})
    entry = registry.load_all()["m"]
    assert isinstance(entry.last_error, CheckFailed)
    assert entry.status == "failed"


def test_custom_model_with_failed_check_never_serves(make: Make) -> None:
    check = [{"input": [1], "output": [3]}]
    registry = make(right=custom(bias=2) | {"check": check}, wrong=custom(bias=1))
    registry.load_all()
    assert registry.is_loaded("right")
    wrong = make(wrong=custom(bias=1) | {"check": check})
    assert "answered [2], not [3]" in str(wrong.load_all()["wrong"].last_error)


def test_broken_kind_of_another_package_does_not_block_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("its import fails")

    monkeypatch.setattr("hotstart.kinds._external", lambda: ["theirs"])
    registry = make(m={"kind": "theirs", "source": "x"}, fine={"source": "fake:"})
    monkeypatch.setattr("hotstart.registry.binding.kind_named", broken)
    entries = registry.load_all()
    assert (entries["m"].status, entries["fine"].status) == ("failed", "ready")
    assert "its import fails" in str(entries["m"].last_error)


@pytest.mark.parametrize(
    "table",
    [
        {"source": "fake:bad=1"},
        {"kind": "reranker", "source": "m", "engine": "static"},
    ],
)
def test_invalid_model_fails_when_loaded(make: Make, table: dict[str, object]) -> None:
    registry = make(m=table, fine=custom())
    entries = registry.load_all()
    assert (entries["m"].status, entries["fine"].status) == ("failed", "ready")
    assert isinstance(entries["m"].last_error, InvalidInput)
    with pytest.raises(InvalidInput):
        registry.predict("m", "x")
