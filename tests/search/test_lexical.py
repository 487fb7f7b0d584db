from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotstart.search.chunking import Chunk
from hotstart.search.lexical import LexicalIndex, LexicalIndexDamaged
from hotstart.search.store import Store, StoredDocument


def put(store: Store, path: str, *texts: str, heading: str = "") -> None:
    with store.transaction():
        chunks = [
            Chunk(text, heading, n, n, tuple(re.findall(r"class (\w+)", text)))
            for n, text in enumerate(texts, 1)
        ]
        store.put(path, StoredDocument(0, 0, ""), chunks)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "lexical")


@pytest.fixture
def lexical(store: Store, folder: str) -> LexicalIndex:
    put(store, "guide.md", "Running models in a pool.", heading="Guide > Install")
    put(store, "src/names.js", "function getModelName() {}", "snake_case_name = 1")
    put(store, "c.txt", "nothing of the kind", "kind kind kind")
    lexical = LexicalIndex(folder)
    lexical.sync(store)
    return lexical


def ids(lexical: LexicalIndex, query: str, limit: int = 9) -> list[int]:
    return [match.id for match in lexical.search(query, limit)]


def test_chunks_are_found_by_their_words(lexical: LexicalIndex) -> None:
    assert ids(lexical, "run model")[0] == 1  # stemmed
    assert ids(lexical, "RUNNING") == [1]
    assert ids(lexical, "install") == [1]  # by heading
    assert ids(lexical, "names")[0] in {2, 3}  # by path
    assert ids(lexical, "model function")[0] == 2  # by parts of an identifier
    assert ids(lexical, "getmodelname") == [2]
    assert 3 in ids(lexical, "case")
    assert ids(lexical, "kind") == [5, 4]
    assert ids(lexical, "kind", 1) == [5]
    assert ids(lexical, "absent") == []


def test_both_ways_to_write_an_identifier_are_one(lexical: LexicalIndex) -> None:
    assert ids(lexical, "get_model_name")[0] == 2
    assert ids(lexical, "snakeCaseName")[0] == 3


def test_words_are_stemmed_in_the_language_of_their_document(store: Store, folder: str) -> None:
    put(store, "de.md", "Die Häuser wurden verkauft, und das ist nicht gut.", "Häuser")
    put(store, "ru.md", "Дома были проданы в прошлом году.")
    put(store, "en.md", "The houses were sold, and that is no good.")
    put(store, "zh.md", "这个连接池已经满了")
    lexical = LexicalIndex(folder)
    lexical.sync(store)
    assert sorted(ids(lexical, "haus")) == [1, 2]  # the second by the language of its document
    assert ids(lexical, "продан дом") == [3]
    assert ids(lexical, "house") == [4]
    assert ids(lexical, "连接池") == [5]
    put(store, "fr.md", "Les maisons ont été vendues et ce n'est pas bon.")
    lexical.sync(store)
    assert ids(lexical, "maison") == [6]
    assert sorted(ids(LexicalIndex(folder), "haus")) == [1, 2]


@pytest.mark.parametrize(
    "word", ["Ａｂｃ", "ﬁne", "e\u0301te\u0301", "हिन्दी", "ΟΔΟΣ", "straße", "x" * 300, "İstanbul"]
)
def test_a_word_copied_from_a_text_is_found(store: Store, folder: str, word: str) -> None:
    put(store, "a.txt", f"before {word} after")
    lexical = LexicalIndex(folder)
    lexical.sync(store)
    assert ids(lexical, word) == [1]


def test_those_that_define_a_symbol_are_found_behind_all_others(store: Store, folder: str) -> None:
    uses = [f"Pool Pool Pool {n}" for n in range(5)]
    long = "class Pool:\n" + "\n".join(f"    other = {n}" for n in range(90))
    put(store, "src/a.py", *uses, long)
    lexical = LexicalIndex(folder)
    lexical.sync(store)
    matches = lexical.search("Pool", 2)
    assert [match.defines for match in matches] == [False, False, True]
    assert matches[-1].id == 6
    assert matches[-1].score < matches[0].score


def test_the_stamp_is_no_hit(store: Store, lexical: LexicalIndex) -> None:
    identity = store.state().identity
    assert ids(lexical, f"0 {identity} 1:{identity}") == [3]  # its own "1"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.one_of(st.text(), st.text(alphabet='ab:"()[]{}^~*+-!\\/<>= ANDORTIN', max_size=30)))
def test_no_query_is_syntax(lexical: LexicalIndex, query: str) -> None:
    lexical.search(query, 5)


