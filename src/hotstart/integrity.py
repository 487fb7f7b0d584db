"""Records of files, and their check: damage is found before a file is used."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hotstart.files import remove_file, write_whole

_RECORDS = "files.json"
_UNRECORDED = {_RECORDS, "lock"}


class FileRecord(NamedTuple):
    """Size, time and checksums of a file."""

    bytes: int
    sha256: str
    mtime_ns: int
    sample_crc32: int


_PAGE = 4096
_SAMPLES = 32


def record_file(path: str) -> FileRecord:
    """Return the full record of the file at `path`."""
    status = os.stat(path)
    return FileRecord(status.st_size, sha256(path), status.st_mtime_ns, sample_crc32(path))


def quick_fault(path: str, record: FileRecord) -> str | None:
    """Return a fault of the file's size or sampled checksum, or None."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return f"{os.path.basename(path)} is missing"
    if size != record.bytes:
        return f"{os.path.basename(path)} must have {record.bytes} bytes, has {size}"
    if sample_crc32(path) != record.sample_crc32:
        return f"the content of {os.path.basename(path)} differs from the record"
    return None


def verify_file(path: str, record: FileRecord) -> str | None:
    """Return a fault found by reading the whole file, or None."""
    fault = quick_fault(path, record)
    if fault is None and sha256(path) != record.sha256:
        return f"the SHA-256 of {os.path.basename(path)} differs from the record"
    return fault


def is_touched(path: str, record: FileRecord) -> bool:
    """Return whether the file's mtime differs from the record."""
    return os.stat(path).st_mtime_ns != record.mtime_ns


def sample_crc32(path: str) -> int:
    """Return the CRC-32 of 32 pages spread evenly over the file, including first and last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        last = max(0, os.fstat(descriptor).st_size - _PAGE)
        checksum = 0
        for number in range(_SAMPLES):
            page = os.pread(descriptor, _PAGE, last * number // (_SAMPLES - 1))
            checksum = zlib.crc32(page, checksum)
        return checksum
    finally:
        os.close(descriptor)


def sha256(path: str) -> str:
    """Return the SHA-256 of the file in hexadecimal."""
    import hashlib  # deferred: takes 2 ms, and an untouched artifact does not need it

    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def record_folder(folder: str) -> None:
    """Write files.json with the record of each file in `folder`, keeping records that hold."""
    old = _records(folder)
    new = {}
    for name in _names(folder):
        path = os.path.join(folder, name)
        known = old.get(name)
        new[name] = record_file(path) if known is None or is_touched(path, known) else known
    content = {name: record._asdict() for name, record in new.items()}
    write_whole(os.path.join(folder, _RECORDS), json.dumps(content, indent=1).encode())


def remove_damaged(folder: str) -> None:
    """Remove the files in `folder` that have no record in files.json, or differ from it."""
    records = _records(folder)
    for name in _names(folder):
        path = os.path.join(folder, name)
        record = records.get(name)
        if record is None or fault_of(path, record):
            remove_file(path)


def folder_faults(folder: str) -> list[str]:
    """Return the faults found by reading each recorded file in `folder` completely."""
    faults = (
        verify_file(os.path.join(folder, name), record) for name, record in _records(folder).items()
    )
    return [fault for fault in faults if fault is not None]


def fault_of(path: str, record: FileRecord) -> str | None:
    """Return a fault, or None. Only a file whose time differs is read completely."""
    fault = quick_fault(path, record)
    if fault is None and is_touched(path, record):
        return verify_file(path, record)
    return fault


def _names(folder: str) -> Iterator[str]:
    """Yield the names of the files in `folder` that have a record."""
    for entry in os.scandir(folder):
        if entry.is_file() and entry.name not in _UNRECORDED:
            yield entry.name


def _records(folder: str) -> dict[str, FileRecord]:
    """Return the records in files.json by name; none if it is missing or unreadable."""
    try:
        with open(os.path.join(folder, _RECORDS), encoding="utf-8") as file:
            return {name: FileRecord(**entry) for name, entry in json.load(file).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
