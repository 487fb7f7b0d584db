"""`hotstart index`, `status` and `forget` as people type them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest

from hotstart.cli import main
from hotstart.config import Settings
from hotstart.files import exclusive
from hotstart.search.store import Store
from support.golden import FAMILIES
from support.programs import require_program

TINY = str(FAMILIES / "bert-mean-normalize" / "model")
Python = Callable[..., "CompletedProcess[str]"]


def test_progress_is_lines_where_there_is_no_terminal(tmp_path: Path, python: Python) -> None:
    for number in range(200):
        text = " ".join(f"word{number} of some length" for _ in range(60))
        (tmp_path / f"{number}.md").write_text(text)
    done = python("-m", "hotstart", "index", str(tmp_path))
    lines = [line for line in done.stderr.splitlines() if line.startswith("Vectors: ")]
    steps = [int(line.split()[1]) for line in lines]
    assert steps == sorted(set(steps))
    assert len(lines) >= 1
    quiet = python("-m", "hotstart", "index", "-q", "--model", TINY, str(tmp_path))
    assert quiet.stderr == ""


def test_ctrl_c_says_that_the_work_is_kept(tmp_path: Path) -> None:
    for number in range(400):
        text = " ".join(f"word{number} of some length" for _ in range(60))
        (tmp_path / f"{number}.md").write_text(text)
    command = [sys.executable, "-m", "hotstart", "index", str(tmp_path)]
    with subprocess.Popen(command, stderr=PIPE, stdout=PIPE, text=True) as indexing:
        assert indexing.stderr is not None
        while not indexing.stderr.readline().startswith("Vectors: "):
            pass
        indexing.send_signal(signal.SIGINT)
        out, err = indexing.communicate(timeout=60)
    assert (indexing.returncode, out) == (130, "")
    assert err.endswith("What is indexed is kept. Run the same command to go on.\n")
    assert Store(str(tmp_path / ".hotstart" / "index.db"))._database.number(
        "SELECT count(*) FROM vectors"
    )


def test_an_index_without_a_model_says_what_is_there(
    folder: Path, fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(folder), "-m", "nobody/nothing"]) == 1
    shown = capsys.readouterr()
    assert "no vectors were computed" in shown.out
    assert "hotstart models pull nobody/nothing" in shown.err
    assert main(["search", "eviction", "--path", str(folder), "-m", "nobody/nothing"]) == 0
    assert "mode lexical" in capsys.readouterr().out


def test_an_index_names_what_it_skips(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "uv.lock").write_text("x")
    command = ["index", str(folder), "--lexical"]
    assert main(command) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "skipped: 1 binary, 1 hidden, 1 lock file (--verbose names them)"
    assert main([*command, "--verbose", "--exclude", "*.py", "--include", "*.lock"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("1 added, 0 changed, 2 removed, 0 unchanged: 1 chunk,")
    assert main([*command, "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "skipped  lock file            uv.lock" in lines
    assert main([*command, "--exclude", "["]) == 2
    assert "--exclude must be a glob as in .gitignore, got '['." in capsys.readouterr().err


def test_the_last_line_says_how_much_no_vector_covers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", str(folder)])
    assert "in no vector" not in capsys.readouterr().out
    (folder / "long.txt").write_text("x y z , . " * 120)
    main(["index", str(folder)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("57.5% of the tokens are in no vector")


def test_a_second_index_touches_only_what_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", str(folder)])
    (folder / "app.py").write_text("def unload_model(name):\n    return name\n")
    capsys.readouterr()
    assert main(["index", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "0 added, 1 changed, 0 removed, 1 unchanged" in out
    assert " 1 embedded" in out


def test_the_bar_is_drawn_on_a_terminal_only(folder: Path, tmp_path: Path) -> None:
    """A real terminal of util-linux's `script`; where it is absent the bar cannot be looked at."""
    require_program("script", package="bsdutils")
    command = f"{sys.executable} -m hotstart index {folder}"
    done = subprocess.run(
        ["script", "-qec", command, str(tmp_path / "typescript")],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TERM": "xterm"},
    )
    assert "Vectors" in done.stdout
    assert "━" in done.stdout
    quiet = subprocess.run(command.split(), capture_output=True, text=True, timeout=120)
    assert "━" not in quiet.stdout + quiet.stderr


