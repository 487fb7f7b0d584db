"""The adapter in Chroma: collections that find, and are opened again with the same model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.integrations.chroma import HotstartEmbeddingFunction
from integrations.asking import FAKE, NEAR, REMOTE, Fake

pytestmark = pytest.mark.integrations

TEXTS = ["Models are unloaded when idle.", "Bread needs yeast."]


@pytest.fixture
def client() -> Iterator[ClientAPI]:
    client = chromadb.EphemeralClient()
    yield client
    for collection in client.list_collections():
        client.delete_collection(collection.name)


def test_questions_and_documents_have_their_roles(prompted: str) -> None:
    function, embedder = HotstartEmbeddingFunction(prompted), Embedder(prompted)
    asked = embedder.encode_query(["eviction"])
    kept = embedder.encode_document(["eviction"])
    assert not np.allclose(asked, kept, atol=0.01)
    np.testing.assert_allclose(function.embed_query(["eviction"]), asked, atol=NEAR)
    np.testing.assert_allclose(function(["eviction"]), kept, atol=NEAR)


def test_a_collection_finds_what_is_meant(client: ClientAPI) -> None:
    collection = client.create_collection("notes", embedding_function=HotstartEmbeddingFunction())
    collection.add(ids=["model", "bread"], documents=TEXTS)
    found = collection.query(query_texts=["What do I need for baking?"], n_results=1)
    assert found["ids"] == [["bread"]]
    assert collection.configuration["hnsw"]["space"] == "cosine"


def test_neither_making_it_nor_a_collection_loads_the_model(client: ClientAPI, fake: Fake) -> None:
    function = HotstartEmbeddingFunction(fake.source)
    collection = client.create_collection("notes", embedding_function=function)
    assert (fake.did.loads, function.embedder.state) == (0, "unloaded")
    collection.add(ids=["a"], documents=["a"])
    assert fake.did.embedded == {"a": 1}


def test_a_kept_collection_is_opened_again_with_its_model(tmp_path: Path) -> None:
    function = HotstartEmbeddingFunction(FAKE, truncate_dim=4, cache="memory:1MB")
    name = f"notes-{uuid4()}"
    kept = chromadb.PersistentClient(tmp_path).create_collection(name, embedding_function=function)
    kept.add(ids=["a"], documents=["a"])

    again = chromadb.PersistentClient(tmp_path).get_collection(name)

    found = again.query(query_texts=["a"], n_results=1, include=["embeddings", "distances"])
    assert found["distances"] == [[pytest.approx(0, abs=NEAR)]]
    assert np.shape(found["embeddings"]) == (1, 1, 4)


def test_what_is_written_down_makes_the_same_and_holds_no_secret() -> None:
    function = HotstartEmbeddingFunction(FAKE, truncate_dim=4, cache="redis://user:secret@host/0")
    assert function.get_config() == {"model": FAKE, "truncate_dim": 4}
    assert "secret" not in json.dumps(function.get_config())
    again = HotstartEmbeddingFunction.build_from_config(function.get_config())
    assert again.get_config() == function.get_config()
    assert not function.is_legacy()
    remote = HotstartEmbeddingFunction(REMOTE)
    assert remote.get_config() == {"model": "tei:http://host"}


def test_the_permission_to_run_code_does_not_come_from_a_collection() -> None:
    config = {"model": FAKE, "trust_remote_code": True}
    with pytest.raises(InvalidInput, match="trust_remote_code"):
        HotstartEmbeddingFunction.build_from_config(config)
    with pytest.raises(InvalidInput, match="trust_remote_code"):
        HotstartEmbeddingFunction.validate_config(config)


@pytest.mark.parametrize("change", [{"model": "fake:name=other"}, {"truncate_dim": 2}])
def test_a_collection_keeps_to_its_vector_space(change: dict[str, object]) -> None:
    function = HotstartEmbeddingFunction(FAKE, strategy="background")
    old = function.get_config()
    function.validate_config_update(old, old | {"strategy": "lazy"})
    with pytest.raises(InvalidInput, match=next(iter(change))):
        function.validate_config_update(old, old | change)
