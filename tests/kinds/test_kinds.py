"""Kinds by name: hotstart's own, and those that another installed package offers."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from hotstart import ModelRegistry
from hotstart.errors import InvalidInput
from hotstart.kinds import KINDS, kind_named


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_can_load_and_predict_and_importing_it_needs_no_library(name: str) -> None:
    kind = kind_named(name)
    assert callable(kind.load)
    assert callable(kind.predict)


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="one of embedding, reranker, sklearn, prophet, onnx"):
        kind_named("nonsense")


def test_another_package_offers_a_kind_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip would have installed it: a module, and the record of its entry points."""
    (tmp_path / "shouting.py").write_text(
        "def load(material, report):\n    return material.source.upper()\n"
        "def predict(model, inputs, material):\n    return model + inputs\n"
    )
    record = tmp_path / "shouting-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[hotstart.kinds]\nshout = shouting\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with ModelRegistry.from_config({"models": {"m": {"kind": "shout", "source": "hey"}}}) as made:
        assert made.predict("m", "!").output == "HEY!"
    with pytest.raises(InvalidInput, match="custom, shout"):
        kind_named("nonsense")
