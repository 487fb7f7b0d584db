from __future__ import annotations

import sys
from pathlib import Path

import pytest

import hotstart
from hotstart._lazy import require
from hotstart.errors import MissingExtra


def test_a_missing_extra_names_the_pip_line() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'hotstart\[search\]'"):
        require("no_such_module.inner", extra="search")
    with pytest.raises(MissingExtra, match=r"pip install 'hotstart'"):
        require("no_such_module")


def test_a_fault_within_an_installed_library_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty_library.py").write_text("import another_that_is_missing")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="another_that_is_missing") as caught:
        require("faulty_library")
    assert not isinstance(caught.value, MissingExtra)


def test_the_face_names_what_it_has() -> None:
    assert sorted(hotstart.__all__) == sorted(dir(hotstart))
    for name in hotstart.__all__:
        assert getattr(hotstart, name) is not None
    assert hotstart.Embedder is sys.modules["hotstart.embedder"].Embedder
    with pytest.raises(AttributeError, match="no attribute 'Embeder'"):
        hotstart.Embeder  # noqa: B018
