"""The adapters can be copied and pickled, as process pools and pipelines do."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from haystack import Document

from hotstart.integrations.chroma import HotstartEmbeddingFunction
from hotstart.integrations.haystack import HotstartDocumentEmbedder, HotstartTextEmbedder
from hotstart.integrations.langchain import HotstartEmbeddings
from hotstart.integrations.llama_index import HotstartEmbedding
from integrations.asking import FAKE

pytestmark = pytest.mark.integrations

ADAPTERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "langchain": (
        lambda: HotstartEmbeddings(model=FAKE),
        lambda adapter: adapter.embed_query("a"),
    ),
    "llama_index": (
        lambda: HotstartEmbedding(model_name=FAKE),
        lambda adapter: adapter.get_query_embedding("a"),
    ),
    "haystack text": (
        lambda: HotstartTextEmbedder(FAKE),
        lambda adapter: adapter.run("a")["embedding"],
    ),
    "haystack documents": (
        lambda: HotstartDocumentEmbedder(FAKE),
        lambda adapter: adapter.run([Document(content="a")])["documents"][0].embedding,
    ),
    "chroma": (
        lambda: HotstartEmbeddingFunction(FAKE),
        lambda adapter: adapter(["a"])[0].tolist(),
    ),
}


def pickled(adapter: Any) -> Any:
    return pickle.loads(pickle.dumps(adapter))  # noqa: S301 - our own


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_duplicate_gives_the_vectors_of_its_original(name: str, duplicate: Any) -> None:
    make, ask = ADAPTERS[name]
    original = make()
    before = duplicate(original)  # of a model that is not loaded
    expected = ask(original)
    assert ask(before) == pytest.approx(expected)
    assert ask(duplicate(original)) == pytest.approx(expected)
