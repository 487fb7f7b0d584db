from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from hotstart import ModelRegistry
from hotstart.errors import MissingExtra
from hotstart.watch import Watch, steps_to
from support.waiting import wait_until


def test_watch_reports_file_renamed_into_place(tmp_path: Path) -> None:
    told: set[str] = set()
    watch = Watch(told.update)
    file = tmp_path / "m.skops"
    file.write_text("1")
    watch.cover([str(file)])
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
    (tmp_path / "a" / "m").touch()
    (tmp_path / "b" / "m").touch()
    wait_until(lambda: str(tmp_path / "b" / "m") in told)
    assert str(tmp_path / "a" / "m") not in told
    watch.close()


def test_ignored_folders_are_not_watched(tmp_path: Path) -> None:
    told: set[str] = set()
    ignored = tmp_path / ".git"
    (ignored / "objects").mkdir(parents=True)
    watch = Watch(told.update, lambda path: ".git" in path.split(os.sep))
    watch.cover([str(tmp_path)])
    assert not any(".git" in folder for folder in watch._folders)
    (ignored / "a").touch()
    (tmp_path / "b").touch()
    wait_until(lambda: str(tmp_path / "b") in told)
    assert str(ignored) not in told
    watch.close()


def test_a_folder_that_is_gone_is_awaited(tmp_path: Path) -> None:
    told: set[str] = set()
    watch = Watch(told.update)
    path = tmp_path / "gone" / "deep" / "m"
    watch.cover([str(path)])
    path.parent.mkdir(parents=True)
    wait_until(lambda: str(tmp_path / "gone") in told)
    watch.cover([str(path)])
    path.touch()
    wait_until(lambda: str(path) in told)
    watch.close()


def test_steps_are_the_links_on_the_way(tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path))
    (root / "..one").mkdir()
    (root / "..one" / "m").touch()
    (root / "..data").symlink_to("..one")
    (root / "m").symlink_to("..data/m")
    assert steps_to(str(root / "m")) == [
        *(str(root / "m"), str(root / "m"), str(root / "..data" / "m")),
        *(str(root / "..data"), str(root / "..one" / "m")),
    ]
    (root / "loop").symlink_to("loop")
    assert str(root / "loop") in steps_to(str(root / "loop"))


@pytest.mark.parametrize("linked", ["file", "volume"])
def test_a_model_behind_links_is_reloaded(tmp_path: Path, linked: str) -> None:
    """The kubelet writes a new folder and renames a link to it over `..data`."""
    from sklearn.dummy import DummyRegressor
    from skops.io import dump

    source = tmp_path / "mounted" / "m.skops"
    source.parent.mkdir()

    def publish(number: float) -> None:
        folder = tmp_path / "mounted" / f"..{number}"
        folder.mkdir()
        model = DummyRegressor(strategy="constant", constant=number).fit([[0.0]], [0.0])
        dump(model, folder / "m.skops")
        link = source if linked == "file" else source.parent / "..data"
        beside = tmp_path / "mounted" / "..beside"
        beside.symlink_to(folder / "m.skops" if linked == "file" else folder.name)
        os.replace(beside, link)

    publish(1.0)
    if linked == "volume":
        source.symlink_to("..data/m.skops")
    registry = ModelRegistry.from_config(
        {"models": {"m": {"kind": "sklearn", "source": str(source)}}}
    )
    with registry:
        registry.load_all()
        registry.watch()
        for number in (2.0, 3.0):  # the second lies where nothing was watched at first
            publish(number)
            wait_until(lambda number=number: registry.predict("m", [[0.0]]).output == [number])  # type: ignore[misc]


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
        save(2.0)
        wait_until(lambda: registry.predict("m", [[0.0]]).output == [2.0])
        (tmp_path / "m.skops").write_bytes(b"half a file")
        wait_until(lambda: registry.models()["m"].last_error is not None)
        assert registry.predict("m", [[0.0]]).output == [2.0]
        wait_until(lambda: "the old version still serves" in caplog.text)
        save(3.0)
        wait_until(lambda: registry.predict("m", [[0.0]]).output == [3.0])
