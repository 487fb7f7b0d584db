"""One answer from several indexes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from hotstart import Embedder
from hotstart.errors import IndexMissing, InvalidInput
from hotstart.search import SearchIndex, SearchIndexes

CODE = {
    "pool.py": "def evict(models):\n    return sorted(models)[0]\n",
    "tests/test_pool.py": "def test_evict():\n    assert evict([2, 1]) == 1\n",
    **{f"other{n}.py": f"def other{n}():\n    return 'models'\n" for n in range(20)},
}
NOTES = {
    "evict.md": "# Why we evict\n\nThe models that nobody uses make room.\n",
    "cats.md": "# Cats\n\nKittens sleep on the sofa.\n",
}


def planted(root: Path, files: Mapping[str, str], embedder: Embedder | None = None) -> SearchIndex:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    index = SearchIndex(root, embedder)
    index.update()
    return index


def shown(index: SearchIndex | SearchIndexes, query: str, top_k: int = 4) -> list[str]:
    answer = index.search(query, top_k=top_k)
    return [f"{os.path.basename(hit.folder)}/{hit.path}" for hit in answer.hits]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("evict", ["code/pool.py"]),
        ("where do kittens sleep", ["notes/cats.md"]),
        ("models that nobody uses", ["notes/evict.md"]),
        ("test evict", ["code/tests/test_pool.py"]),
    ],
)
def test_the_best_of_all_is_first(
    tmp_path: Path, query: str, first: list[str], reverse: bool
) -> None:
    indexes = [planted(tmp_path / "code", CODE), planted(tmp_path / "notes", NOTES)]
    together = SearchIndexes(indexes[::-1] if reverse else indexes)
    assert shown(together, query)[: len(first)] == first


def test_the_answer_is_that_of_one_index_of_both(tmp_path: Path, embedder: Embedder) -> None:
    folders = [tmp_path / "code", tmp_path / "notes"]
    parts = [
        planted(folder, files, embedder)
        for folder, files in zip(folders, (CODE, NOTES), strict=True)
    ]
    whole = SearchIndex(folders, embedder, store=tmp_path / "store")
    whole.update()
    for query in ("evict", "where do kittens sleep", "models that nobody uses"):
        answer = SearchIndexes(parts).search(query, top_k=3)
        assert answer.hits[0].file == whole.search(query, top_k=3).hits[0].file
    answer = SearchIndexes(parts).search("a young feline")
    assert (answer.mode, answer.hits[0].path) == ("semantic", "cats.md")


def test_the_order_within_an_index_stays(tmp_path: Path) -> None:
    one, other = planted(tmp_path / "code", CODE), planted(tmp_path / "notes", NOTES)
    together = shown(SearchIndexes([one, other]), "evict models", 30)
    for index, name in ((one, "code"), (other, "notes")):
        assert [each for each in together if each.startswith(name)] == shown(
            index, "evict models", 30
        )


def test_a_file_in_two_indexes_is_one_hit(tmp_path: Path) -> None:
    inner = planted(tmp_path / "all" / "notes", NOTES)
    outer = planted(tmp_path / "all", CODE)
    answer = SearchIndexes([outer, inner, SearchIndex(tmp_path / "all")]).search("kittens")
    assert [os.path.basename(hit.path) for hit in answer.hits] == ["cats.md"]


def test_reasons_name_their_index(tmp_path: Path, embedder: Embedder) -> None:
    one = planted(tmp_path / "code", CODE)  # without vectors
    other = planted(tmp_path / "notes", NOTES, embedder)
    both = SearchIndexes([SearchIndex(one.path, embedder), other])
    answer = both.search("kittens", min_score=0.9)
    assert (answer.mode, answer.model) == ("hybrid", embedder.model)
    assert answer.reason is not None
    assert answer.reason.startswith(f"{one.path}: the index has no vectors yet")
    assert [hit.path for hit in answer.hits] == ["cats.md"]
    assert both.excerpt("kittens", answer.hits[0]).line == 3
    alike = SearchIndexes([SearchIndex(one.path), SearchIndex(other.path)]).search("kittens")
    assert alike.reason == "no embedding model was given"


def test_each_index_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least one index"):
        SearchIndexes([])
    one = planted(tmp_path / "notes", NOTES)
    with pytest.raises(IndexMissing):
        SearchIndexes([one, SearchIndex(tmp_path)]).search("kittens")
