"""Parsing of remote addresses."""

from __future__ import annotations

import pytest

from hotstart import Embedder
from hotstart.engines.remote.address import RemoteAddress
from hotstart.errors import InvalidInput


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("openai:text-embedding-3-small", ("openai", "text-embedding-3-small", None)),
        ("openai:m@http://h:8000/v1/", ("openai", "m", "http://h:8000/v1")),
        ("openai:org/m@https://u:p@h/v1", ("openai", "org/m", "https://u:p@h/v1")),
        ("tei:http://u:p@h:8080", ("tei", "", "http://u:p@h:8080")),
        ("hotstart:https://h", ("hotstart", "", "https://h")),
        ("hotstart:m@unix:/run/h.sock", ("hotstart", "m", "unix:/run/h.sock")),
    ],
)
def test_parse_reads_protocol_model_and_url(source: str, expected: tuple[str, ...]) -> None:
    assert RemoteAddress.parse(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "openai:",
        "openai:@http://h",
        "openai:m@ftp://h",
        "openai:m@http://",
        "openai:http://h/v1",
        "tei:",
        "tei:model",
        "hotstart:m",
        "hotstart:m@unix:",
    ],
)
def test_what_is_no_address_is_refused_with_the_form(source: str) -> None:
    with pytest.raises(InvalidInput, match=f"must be {source.partition(':')[0]}:"):
        RemoteAddress.parse(source)
    with pytest.raises(InvalidInput):
        Embedder(source)


def test_repr_and_errors_contain_no_password() -> None:
    address = RemoteAddress.parse("openai:m@http://user:hunter2@h/v1")
    assert "hunter2" not in repr(address) + address.identity
    with pytest.raises(InvalidInput) as refused:
        RemoteAddress.parse("tei:m@ftp://user:hunter2@h")
    assert "hunter2" not in str(refused.value)


def test_at_prefers_the_own_url_then_the_configured_then_the_public() -> None:
    assert RemoteAddress.parse("openai:m@http://own").at("http://other").url == "http://own"
    assert RemoteAddress.parse("openai:m").at("http://other/v1/").url == "http://other/v1"
    assert RemoteAddress.parse("openai:m").at(None).url == "https://api.openai.com/v1"
