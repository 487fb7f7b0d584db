from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hotstart import Embedder, LoadingStrategy
from hotstart.errors import InvalidInput
from hotstart.integrations import WRITTEN, check_written, public_name, written

ADAPTERS = {
    "langchain": "langchain_core",
    "llama_index": "llama_index",
    "chroma": "chromadb",
    "haystack": "haystack",
}


@pytest.mark.parametrize(("adapter", "library"), ADAPTERS.items())
def test_an_adapter_without_its_framework_names_the_extra(
    python: Callable[..., CompletedProcess[str]], adapter: str, library: str
) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import hotstart.integrations.{adapter}"
    done = python("-c", code)
    assert f"MissingExtra: {library} is not installed" in done.stderr
    assert f"pip install 'hotstart[{adapter.replace('_', '')}]'" in done.stderr


def test_secrets_permissions_and_objects_are_not_written_down() -> None:
    given = {
        "cache": "redis://user:secret@host/0",
        "trust_remote_code": True,
        "pool": object(),
        "on_progress": print,
        "truncate_dim": 64,
        "revision": None,
    }
    assert written(given) == {"truncate_dim": 64}


def test_the_address_of_a_model_is_written_down_without_user_and_password() -> None:
    assert public_name("openai:small@https://user:secret@host/v1") == "openai:small@https://host/v1"
    assert public_name("tei:http://secret@host:80") == "tei:http://host:80"
    for name in ("all-MiniLM-L6-v2", "owner/name", "openai:small@http://host/v1", "folder/a@b"):
        assert public_name(name) == name


def test_a_strategy_is_written_down_by_its_name() -> None:
    text = json.dumps(written({"strategy": LoadingStrategy.QUANTIZED}))
    assert type(written({"strategy": LoadingStrategy.QUANTIZED})["strategy"]) is str
    assert text == '{"strategy": "quantized"}'


def test_what_is_written_down_are_options_of_an_embedder() -> None:
    assert set(WRITTEN) < set(inspect.signature(Embedder).parameters)


def test_the_permission_to_run_code_does_not_come_from_a_file() -> None:
    check_written({"truncate_dim": 64, "cache": "memory:1MB"})
    for granted in (True, False):
        with pytest.raises(InvalidInput, match="trust_remote_code"):
            check_written({"trust_remote_code": granted})
