from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hotstart import Embedder, Reranker
from hotstart.errors import IndexMissing, InvalidInput
from hotstart.files import exclusive
from hotstart.pool.handle import ModelHandle
from hotstart.pool.instance import Instance
from hotstart.pool.pool import Pool
from hotstart.search import SearchIndex
from hotstart.search.store import Store
from support.golden import RERANKERS

Plant = Callable[[Mapping[str, str]], str]

FILES = {
    "cats.txt": "The kitten sleeps on the sofa all afternoon.\n",
    "money.txt": "The bank raised its interest rates again.\n",
    "code/pool.py": "class Pool:\n    def getModelName(self):\n        return self.name\n",
}


@pytest.fixture
def root(plant: Plant, embedder: Embedder) -> str:
    folder = plant(FILES)
    SearchIndex(folder, embedder).update()
    return folder


def test_words_and_meaning_together_answer(root: str, embedder: Embedder) -> None:
    answer = SearchIndex(root, embedder).search("interest of the kitten", top_k=2)
    assert (answer.mode, answer.reason, answer.model) == ("hybrid", None, embedder.model)
    assert {hit.path for hit in answer.hits} == {"cats.txt", "money.txt"}
    assert all(hit.found_by == ("lexical", "semantic") for hit in answer.hits)
    assert answer.hits[0].score >= answer.hits[1].score > 0
    assert answer.seconds > 0


def test_a_hit_has_exact_scores_of_both_rankings(root: str, embedder: Embedder) -> None:
    hits = SearchIndex(root, embedder).search("interest of the kitten").hits
    parts = {hit.path: hit.parts for hit in hits}
    assert {"words", "semantic"} <= parts["cats.txt"].keys() & parts["money.txt"].keys()
    assert parts["code/pool.py"]["words"] == 0 < parts["cats.txt"]["words"]
    assert "semantic" not in parts["code/pool.py"]  # the least near one


def test_a_query_that_the_model_cannot_read_is_answered_by_its_words(
    plant: Plant, embedder: Embedder
) -> None:
    files = {"pool.txt": "Пул соединений с базой данных исчерпан.\n", "rates.txt": "Ставки.\n"}
    index = SearchIndex(plant(FILES | files), embedder)
    index.update()
    answer = index.search("соединение с базой")
    assert (answer.mode, [hit.path for hit in answer.hits]) == ("lexical", ["pool.txt"])
    assert answer.reason == f"{embedder.model!r} does not know the words of the query"
    assert index.search("котёнок").mode == "semantic"  # nothing else can answer


def test_fusion_by_rank_is_there_to_choose(root: str, embedder: Embedder) -> None:
    first = SearchIndex(root, embedder, fusion="rrf").search("kitten").hits[0]
    assert first.parts == {"lexical": 1 / 61, "semantic": 1 / 61}
    with pytest.raises(InvalidInput, match="linear or rrf"):
        SearchIndex(root, fusion="mean")  # type: ignore[arg-type]


def test_a_reranker_orders_the_hits(root: str, tmp_path: Path) -> None:
    reranker = Reranker(RERANKERS / "bert" / "model", pool=Pool())
    index = SearchIndex(root, reranker=reranker)
    first = index.search("kitten bank name", timeout=0)  # its load has only begun
    assert {hit.path for hit in first.hits} == FILES.keys()
    assert not any("reranker" in hit.parts for hit in first.hits)
    assert "reranked nothing" in str(first.reason)

    answer = index.search("kitten bank name")
    texts = [f"{hit.heading}\n{hit.text}".strip() for hit in answer.hits]
    expected = reranker.rank("kitten bank name", texts)
    assert [each["corpus_id"] for each in expected] == [0, 1, 2]
    assert "rerank" not in str(answer.reason)
    sums = [sum(hit.parts.values()) for hit in answer.hits]
    assert sums == pytest.approx(sorted((sum(h.parts.values()) for h in first.hits), reverse=True))
    assert len(index.search("kitten bank name", top_k=1).hits) == 1


def test_a_reranker_of_several_labels_is_refused(root: str) -> None:
    labelled = Reranker(RERANKERS / "bert-three-labels" / "model")
    with pytest.raises(InvalidInput, match="label"):
        SearchIndex(root, reranker=labelled).search("kitten")


def test_meaning_alone_answers_where_no_word_is_found(root: str, embedder: Embedder) -> None:
    answer = SearchIndex(root, embedder).search("feline napping")
    assert answer.mode == "semantic"
    assert answer.reason == "no chunk holds a word of the query"
    assert answer.hits[0].path == "cats.txt"
    assert answer.hits[0].found_by == ("semantic",)


def test_a_hit_says_where_it_stands(root: str) -> None:
    (hit,) = SearchIndex(root).search("model name").hits
    assert (hit.path, hit.start_line, hit.end_line) == ("code/pool.py", 1, 3)
    assert hit.heading == "class Pool"
    assert hit.text == FILES["code/pool.py"].rstrip()
    assert hit.found_by == ("lexical",)


