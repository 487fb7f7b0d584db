from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hotstart.integrity import (
    fault_of,
    folder_faults,
    is_touched,
    quick_fault,
    record_file,
    record_folder,
    remove_damaged,
    verify_file,
)

SIZE = 1 << 20  # bytes, of which 32 pages are sampled


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(SIZE))
    return path


def flip(path: Path, position: int) -> None:
    """Change one byte and keep the time, as damage of a disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_has_no_fault_after_its_record(file: Path) -> None:
    record = record_file(str(file))
    assert quick_fault(str(file), record) is None
    assert verify_file(str(file), record) is None
    assert not is_touched(str(file), record)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda file: file.unlink(), "weights is missing"),
        (lambda file: os.truncate(file, 5), f"weights must have {SIZE} bytes, has 5"),
        (lambda file: flip(file, 0), "the content of weights differs from the record"),
        (lambda file: flip(file, SIZE - 1), "the content of weights differs from the record"),
    ],
)
def test_a_quick_check_finds_size_and_samples(
    file: Path, change: Callable[[Path], None], fault: str
) -> None:
    record = record_file(str(file))
    change(file)
    assert quick_fault(str(file), record) == fault
    assert verify_file(str(file), record) == fault


def test_damage_between_the_samples_is_found_by_reading_the_whole_file(file: Path) -> None:
    record = record_file(str(file))
    flip(file, 10_000)
    assert quick_fault(str(file), record) is None
    assert fault_of(str(file), record) is None  # its time is the recorded one
    assert verify_file(str(file), record) == "the SHA-256 of weights differs from the record"
    os.utime(file, ns=(1, 1))
    assert fault_of(str(file), record) == "the SHA-256 of weights differs from the record"


def test_an_equal_file_of_another_time_has_no_fault(file: Path) -> None:
    record = record_file(str(file))
    os.utime(file, ns=(1, 1))
    assert is_touched(str(file), record)
    assert fault_of(str(file), record) is None


def test_files_without_a_record_or_with_a_fault_are_removed(tmp_path: Path) -> None:
    for name in ("good", "damaged"):
        (tmp_path / name).write_bytes(name.encode())
    record_folder(str(tmp_path))
    (tmp_path / "unrecorded").touch()
    (tmp_path / "lock").touch()
    (tmp_path / "folder").mkdir()
    flip(tmp_path / "damaged", 0)
    remove_damaged(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["files.json", "folder", "good", "lock"]


def test_a_record_that_holds_is_kept(tmp_path: Path) -> None:
    """A file between record and check must not get its damage recorded."""
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(SIZE))
    record_folder(str(tmp_path))
    flip(file, 10_000)
    (tmp_path / "new").touch()
    record_folder(str(tmp_path))
    assert folder_faults(str(tmp_path)) == ["the SHA-256 of weights differs from the record"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"good": 1}', '{"good": {"bytes": 1}}', "\xff"]
)
def test_unreadable_records_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "good").touch()
    (tmp_path / "files.json").write_text(content, encoding="latin-1")
    assert folder_faults(str(tmp_path)) == []
    remove_damaged(str(tmp_path))
    assert os.listdir(tmp_path) == ["files.json"]


def test_the_record_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    record_folder(str(tmp_path))
    records = json.loads((tmp_path / "files.json").read_text())
    assert records["good"].keys() == {"bytes", "sha256", "mtime_ns", "sample_crc32"}
