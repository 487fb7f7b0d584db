"""Search: lexically at once, hybrid when the model is there."""

from __future__ import annotations

from pathlib import Path

from hotstart import Embedder, SearchIndex
from hotstart.engines.fake import fake_control
from support.server import Serve, Served


def test_search_is_lexical_until_model_is_ready(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Cats\n\nA cat sat on the mat.\n")
    (tmp_path / "b.md").write_text("# Dogs\n\nA dog ran.\n")
    source = "fake:dimension=8,name=searched"
    SearchIndex(tmp_path, Embedder(source)).update()
    slow = "fake:dimension=8,name=searched,hang_load=true"
    served = serve({"fake": {"source": slow}}, index=str(tmp_path))
    first = served.post("/search", {"query": "cat", "timeout": 0}).json()
    assert first["mode"] == "lexical"
    assert first["reason"]
    assert first["hits"][0]["path"] == "a.md"
    assert first["hits"][0]["found_by"] == ["lexical"]
    fake_control("searched").release()
    served.wait_for("healthy")
    assert served.post("/search", {"query": "cat"}).status_code == 200


def test_search_is_hybrid_with_model(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Cats\n\nA cat sat on the mat.\n")
    source = "fake:dimension=8,name=hybrid"
    SearchIndex(tmp_path, Embedder(source)).update()
    served = serve({"fake": {"source": source}}, index=str(tmp_path))
    answer = served.post("/search", {"query": "cat", "top_k": 1}).json()
    assert (answer["mode"], answer["reason"]) == ("hybrid", None)
    assert len(answer["hits"]) == 1
    assert served.post("/search", {"query": "cat", "keep_alive": -1}).status_code == 200


def test_an_index_of_several_folders_is_searched(serve: Serve, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cats.md").write_text("# Cats\n\nA cat sat on the mat.\n")
    (tmp_path / "b" / "dogs.md").write_text("A dog ran.\n")
    store = str(tmp_path / "store")
    SearchIndex([tmp_path / "a", tmp_path / "b"], store=store).update()
    served = serve({"fake": {"source": "fake:name=stored"}}, index_store=store)
    answer = served.post("/search", {"query": "dog zebra", "timeout": 0}).json()
    (hit,) = answer["hits"]
    assert (hit["path"], hit["score"]) == ("b/dogs.md", 0.5)
    assert str(tmp_path) not in str(answer)  # where it lies is the server's own business
    body = {"query": "dog zebra", "timeout": 0, "min_score": 0.6}
    assert served.post("/search", body).json()["hits"] == []


def test_search_without_index_is_404(served: Served) -> None:
    answer = served.post("/search", {"query": "cat"})
    assert answer.status_code == 404
    assert "--index" in answer.json()["remedy"]


def test_search_of_unindexed_folder_names_remedy(serve: Serve, tmp_path: Path) -> None:
    served = serve({"fake": {"source": "fake:name=unindexed"}}, index=str(tmp_path))
    answer = served.post("/search", {"query": "cat"})
    assert answer.status_code == 404
    assert "hotstart index" in answer.json()["remedy"]


def test_empty_query_is_refused(served: Served) -> None:
    for body in ({"query": ""}, {"query": "a", "top_k": 0}, {"query": "a", "path": "/etc"}, {}):
        assert served.post("/search", body).status_code == 400
