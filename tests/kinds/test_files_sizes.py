from __future__ import annotations

import os
from pathlib import Path

from hotstart.kinds.files import bytes_on_disk


def test_bytes_on_disk_counts_every_file_once(tmp_path: Path) -> None:
    assert bytes_on_disk(str(tmp_path / "none")) == bytes_on_disk(str(tmp_path)) == 0
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b").write_bytes(b"123")
    assert bytes_on_disk(str(tmp_path / "a")) == 4
    assert bytes_on_disk(str(tmp_path)) == 7
    os.link(tmp_path / "a", tmp_path / "again")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to(tmp_path / "none")
    (tmp_path / "deep" / "circle").symlink_to(tmp_path)
    assert bytes_on_disk(str(tmp_path)) == 7


def test_a_symbolic_link_counts_as_its_target(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_bytes(b"1234")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model").symlink_to(tmp_path / "blobs" / "a")
    assert bytes_on_disk(str(tmp_path / "snapshot")) == 4
