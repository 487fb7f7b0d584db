from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hotstart import Embedder
from hotstart.errors import IndexBusy, IndexDamaged, InvalidInput, ModelNotFound
from hotstart.files import exclusive
from hotstart.search import SearchIndex, UpdateReport, chunking, grammars
from hotstart.search.store import Store, StoreState

Plant = Callable[[Mapping[str, str]], str]

FILES = {
    "guide.md": "# Guide\n\nHow to begin.\n",
    "pool.py": "def pool():\n    return 1\n",
    "notes/a.txt": "a note\n",
}


class Counting:
    """An embedder that notes what it is asked to embed."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.texts: list[str] = []

    def embed(self, texts: list[str], **options: Any) -> Any:
        self.texts += texts
        return self._embedder.embed(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)


@pytest.fixture
def counting(embedder: Embedder) -> Any:
    return Counting(embedder)


def counts(report: UpdateReport) -> tuple[int, int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged, report.embedded


def state(root: str) -> StoreState:
    with Store(os.path.join(root, ".hotstart", "index.db")) as store:
        return store.state()


def content(root: str) -> list[tuple[str, str]]:
    with Store(os.path.join(root, ".hotstart", "index.db")) as store:
        return sorted((p.path, p.text) for p in store.chunks_after(0))


def test_a_second_update_touches_nothing(plant: Plant, counting: Any) -> None:
    root = plant(FILES)
    first = SearchIndex(root, counting).update()
    assert counts(first) == (3, 0, 0, 0, 3)
    assert first.chunks == 3
    assert "Guide\n# Guide\n\nHow to begin." in counting.texts
    before = state(root)
    counting.texts.clear()
    second = SearchIndex(root, counting).update()
    assert counts(second) == (0, 0, 0, 3, 0)
    assert second.chunks == 3
    assert state(root) == before
    assert counting.texts == []


def test_an_index_that_is_whole_loads_no_model(plant: Plant, embedder: Embedder) -> None:
    from hotstart.pool.pool import Pool

    root = plant(FILES)
    SearchIndex(root, embedder).update()
    idle = Embedder(pool=Pool())
    SearchIndex(root, idle).update()
    assert idle.state == "unloaded"


def test_only_what_changed_is_read_and_embedded(plant: Plant, counting: Any) -> None:
    root = plant(FILES)
    index = SearchIndex(root, counting)
    index.update()
    counting.texts.clear()
    plant({"pool.py": "def pool():\n    return 2, changed\n", "new.txt": "brand new\n"})
    os.unlink(os.path.join(root, "notes", "a.txt"))
    assert counts(index.update()) == (1, 1, 1, 1, 2)
    assert sorted(counting.texts) == ["brand new", "def pool\ndef pool():\n    return 2, changed"]
    assert [path for path, _ in content(root)] == ["guide.md", "new.txt", "pool.py"]
    assert not index.search("note", timeout=0).hits or index.search("note").mode != "lexical"


def test_a_touched_file_is_unchanged(plant: Plant) -> None:
    root = plant(FILES)
    index = SearchIndex(root)
    index.update()
    before = state(root)
    os.utime(os.path.join(root, "pool.py"), ns=(1, 1))
    assert counts(index.update()) == (0, 0, 0, 3, 0)
    assert state(root) == before
    with Store(os.path.join(root, ".hotstart", "index.db")) as store:
        assert store.documents()["pool.py"].mtime_ns == 1


def test_a_renamed_file_keeps_its_vectors(plant: Plant, counting: Any) -> None:
    root = plant(FILES)
    index = SearchIndex(root, counting)
    index.update()
    counting.texts.clear()
    os.rename(os.path.join(root, "notes"), os.path.join(root, "papers"))
    assert counts(index.update()) == (1, 0, 1, 2, 0)
    assert counting.texts == []
    assert ("papers/a.txt", "a note") in content(root)
    answer = SearchIndex(root).search("papers")
    assert [hit.path for hit in answer.hits] == ["papers/a.txt"]
    assert SearchIndex(root).search("notes").hits[0].path == "papers/a.txt"  # by "a note"


def test_of_two_copies_of_a_vanished_file_one_is_the_renamed(plant: Plant) -> None:
    root = plant({"a.txt": "same text"})
    index = SearchIndex(root)
    index.update()
    os.unlink(os.path.join(root, "a.txt"))
    plant({"b.txt": "same text", "c.txt": "same text"})
    assert counts(index.update()) == (2, 0, 1, 0, 0)
    assert content(root) == [("b.txt", "same text"), ("c.txt", "same text")]


def test_a_part_of_a_file_that_stays_is_not_embedded_again(plant: Plant, counting: Any) -> None:
    parts = [f"part {n} " * 80 for n in range(3)]
    root = plant({"a.txt": "\n\n".join(parts)})
    index = SearchIndex(root, counting)
    index.update()
    counting.texts.clear()
    plant({"a.txt": "\n\n".join([parts[0], "other " * 80, parts[2]])})
    assert counts(index.update()) == (0, 1, 0, 0, 1)
    assert counting.texts == ["other " * 80]


def test_what_became_unsearchable_leaves_the_index(plant: Plant) -> None:
    root = plant(FILES)
    index = SearchIndex(root)
    index.update()
    plant({"pool.py": "now\0binary", "guide.md": "x" * 1_000_001})
    report = index.update()
    assert counts(report) == (0, 0, 2, 1, 0)
    assert report.skipped == {"binary": 1, "too large": 1}
    assert [path for path, _ in content(root)] == ["notes/a.txt"]


def test_the_table_of_the_folder_chooses_its_files(plant: Plant) -> None:
    root = plant({**FILES, "hotstart.toml": "[search]\nexclude = ['notes/', '*.toml']\n"})
    index = SearchIndex(root)
    index.update()
    assert [path for path, _ in content(root)] == ["guide.md", "pool.py"]
    index.update(exclude=["*.md", "*.toml"])  # in place of those of the table
    assert [path for path, _ in content(root)] == ["notes/a.txt", "pool.py"]
    index.update(include=["*.md"], exclude=[])
    assert [path for path, _ in content(root)] == ["guide.md"]


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("[search]\nexclud = []", "a key of .search. must be one of exclude, include"),
        ("[search]\nexclude = 'a'", "search.exclude must be a list of texts"),
        ("[search", "must be a TOML file"),
        ("[search]\ninclude = ['[']", "include must be a glob"),
        ("#" * 1_000_001, "must be at most 1000000 bytes"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(plant: Plant, table: str, error: str) -> None:
    root = plant({"hotstart.toml": table})
    with pytest.raises(InvalidInput, match=error):
        SearchIndex(root).update()
    assert not os.path.exists(os.path.join(root, ".hotstart"))


def test_what_cannot_be_read_now_stays_as_it_is_known() -> None:
    """A folder without permission, or of a share that is away, is not a folder without files."""
    with tempfile.TemporaryDirectory() as root:  # tmp_path lies in a folder closed to others
        os.chmod(root, 0o777)
        for path in ("away/a.txt", "away/in/b.txt", "c.txt", "d.txt"):
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(f"words of {path}\n")
        index = SearchIndex(root)
        assert counts(index.update()) == (4, 0, 0, 0, 0)
        os.unlink(os.path.join(root, "d.txt"))
        os.utime(os.path.join(root, "c.txt"), ns=(1, 1))
        user = os.geteuid()
        os.chmod(os.path.join(root, "c.txt"), 0o000)
        os.chmod(os.path.join(root, "away"), 0o000)
        if user == 0:
            for path in (root, *(str(path) for path in Path(root).rglob("*"))):
                os.chown(path, 65534, -1)
            os.seteuid(65534)  # root may read anything
        try:
            report = index.update()
            assert (report.removed, report.unchanged, report.kept) == (1, 0, 3)
            assert report.skipped_files == {"away/": "unreadable", "c.txt": "unreadable"}
            assert [hit.path for hit in index.search("words").hits]
        finally:
            os.seteuid(user)
            os.chmod(os.path.join(root, "away"), 0o700)
            os.chmod(os.path.join(root, "c.txt"), 0o600)
        assert counts(index.update()) == (0, 0, 0, 3, 0)


def test_vectors_are_added_to_an_index_that_had_none(plant: Plant, counting: Any) -> None:
    root = plant(FILES)
    SearchIndex(root).update()
    before = state(root)
    assert SearchIndex(root, counting).update().embedded == 3
    assert state(root).generation == before.generation


def test_a_model_that_cannot_be_had_costs_the_vectors_alone(plant: Plant) -> None:
    root = plant(FILES)
    index = SearchIndex(root, Embedder("nobody/no-such-model"))
    with pytest.raises(ModelNotFound):
        index.update()
    assert len(content(root)) == 3
    answer = index.search("pool")
    assert answer.mode == "lexical"
    assert answer.hits[0].path == "pool.py"


def test_progress_ends_with_all_done(plant: Plant, embedder: Embedder) -> None:
    told: list[tuple[str, int, int]] = []
    root = plant(FILES)
    SearchIndex(root, embedder).update(lambda *step: told.append(step))
    last = {phase: (done, total) for phase, done, total in told}
    assert last == {"documents": (3, 3), "lexical": (3, 3), "vectors": (3, 3)}
    assert list(last) == ["documents", "lexical", "vectors"]


def test_two_updates_at_once_are_one_too_many(plant: Plant) -> None:
    root = plant(FILES)
    with exclusive(os.path.join(root, ".hotstart", "lock")) as held:
        assert held
        with pytest.raises(IndexBusy):
            SearchIndex(root).update()
    assert SearchIndex(root).update().added == 3


def test_the_home_keeps_itself_from_git(plant: Plant) -> None:
    root = plant(FILES)
    SearchIndex(root).update()
    with open(os.path.join(root, ".hotstart", ".gitignore")) as file:
        assert file.read() == "*\n"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        SearchIndex(tmp_path / "none").update()
    assert not (tmp_path / "none").exists()


def test_a_corrupt_database_is_told_and_not_overwritten(plant: Plant) -> None:
    root = plant({**FILES, ".hotstart/index.db": "no database " * 100})
    with pytest.raises(IndexDamaged, match="Delete it"):
        SearchIndex(root).update()
    with pytest.raises(IndexDamaged, match="Delete it"):
        SearchIndex(root).search("x")
    with open(os.path.join(root, ".hotstart", "index.db")) as file:
        assert file.read() == "no database " * 100


def test_commits_lost_in_a_crash_do_not_pass_for_those_that_follow(plant: Plant) -> None:
    root = plant(FILES)
    database = os.path.join(root, ".hotstart", "index.db")
    SearchIndex(root).update()
    with open(database, "rb") as file:
        survived = file.read()
    plant({"notes/a.txt": "a lost change\n"})
    SearchIndex(root).update()
    with open(database, "wb") as file:
        file.write(survived)
    plant({"notes/a.txt": "what came instead\n"})
    SearchIndex(root).update()
    assert SearchIndex(root).search("lost").hits == ()
    assert [hit.path for hit in SearchIndex(root).search("instead").hits] == ["notes/a.txt"]


def test_a_file_cut_by_other_rules_is_cut_again_and_keeps_what_is_the_same(
    plant: Plant, counting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant(FILES)
    with monkeypatch.context() as patch:  # without the extra code
        patch.setattr(grammars, "has_grammar", lambda path: False)
        SearchIndex(root, counting).update()
        assert counts(SearchIndex(root, counting).update()) == (0, 0, 0, 3, 0)
    assert counts(SearchIndex(root, counting).update()) == (0, 1, 0, 2, 0)
    with monkeypatch.context() as patch:  # nothing becomes worse
        patch.setattr(grammars, "has_grammar", lambda path: False)
        assert counts(SearchIndex(root, counting).update()) == (0, 0, 0, 3, 0)
    monkeypatch.setattr(chunking, "_RULES", chunking._RULES + 1)
    assert counts(SearchIndex(root, counting).update()) == (0, 3, 0, 0, 0)


def test_the_report_says_how_much_no_vector_covers(plant: Plant, embedder: Embedder) -> None:
    short = SearchIndex(plant(FILES), embedder).update()
    assert short.unread_share == 0
    words = " ".join(["x y z , ."] * 120)  # 600 tokens in one chunk, of which the model reads 254
    report = SearchIndex(plant({"long.txt": words}), embedder).update()
    assert report.embedded == 1
    assert report.unread_share == pytest.approx(1 - 256 / 602, abs=0.005)
    assert SearchIndex(plant({"long.txt": words})).update().unread_share == 0  # no vectors
