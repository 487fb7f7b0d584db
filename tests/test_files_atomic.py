from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hotstart.files import write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(str(path), b"old")
    write_whole(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(str(path), b"old")

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["absent/file", "file/below", "folder"])
def test_an_error_names_the_file_that_the_caller_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)
    with pytest.raises(OSError, match=re.escape(f"'{path}'")):
        write_whole(path, b"content")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_writer_killed_while_it_replaces_leaves_one_of_the_two(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = (
        "import sys; from hotstart.files import write_whole\n"
        "while True:\n"
        "    for letter in b'ab': write_whole(sys.argv[1], bytes([letter]) * 1_000_000)"
    )
    for pause in (0.15, 0.2, 0.25, 0.3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.read_bytes() in {b"a" * 1_000_000, b"b" * 1_000_000}