def test_status_tells_what_is_indexed_and_what_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["status"]) == 1
    assert "Run: hotstart index" in capsys.readouterr().err
    main(["index", "-q"])
    capsys.readouterr()
    assert main(["status", "docs"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (lines["folder"], lines["files"], lines["chunks"]) == (".", "2", "2")
    assert (lines["vectors"], lines["state"]) == ("2 of all-MiniLM-L6-v2", "up to date")
    (folder / "app.py").write_text("def other():\n    pass\n")
    (folder / "docs" / "guide.md").unlink()
    (folder / "one.md").write_text("one\n")
    (folder / "two.md").write_text("two\n")
    (folder / "new.bin").write_bytes(b"\0\1")  # no update would index it
    assert main(["status"]) == 0
    assert "state    stale: 2 added, 1 changed, 1 removed since\n" in capsys.readouterr().out
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["pending"] == {"added": 2, "changed": 1, "removed": 1}
    assert (status["folders"], status["vectors"][0]["vectors"]) == ([str(folder)], 2)


def test_forget_removes_a_file_a_folder_and_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    assert main(["forget"]) == 2
    assert main(["forget", "nothing.md"]) == 2
    assert "PATH must be an indexed file or folder" in capsys.readouterr().err
    (folder / "app.py").unlink()
    assert main(["forget", "app.py"]) == 0
    assert capsys.readouterr().out == "1 file forgotten.\n"
    assert main(["forget", "docs"]) == 0
    assert capsys.readouterr().out.startswith("1 file forgotten.\nThe next hotstart index adds")
    assert Store(str(folder / ".hotstart" / "index.db")).documents() == {}
    monkeypatch.chdir(folder / "docs")
    assert main(["forget", "--all"]) == 0
    assert sorted(os.listdir(folder)) == [".gitignore", "blob.bin", "docs", "ignored.txt"]


def test_forget_of_a_store_leaves_the_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = folder.parent / "store"
    main(["index", "--lexical", "-q", str(folder), "--store", str(store)])
    assert main(["forget", str(folder / "app.py"), "--store", str(store)]) == 0
    assert main(["status", "--store", str(store)]) == 0
    assert "state    stale: 1 added since" in capsys.readouterr().out
    assert main(["forget", "--all", "--store", str(store)]) == 0
    assert (store.exists(), (folder / "app.py").exists()) == (False, True)


class Watching:
    """`hotstart index --watch` in a process of its own, and the lines that it prints."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "hotstart", "index", "--lexical", "--watch", "-q"]
        self._process = subprocess.Popen(
            [*command, str(folder), *options], stdout=PIPE, stderr=PIPE, text=True
        )

    def line(self) -> str:
        """Wait for the next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self, number: int) -> tuple[int, str, str]:
        """Send the signal `number`; return the status, and what else was printed."""
        self._process.send_signal(number)
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err


@pytest.fixture
def watched(folder: Path) -> Iterator[Watching]:
    """A watch of `folder` that has begun."""
    watching = Watching(folder)
    assert watching.line().startswith("2 added")
    assert watching.line().startswith("skipped")
    assert watching.line().startswith("watching")
    yield watching
    watching._process.kill()
    watching._process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_updates_at_each_change_and_ends_cleanly(
    folder: Path, watched: Watching, number: int
) -> None:
    (folder / "new").mkdir()
    (folder / "new" / "a.md").write_text("a quokka\n")
    began = time.monotonic()
    assert " 1 added, 0 changed, 0 removed, 2 unchanged" in watched.line()
    assert time.monotonic() - began < 10  # about a third of a second on an idle machine
    (folder / "new" / "a.md").write_text("a wombat\n")
    assert " 0 added, 1 changed, 0 removed, 2 unchanged" in watched.line()
    shutil.rmtree(folder / "new")
    assert " 0 added, 0 changed, 1 removed, 2 unchanged" in watched.line()
    assert watched.end(number) == (0, "", "")


def test_a_watch_survives_that_its_folder_goes(folder: Path, watched: Watching) -> None:
    os.rename(folder, folder.parent / "elsewhere")
    assert f"{folder} is gone; waiting for it" in watched.line()
    folder.mkdir()
    (folder / "a.md").write_text("a quokka\n")
    assert " 1 added" in watched.line()
    assert watched.end(signal.SIGINT) == (0, "", "")


def test_a_watch_waits_while_another_process_writes(folder: Path, watched: Watching) -> None:
    with exclusive(str(folder / ".hotstart" / "lock")):
        (folder / "a.md").write_text("a quokka\n")
        time.sleep(0.5)  # longer than changes are gathered
    assert " 1 added" in watched.line()
