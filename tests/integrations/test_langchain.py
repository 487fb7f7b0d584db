"""LangChain's own standard tests, and the adapters in what they are for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.documents import Document
from langchain_core.stores import BaseStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import (
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    EmbeddingsIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from hotstart import Embedder
from hotstart.cache import open_store
from hotstart.errors import InvalidInput
from hotstart.integrations.langchain import HotstartByteStore, HotstartEmbeddings
from integrations.asking import FAKE, NEAR, Fake
from support.redis_server import RedisServer

pytestmark = pytest.mark.integrations


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'kept.db'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    with server.client() as client:
        client.flushall()
    return server.url


@pytest.fixture
def store(url: str) -> Iterator[HotstartByteStore]:
    store = HotstartByteStore(url)
    yield store
    store.close()


class _Embeddings:
    @property
    def embeddings_class(self) -> type[HotstartEmbeddings]:
        return HotstartEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "all-MiniLM-L6-v2"}


class TestEmbeddingsUnit(_Embeddings, EmbeddingsUnitTests):
    pass


class TestEmbeddings(_Embeddings, EmbeddingsIntegrationTests):
    pass


class _Stores:
    @pytest.fixture
    def kv_store(self, store: HotstartByteStore) -> BaseStore[str, bytes]:
        return store

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"", b"\x00\xff", b"three"


class TestByteStore(_Stores, BaseStoreSyncTests[bytes]):
    pass


class TestByteStoreAsync(_Stores, BaseStoreAsyncTests[bytes]):
    pass


def test_questions_and_documents_have_their_roles(prompted: str) -> None:
    embeddings, embedder = HotstartEmbeddings(prompted), Embedder(prompted)
    asked = embedder.encode_query("eviction").tolist()
    kept = embedder.encode_document(["eviction"]).tolist()
    assert asked != pytest.approx(kept[0], abs=0.01)
    assert embeddings.embed_query("eviction") == pytest.approx(asked, abs=NEAR)
    assert embeddings.embed_documents(["eviction"])[0] == pytest.approx(kept[0], abs=NEAR)
    aqueried = asyncio.run(embeddings.aembed_query("eviction"))
    adocumented = asyncio.run(embeddings.aembed_documents(["eviction"]))
    assert aqueried == pytest.approx(asked, abs=NEAR)
    assert adocumented[0] == pytest.approx(kept[0], abs=NEAR)


@pytest.mark.parametrize(("role", "given"), [("query", "a"), ("documents", ["a", "b"])])
def test_making_one_loads_nothing_and_a_running_loop_is_not_held_up(
    fake: Fake, role: str, given: Any
) -> None:
    embeddings = HotstartEmbeddings(fake.hanging, truncate_dim=4)
    assert (fake.did.loads, embeddings.embedder.state) == (0, "unloaded")
    ask = getattr(embeddings, f"aembed_{role}")
    answer = fake.answer_of_a_running_loop(lambda: ask(given))
    assert answer == getattr(embeddings, f"embed_{role}")(given)
    assert fake.did.loads == 1


def test_no_text_gives_no_vector() -> None:
    assert HotstartEmbeddings(FAKE).embed_documents([]) == []


def test_a_vector_store_finds_what_is_meant() -> None:
    kept = InMemoryVectorStore(HotstartEmbeddings())
    kept.add_documents([Document("Models are unloaded when idle."), Document("Bread needs yeast.")])
    (found,) = kept.similarity_search("What do I need for baking?", k=1)
    assert found.page_content == "Bread needs yeast."
    (found,) = asyncio.run(kept.asimilarity_search("Which model leaves memory?", k=1))
    assert found.page_content == "Models are unloaded when idle."


def test_each_text_is_computed_once_over_the_byte_store(fake: Fake, url: str) -> None:
    def cached(store: HotstartByteStore) -> CacheBackedEmbeddings:
        return CacheBackedEmbeddings.from_bytes_store(
            (underlying := HotstartEmbeddings(fake.source)),
            store,
            namespace=underlying.embedder.fingerprint,
            key_encoder="blake2b",
            query_embedding_cache=HotstartByteStore(url),
        )

    first, second = HotstartByteStore(url), HotstartByteStore(url)
    vectors = cached(first).embed_documents(["a", "b"])
    first.close()
    assert asyncio.run(cached(second).aembed_documents(["b", "c", "a"]))[::2] == vectors[::-1]
    second.close()
    assert fake.did.embedded == {"a": 1, "b": 1, "c": 1}


def test_vectors_of_an_embedder_may_lie_in_the_same_place(
    store: HotstartByteStore, url: str
) -> None:
    HotstartEmbeddings(FAKE, cache=url).embed_query("a")
    bare = open_store(url)
    assert len(list(bare.keys())) == 1
    store.mset([("key", b"value")])
    assert list(store.yield_keys()) == ["key"]
    assert len(list(bare.keys())) == 2
    bare.close()


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(pairs=st.lists(st.tuples(keys, st.binary(max_size=50))), prefix=st.text("a*[é", max_size=2))
def test_whatever_the_keys_the_last_value_is_kept(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, bytes]], prefix: str
) -> None:
    store = HotstartByteStore(f"sqlite:{tmp_path_factory.mktemp('kept') / 'kept.db'}")
    store.mset(pairs)
    expected = dict(pairs)
    assert store.mget([key for key, _ in pairs]) == [expected[key] for key, _ in pairs]
    assert sorted(store.yield_keys(prefix=prefix)) == sorted(
        key for key in expected if key.startswith(prefix)
    )
    store.mdelete(list(expected))
    assert list(store.yield_keys()) == []
    store.close()


def test_an_address_that_keeps_nothing_for_others_is_refused() -> None:
    with pytest.raises(InvalidInput):
        HotstartByteStore("memory:64MB")