def test_what_changed_is_brought_up_to_date_without_a_rebuild(
    store: Store, lexical: LexicalIndex, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LexicalIndex, "rebuild", None)
    put(store, "c.txt", "kind kind kind", "fresh words")
    with store.transaction():
        store.remove("guide.md")
        store.rename("src/names.js", "src/labels.js")
    assert not lexical.agrees(store)
    lexical.sync(store)
    assert lexical.agrees(store)
    assert LexicalIndex(folder).agrees(store)
    assert (ids(lexical, "fresh"), ids(lexical, "pool"), ids(lexical, "nothing")) == ([6], [], [])
    assert set(ids(lexical, "labels")) == {2, 3}
    assert len(ids(lexical, "labels")) == 2


def test_an_index_that_agrees_is_not_touched(
    store: Store, lexical: LexicalIndex, folder: str
) -> None:
    before = sorted((e.name, e.stat().st_mtime_ns) for e in os.scandir(folder))
    lexical.sync(store)
    LexicalIndex(folder).sync(store)
    assert sorted((e.name, e.stat().st_mtime_ns) for e in os.scandir(folder)) == before


def spoil_names(folder: str) -> list[str]:
    return sorted(n for n in os.listdir(folder) if not n.startswith("."))


@pytest.mark.parametrize("how", ["remove", "truncate", "overwrite"])
@pytest.mark.parametrize("which", range(7))
def test_a_damaged_index_is_made_anew(
    store: Store, lexical: LexicalIndex, folder: str, how: str, which: int
) -> None:
    path = os.path.join(folder, spoil_names(folder)[which])
    size = os.path.getsize(path)
    if how == "remove":
        os.unlink(path)
    else:
        with open(path, "r+b") as file:
            file.truncate(size // 2) if how == "truncate" else file.write(b"\xee" * size)
    fresh = LexicalIndex(folder)
    fresh.sync(store)
    try:
        found = ids(fresh, "running kind")
    except LexicalIndexDamaged:  # it opened, and failed in the search: now it is distrusted
        fresh.sync(store)
        found = ids(fresh, "running kind")
    assert sorted(found) == [1, 4, 5]
    assert fresh.agrees(store)


def test_an_index_of_another_store_or_time_is_made_anew(
    store: Store, lexical: LexicalIndex, folder: str, tmp_path: Path
) -> None:
    with Store(str(tmp_path / "other.db")) as other:
        for n in range(3):  # as many generations and, at the end, as many chunks
            put(other, f"{n}.txt", *["other"] * (1 if n == 0 else 2))
        assert other.count_chunks() == store.count_chunks()
        assert other.state().generation == store.state().generation
        assert not lexical.agrees(other)
        lexical.sync(other)
        assert len(ids(lexical, "other")) == 5
    lexical.sync(store)
    assert ids(lexical, "other") == []


def test_an_index_newer_than_its_store_is_made_anew(
    store: Store, lexical: LexicalIndex, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    store._database.run("VACUUM INTO ?", str(copy))
    put(store, "late.txt", "late")
    with store.transaction():
        store.remove("guide.md")  # so that the counts agree
    lexical.sync(store)
    with Store(str(copy)) as older:  # as after a crash of the machine that cost the last commit
        assert not lexical.agrees(older)
        lexical.sync(older)
        assert lexical.agrees(older)
        assert ids(lexical, "late") == []
        assert ids(lexical, "running") == [1]


def test_another_format_or_count_is_made_anew(
    store: Store, lexical: LexicalIndex, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotstart.search.lexical._FORMAT", 1)
    assert not LexicalIndex(folder).agrees(store)
    monkeypatch.undo()
    store._database.run("DELETE FROM chunks WHERE id = 5")  # behind the back of the generation
    assert not LexicalIndex(folder).agrees(store)
    lexical.sync(store)
    assert ids(lexical, "kind") == [4]


def test_a_rebuild_leaves_nothing_of_an_earlier_one(
    store: Store, lexical: LexicalIndex, folder: str
) -> None:
    home = os.path.dirname(folder)
    os.mkdir(os.path.join(home, ".lexical.1-killed"))
    shutil.rmtree(folder)
    lexical = LexicalIndex(folder)
    lexical.sync(store)
    assert [n for n in os.listdir(home) if "lexical" in n] == ["lexical"]
    assert ids(lexical, "running") == [1]


def test_an_index_that_is_not_there_finds_nothing(tmp_path: Path) -> None:
    assert LexicalIndex(str(tmp_path / "none")).search("word", 5) == []
