"""The adapter in LlamaIndex: its roles, what is written of it, and an index that finds."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.integrations.llama_index import HotstartEmbedding
from integrations.asking import FAKE, NEAR, REMOTE, Fake

pytestmark = pytest.mark.integrations


def test_questions_and_texts_have_their_roles(prompted: str) -> None:
    embedding, embedder = HotstartEmbedding(model_name=prompted), Embedder(prompted)
    asked = embedder.encode_query("eviction").tolist()
    kept = embedder.encode_document("eviction").tolist()
    assert asked != pytest.approx(kept, abs=0.01)
    for vector in (
        embedding.get_query_embedding("eviction"),
        asyncio.run(embedding.aget_query_embedding("eviction")),
    ):
        assert vector == pytest.approx(asked, abs=NEAR)
    for vector in (
        embedding.get_text_embedding("eviction"),
        embedding.get_text_embedding_batch(["eviction"])[0],
        asyncio.run(embedding.aget_text_embedding("eviction")),
        asyncio.run(embedding.aget_text_embedding_batch(["eviction"]))[0],
    ):
        assert vector == pytest.approx(kept, abs=NEAR)


@pytest.mark.parametrize(
    ("what", "given"),
    [("query_embedding", "a"), ("text_embedding", "a"), ("text_embedding_batch", ["a", "b"])],
)
def test_making_one_loads_nothing_and_a_running_loop_is_not_held_up(
    fake: Fake, what: str, given: Any
) -> None:
    embedding = HotstartEmbedding(model_name=fake.hanging, options={"truncate_dim": 4})
    assert (fake.did.loads, embedding.embedder.state) == (0, "unloaded")
    ask = getattr(embedding, f"aget_{what}")
    answer = fake.answer_of_a_running_loop(lambda: ask(given))
    assert answer == getattr(embedding, f"get_{what}")(given)
    assert fake.did.loads == 1


def test_what_is_written_down_makes_the_same_and_holds_no_secret() -> None:
    options = {"truncate_dim": 4, "cache": "redis://user:secret@host/0"}
    embedding = HotstartEmbedding(model_name=FAKE, options=options, embed_batch_size=3)
    text = embedding.to_json()
    assert "secret" not in text
    assert "secret" not in json.dumps(embedding.to_payload())
    remote = HotstartEmbedding(model_name=REMOTE)
    assert remote.to_dict()["model_name"] == remote.to_payload()["model_name"] == "tei:http://host"
    again = HotstartEmbedding.from_json(text)
    assert again.to_json() == text
    assert len(again.get_text_embedding("a")) == 4
    permitted = embedding.to_dict() | {"options": {"trust_remote_code": True}}
    with pytest.raises(InvalidInput, match="trust_remote_code"):
        HotstartEmbedding.from_dict(permitted)


def test_another_process_makes_its_own() -> None:
    embedding = HotstartEmbedding(model_name=FAKE, options={"truncate_dim": 4})
    copy = pickle.loads(pickle.dumps(embedding))  # noqa: S301
    assert copy.get_query_embedding("a") == embedding.get_query_embedding("a")


def test_an_option_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="truncate"):
        HotstartEmbedding(options={"truncate": 4})


@pytest.fixture(scope="module")
def embedding() -> BaseEmbedding:
    return HotstartEmbedding()


def test_an_index_finds_what_is_meant(embedding: BaseEmbedding) -> None:
    texts = ["Models are unloaded when idle.", "Bread needs yeast."]
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in texts], embed_model=embedding
    )
    retriever = index.as_retriever(similarity_top_k=1)
    (found,) = retriever.retrieve("What do I need for baking?")
    assert found.get_content() == "Bread needs yeast."
    (found,) = asyncio.run(retriever.aretrieve("Which model leaves memory?"))
    assert found.get_content() == "Models are unloaded when idle."


def test_it_is_a_step_of_ingestion(fake: Fake) -> None:
    nodes = IngestionPipeline(transformations=[HotstartEmbedding(model_name=fake.source)]).run(
        documents=[Document(text="a"), Document(text="b")]
    )
    assert [len(node.embedding or []) for node in nodes] == [8, 8]
    assert fake.did.embedded == {"a": 1, "b": 1}
