"""The components in Haystack: in pipelines, written down, and beside Haystack's own embedders."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from hotstart import Embedder, LoadingStrategy
from hotstart.errors import InvalidInput
from hotstart.integrations.haystack import HotstartDocumentEmbedder, HotstartTextEmbedder
from integrations.asking import FAKE, NEAR, REMOTE, Fake

pytestmark = pytest.mark.integrations

ALLOWED = ["hotstart.integrations.haystack"]


def test_questions_and_documents_have_their_roles(prompted: str) -> None:
    embedder = Embedder(prompted)
    asked = embedder.encode_query("eviction").tolist()
    kept = embedder.encode_document("eviction").tolist()
    assert asked != pytest.approx(kept, abs=0.01)
    text, documents = HotstartTextEmbedder(prompted), HotstartDocumentEmbedder(prompted)
    given = [Document(content="eviction")]
    for embedded in (text.run("eviction"), asyncio.run(text.run_async("eviction"))):
        assert embedded["embedding"] == pytest.approx(asked, abs=NEAR)
    for written in (documents.run(given), asyncio.run(documents.run_async(given))):
        assert written["documents"][0].embedding == pytest.approx(kept, abs=NEAR)
    assert given[0].embedding is None, "the pipeline's own document was changed"


@pytest.mark.parametrize(
    ("made", "given"),
    [(HotstartTextEmbedder, "a"), (HotstartDocumentEmbedder, [Document(content="a")])],
)
def test_making_one_loads_nothing_and_a_running_loop_is_not_held_up(
    fake: Fake, made: Any, given: Any
) -> None:
    component = made(fake.hanging)
    assert (fake.did.loads, component.embedder.state) == (0, "unloaded")

    async def ask() -> dict[str, Any]:
        component.warm_up()
        return await component.run_async(given)  # type: ignore[no-any-return]

    assert fake.answer_of_a_running_loop(ask) == component.run(given)
    assert fake.did.loads == 1


def test_what_surrounds_a_text_is_embedded_with_it(fake: Fake) -> None:
    HotstartTextEmbedder(fake.source, prefix="<", suffix=">").run("text")
    HotstartDocumentEmbedder(
        fake.source,
        prefix="<",
        suffix=">",
        meta_fields_to_embed=["title", "absent", "none", "year"],
        embedding_separator="|",
    ).run([Document(content="text", meta={"title": "T", "none": None, "year": 2024, "x": "y"})])
    HotstartDocumentEmbedder(fake.source).run([Document(content=None)])
    assert fake.did.embedded == {"<text>": 1, "<T|2024|text>": 1, "": 1}


def test_no_document_gives_no_document() -> None:
    assert HotstartDocumentEmbedder(FAKE).run([]) == {"documents": []}


def indexing(store: InMemoryDocumentStore, component: Any) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", component)
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def asking(store: InMemoryDocumentStore, component: Any) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", component)
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def test_pipelines_find_what_is_meant() -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    texts = ["Models are unloaded when idle.", "Bread needs yeast."]
    documents = [Document(content=text) for text in texts]
    indexing(store, HotstartDocumentEmbedder()).run({"embedder": {"documents": documents}})
    ask = asking(store, HotstartTextEmbedder())
    found = ask.run({"embedder": {"text": "What do I need for baking?"}})
    assert found["retriever"]["documents"][0].content == "Bread needs yeast."
    question = {"embedder": {"text": "Which model leaves memory?"}}
    found = asyncio.run(ask.run_async(question))
    assert found["retriever"]["documents"][0].content == "Models are unloaded when idle."


def test_a_pipeline_written_down_makes_the_same_and_holds_no_secret() -> None:
    component = HotstartDocumentEmbedder(
        FAKE,
        prefix="p",
        suffix="s",
        meta_fields_to_embed=["title"],
        embedding_separator="|",
        options={
            "truncate_dim": 4,
            "strategy": LoadingStrategy.BACKGROUND,
            "cache": "redis://user:secret@host/0",
        },
    )
    text = indexing(InMemoryDocumentStore(), component).dumps()
    assert "secret" not in text
    remote = HotstartTextEmbedder(REMOTE)
    assert remote.to_dict()["init_parameters"]["model"] == "tei:http://host"
    again = Pipeline.loads(text, allowed_modules=ALLOWED).get_component("embedder")
    assert again.to_dict() == component.to_dict()
    assert again.options == {"truncate_dim": 4, "strategy": "background"}


def test_the_permission_to_run_code_does_not_come_from_a_pipeline() -> None:
    data = HotstartTextEmbedder(FAKE).to_dict()
    data["init_parameters"]["options"]["trust_remote_code"] = True
    with pytest.raises(InvalidInput, match="trust_remote_code"):
        HotstartTextEmbedder.from_dict(data)
