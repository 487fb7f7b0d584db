from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from hotstart import ModelRegistry
from hotstart.errors import MissingExtra
from hotstart.registry.watch import Watch
from support.waiting import wait_until


def test_watch_reports_file_renamed_into_place(tmp_path: Path) -> None:
    told: set[str] = set()
    watch = Watch(told.update)
    file = tmp_path / "m.skops"
    file.write_text("1")
    watch.cover([str(file)])
    time.sleep(0.2)  # the watch begins in its thread
    beside = tmp_path / "beside"
    beside.write_text("2")
    os.replace(beside, file)
    wait_until(lambda: str(file) in told)
    watch.close()
    told.clear()
    file.write_text("3")
    time.sleep(0.4)
    assert told == set()


def test_cover_replaces_watched_paths(tmp_path: Path) -> None:
    told: set[str] = set()
    watch = Watch(told.update)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        watch.cover([str(tmp_path / name / "m")])
    time.sleep(0.2)
    (tmp_path / "a" / "m").touch()
    (tmp_path / "b" / "m").touch()
    wait_until(lambda: str(tmp_path / "b" / "m") in told)
    assert str(tmp_path / "a" / "m") not in told
    watch.close()


def test_models_load_without_watchfiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    table = {"kind": "custom", "source": "registry.versions:one"}
    with ModelRegistry.from_config({"registry": {"watch": True}, "models": {"m": table}}) as made:
        assert made.load_all()["m"].status == "ready"
        assert made.load_all()["m"].status == "ready"
        with pytest.raises(MissingExtra, match=r"pip install 'hotstart\[watch\]'"):
            made.watch()
    assert caplog.text.count("Files are not watched") == 1


def test_changed_file_is_reloaded_and_broken_file_keeps_old_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sklearn.dummy import DummyRegressor
    from skops.io import dump

    def save(constant: float) -> None:
        model = DummyRegressor(strategy="constant", constant=constant).fit([[0.0]], [0.0])
        dump(model, tmp_path / "beside")
        os.replace(tmp_path / "beside", tmp_path / "m.skops")

    save(1.0)
    registry = ModelRegistry.from_config(
        {"models": {"m": {"kind": "sklearn", "source": str(tmp_path / "m.skops")}}}
    )
    with registry:
        registry.load_all()
        registry.watch()
        time.sleep(0.2)
        save(2.0)
        wait_until(lambda: registry.predict("m", [[0.0]]).output == [2.0])
        (tmp_path / "m.skops").write_bytes(b"half a file")
        wait_until(lambda: registry.models()["m"].last_error is not None)
        assert registry.predict("m", [[0.0]]).output == [2.0]
        wait_until(lambda: "the old version still serves" in caplog.text)
        save(3.0)
        wait_until(lambda: registry.predict("m", [[0.0]]).output == [3.0])