def test_a_file_is_one_hit_that_lists_its_other_places(plant: Plant) -> None:
    section = "\n".join(f"The kitten sleeps, line {n} of a long section." for n in range(20))
    root = plant({"cats.md": f"# One\n\n{section}\n\n# Two\n\n{section}\n", "b.txt": "kitten\n"})
    index = SearchIndex(root)
    index.update()
    first, second = index.search("kitten").hits
    assert (first.path, second.path) == ("cats.md", "b.txt")
    assert [(place.path, place.heading) for place in first.others] == [("cats.md", "Two")]
    assert first.others[0].start_line > first.end_line


def test_hits_are_ordered_by_the_sum_of_their_parts(root: str, embedder: Embedder) -> None:
    for index in (SearchIndex(root), SearchIndex(root, embedder)):
        sums = [sum(hit.parts.values()) for hit in index.search("kitten interest").hits]
        assert sums == sorted(sums, reverse=True)
        assert len(sums) >= 2


def test_a_score_is_the_share_of_the_words_or_the_cosine(root: str, embedder: Embedder) -> None:
    (hit,) = SearchIndex(root).search("kittens zebra quokka lemur").hits
    assert hit.score == 0.25  # an inflected word counts
    best = SearchIndex(root, embedder).search("feline napping").hits[0]
    assert (best.path, best.found_by) == ("cats.txt", ("semantic",))
    cosine = best.score
    assert 0.3 < cosine < 1
    index = SearchIndex(root, embedder)
    assert index.search("feline napping", min_score=cosine).hits == (best,)
    with pytest.raises(InvalidInput, match="min_score must be a number from 0 to 1"):
        index.search("kitten", min_score=1.5)


