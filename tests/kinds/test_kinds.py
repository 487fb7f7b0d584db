"""Kinds by name, from hotstart and from other packages."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from hotstart import ModelRegistry
from hotstart.errors import InvalidInput
from hotstart.kinds import KINDS, kind_named


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_load_and_predict(name: str) -> None:
    kind = kind_named(name)
    assert callable(kind.load)
    assert callable(kind.predict)


def test_an_unknown_kind_raises_and_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="one of embedding, reranker, sklearn, prophet, onnx"):
        kind_named("nonsense")


def test_another_package_can_provide_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Install a module and its entry points, as pip does."""
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
    with ModelRegistry.from_config(
        {"models": {"m": {"kind": "shout", "source": "hey"}}}
    ) as registry:
        assert registry.predict("m", "!").output == "HEY!"
    with pytest.raises(InvalidInput, match="custom, shout"):
        kind_named("nonsense")
