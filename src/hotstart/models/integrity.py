"""Whether files are still what their record says, cheaply at each load and fully on demand.

A load cannot afford to hash 90 MB (60 ms, half of the time to the first vector), so three
marks are looked at, each catching what the one before misses:
1. size: truncation, about 2 µs a file;
2. a CRC-32 over 32 pages spread over the file: zero-filled blocks after a lost write, 0.1 ms;
3. mtime: any write through the file system; where it differs the SHA-256 decides.
What remains, a change of a few bytes that keeps size and mtime, is found by `verify_file`.
"""

from __future__ import annotations

import os
import zlib

from hotstart.models.metadata import FileRecord

_PAGE = 4096
_SAMPLES = 32


def record_file(path: str) -> FileRecord:
    """Return the full record of the file at `path`."""
    status = os.stat(path)
    return FileRecord(status.st_size, sha256(path), status.st_mtime_ns, sample_crc32(path))


def quick_fault(path: str, record: FileRecord) -> str | None:
    """Return what is wrong with the file as far as marks 1 and 2 see, None for nothing."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return f"{os.path.basename(path)} is missing"
    if size != record.bytes:
        return f"{os.path.basename(path)} has {size} bytes, not {record.bytes}"
    if sample_crc32(path) != record.sample_crc32:
        return f"{os.path.basename(path)} has other content than recorded"
    return None


def verify_file(path: str, record: FileRecord) -> str | None:
    """Return what is wrong with the file after reading all of it, None for nothing."""
    fault = quick_fault(path, record)
    if fault is None and sha256(path) != record.sha256:
        return f"{os.path.basename(path)} does not have its recorded SHA-256"
    return fault


def is_touched(path: str, record: FileRecord) -> bool:
    """Whether the file was written to since it was recorded (mark 3)."""
    return os.stat(path).st_mtime_ns != record.mtime_ns


def sample_crc32(path: str) -> int:
    """Return the CRC-32 of 32 pages spread evenly over the file, first and last included."""
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
    import hashlib  # 2 ms that a load of an untouched artifact need not spend

    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