def test_an_index_of_an_earlier_format_is_rebuilt_by_a_search(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotstart.search.lexical._FORMAT", 0)
    SearchIndex(root).search("kitten")
    monkeypatch.undo()
    assert [hit.path for hit in SearchIndex(root).search("kitten").hits] == ["cats.txt"]


def test_without_a_model_the_answer_is_lexical(root: str) -> None:
    answer = SearchIndex(root).search("kitten")
    assert (answer.mode, answer.model) == ("lexical", None)
    assert answer.reason == "no embedding model was given"
    assert [hit.path for hit in answer.hits] == ["cats.txt"]


class Slow(Embedder):
    """The real model, whose load waits until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        real = self._instance._load

        def load(stage: Any, report: Any, beside: Any) -> Any:
            assert self.released.wait(60)
            return real(stage, report, beside)

        self._instance = Instance("slow", load, lambda model: model.close())
        self._model = ModelHandle(self._spec, self._instance)


def test_a_deadline_is_not_waited_beyond(root: str) -> None:
    slow = Slow()
    index = SearchIndex(root, slow)
    for deadline in (0, 0.05):
        answer = index.search("kitten", timeout=deadline)
        assert answer.mode == "lexical"
        assert answer.reason is not None
        assert "'slow' is loading" in answer.reason
        assert answer.hits[0].path == "cats.txt"
        assert deadline <= answer.seconds < deadline + 2
    slow.released.set()  # the load was started by the searches and went on
    assert slow.status().loads <= 1
    assert index.search("kitten").mode == "hybrid"
    assert index.search("kitten", timeout=0).mode == "hybrid"
    assert slow.status().loads == 1


def test_an_index_without_vectors_is_not_waited_for(plant: Plant) -> None:
    root = plant(FILES)
    SearchIndex(root).update()
    answer = SearchIndex(root, Slow()).search("kitten")  # would hang
    assert answer.mode == "lexical"
    assert answer.reason is not None
    assert "no vectors yet" in answer.reason


def test_vectors_of_another_space_do_not_take_part(root: str) -> None:
    answer = SearchIndex(root, Embedder(truncate_dim=64)).search("kitten")
    assert answer.mode == "lexical"
    assert answer.reason is not None
    assert "none of 3 chunks have vectors" in answer.reason


def test_an_index_that_is_partly_embedded_says_so(
    root: str, plant: Plant, embedder: Embedder
) -> None:
    index = SearchIndex(root, embedder)
    assert index.search("kitten").reason is None
    plant({"new.txt": "a new kitten"})
    SearchIndex(root).update()
    answer = index.search("kitten")
    assert answer.mode == "hybrid"
    assert answer.reason is not None
    assert "only 3 of 4 chunks" in answer.reason
    assert "new.txt" in {hit.path for hit in answer.hits}
    index.update()
    answer = index.search("kitten")  # the vectors it kept are those of before
    assert answer.reason is None
    assert ("new.txt", ("lexical", "semantic")) in [(h.path, h.found_by) for h in answer.hits]


def test_a_lagging_lexical_index_is_brought_up_to_date_by_a_search(root: str) -> None:
    database = os.path.join(root, ".hotstart", "index.db")
    index = SearchIndex(root)
    index.search("kitten")
    with Store(database) as store, store.transaction():
        store.remove("cats.txt")
        store.rename("money.txt", "treasure.txt")
    with exclusive(os.path.join(root, ".hotstart", "lock")):
        answer = index.search("kitten interest")
        assert [hit.path for hit in answer.hits] == ["treasure.txt"]  # what is gone is no hit
        assert answer.reason is not None
        assert "another process is writing" in answer.reason
        assert index.search("treasure").hits == ()
    answer = index.search("treasure")
    assert [hit.path for hit in answer.hits] == ["treasure.txt"]
    assert answer.reason == "no embedding model was given"


def damage_lexical_index(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, index: Any) -> None:
            self._index = index

        def searcher(self) -> Failing:
            return Failing(self._index.searcher())

        def search(self, query: Any, limit: int, **options: Any) -> Any:
            if limit > 2:  # not that for the stamp
                raise ValueError("a damaged segment")
            return self._index.search(query, limit, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._index, name)

    monkeypatch.setattr(index._lexical, "_index", Failing(index._lexical._index))


def test_a_search_rebuilds_a_lexical_index_that_fails_in_it(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = SearchIndex(root)
    index.search("kitten")
    damage_lexical_index(index, monkeypatch)
    assert [hit.path for hit in index.search("kitten").hits] == ["cats.txt"]


def test_a_damaged_lexical_index_that_cannot_be_rebuilt_now_is_the_reason(
    root: str, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = SearchIndex(root, embedder)
    index.search("kitten")
    damage_lexical_index(index, monkeypatch)
    with exclusive(os.path.join(root, ".hotstart", "lock")):
        answer = index.search("kitten")
    assert answer.mode == "semantic"
    assert answer.reason == (
        "another process is writing the index, so its latest changes may be missing"
    )


def test_the_index_of_a_folder_above_is_found(root: str, tmp_path: Path) -> None:
    assert SearchIndex.nearest(os.path.join(root, "code")).path == root
    assert SearchIndex.nearest(os.path.join(root, "code", "pool.py")).path == root
    assert SearchIndex.nearest(root).path == root
    with pytest.raises(IndexMissing):
        SearchIndex.nearest(tmp_path)


def test_a_folder_that_was_never_indexed_says_so(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing, match="hotstart index"):
        SearchIndex(tmp_path).search("x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"query": ""},
        {"query": " \n"},
        {"query": 3},
        {"top_k": 0},
        {"top_k": 2.5},
        {"timeout": "1"},
        {"timeout": -1},
        {"timeout": float("nan")},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(root: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        SearchIndex(root).search(**({"query": "kitten"} | arguments))


@pytest.mark.parametrize("query", ["???", 'a "b', "kitten\ud800", "AND OR NOT", "x" * 100_000])
def test_odd_queries_get_an_answer(root: str, embedder: Embedder, query: str) -> None:
    SearchIndex(root, embedder).search(query)
    SearchIndex(root).search(query)


def test_top_k_bounds_the_hits(plant: Plant) -> None:
    root = plant({f"{n}.txt": f"common number {n}" for n in range(150)})
    index = SearchIndex(root)
    index.update()
    sizes = [len(index.search("common", top_k=k).hits) for k in (1, 10, 149, 500, 2**40, 10**30)]
    assert sizes == [1, 10, 149, 150, 150, 150]


def test_a_lexical_answer_imports_neither_numpy_nor_an_engine(root: str) -> None:
    code = (
        "import sys; from hotstart import SearchIndex;"
        f"answer = SearchIndex({root!r}).search('kitten'); assert answer.hits;"
        "print(*sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(output.stdout.split())
    heavy = {"numpy", "onnxruntime", "tokenizers", "filelock", "re2", "rich", "asyncio"}
    assert "tantivy" in modules
    assert not modules & heavy
    assert not {name for name in modules if name.startswith("hotstart.models")}


def test_a_used_file_and_its_neighbours_rank_higher_for_a_while(plant: Plant) -> None:
    text = "The parser reads {} tokens from the stream."
    root = plant({f"{name}.txt": text.format(name) for name in ("alpha", "beta", "gamma")})
    index = SearchIndex(root)
    index.update()
    fresh = index.search("parser tokens")
    assert "use" not in fresh.hits[0].parts
    last = fresh.hits[-1].path
    assert index.touch(last)
    assert not index.touch("nowhere.txt")
    used = index.search("parser tokens")
    assert used.hits[0].path == last
    assert used.hits[0].parts["use"] > 0.4
    plain = index.search("parser tokens", activation=False)
    assert plain.hits == fresh.hits


def test_an_edit_is_a_use_and_a_checkout_is_none(plant: Plant) -> None:
    names = [f"page{number}.txt" for number in range(60)]
    root = plant({name: f"The parser of {name} reads tokens." for name in names})
    index = SearchIndex(root)
    index.update()
    plant({name: f"The parser of {name} reads many tokens." for name in names})
    index.update()
    assert "use" not in index.search("parser tokens").hits[0].parts
    plant({"page7.txt": "The parser of page7.txt reads other tokens."})
    index.update()
    assert index.search("parser tokens").hits[0].path == "page7.txt"
