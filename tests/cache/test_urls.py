"""Addresses of caches: every option read, everything else refused with what is allowed."""

from __future__ import annotations

import pytest

from hotstart.cache import CacheAddress, open_cache
from hotstart.errors import InvalidInput


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory:", CacheAddress("memory", "memory:")),
        ("memory:2GB", CacheAddress("memory", "memory:2GB", near=2_000_000_000)),
        (
            "sqlite:/tmp/a b.db?max_bytes=5mb&near=10KB&precision=float16",
            CacheAddress("sqlite", "sqlite:/tmp/a b.db", 10_000, "float16", 5_000_000),
        ),
        (
            "redis://h:1/2?ttl=1.5&namespace=kb",
            CacheAddress("redis", "redis://h:1/2", ttl=1.5, namespace="kb"),
        ),
        ("unix:///run/redis.sock", CacheAddress("unix", "unix:///run/redis.sock")),
    ],
)
def test_what_is_written_is_read(url: str, expected: CacheAddress) -> None:
    assert CacheAddress.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://h", "memory:..., sqlite:..., redis:..., rediss:..., unix:..."),
        ("64MB", "memory:..."),
        ("memory:lots", "a size, as 64MB"),
        ("memory:-1MB", "a size"),
        ("sqlite:", "sqlite:FILE"),
        ("sqlite:a.db?ttl=5", "one of near, precision, max_bytes"),
        ("redis://h:port/0", "redis://HOST:PORT/0"),
        ("redis://h?ttl=0", "seconds, more than 0"),
        ("redis://h?ttl=nan", "seconds, more than 0"),
        ("redis://h?precision=int8", "float32 or float16"),
        ("redis://h?max_bytes=5", "one of near, precision, ttl, namespace"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(url: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_cache(url)
    assert said in str(refused.value)


@pytest.mark.parametrize("password", ["hunter2", "hunter2/@x", "@hunter2"])
def test_a_password_is_in_no_representation(password: str) -> None:
    address = CacheAddress.parse(f"redis://user:{password}@host:1/0?ttl=5")
    assert "hunter2" not in repr(address)
    assert "redis://host:1/0" in repr(address)


def test_a_password_is_in_no_error() -> None:
    for wrong in ("redis://:hunter2@h:port/0", "redis://:hunter2@h/0?near=x", "redis:hunter2?a=b"):
        with pytest.raises(InvalidInput) as refused:
            open_cache(wrong)
        assert "hunter2" not in str(refused.value)
