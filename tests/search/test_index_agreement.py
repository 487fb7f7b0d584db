"""Whatever happens to the store, the lexical index that is synced to it finds its chunks."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hotstart.search.chunking import Chunk
from hotstart.search.lexical import LexicalIndex
from hotstart.search.store import Store, StoredDocument

WORDS = ["alpha", "beta", "gamma", "delta"]
PATHS = st.sampled_from(["p1.txt", "p2.txt", "p3.txt"])
TEXTS = st.lists(st.sampled_from(WORDS), max_size=3)


class Agreement(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp()
        self.store = Store(self.home + "/index.db")
        self.lexical = LexicalIndex(self.home + "/lexical")
        self.model: dict[str, list[str]] = {}
        self.synced = False

    def teardown(self) -> None:
        self.store.__exit__()
        shutil.rmtree(self.home)

    @rule(path=PATHS, texts=TEXTS)
    def put(self, path: str, texts: list[str]) -> None:
        with self.store.transaction():
            chunks = [Chunk(text, "", n, n) for n, text in enumerate(texts, 1)]
            self.store.put(path, StoredDocument(0, 0, ""), chunks)
        self.model[path] = texts
        self.synced = False

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        with self.store.transaction():
            self.store.remove(path)
        self.model.pop(path, None)
        self.synced = False

    @rule(path=PATHS, new=PATHS)
    def rename(self, path: str, new: str) -> None:
        if path in self.model and new not in self.model:
            with self.store.transaction():
                self.store.rename(path, new)
            self.model[new] = self.model.pop(path)
            self.synced = False

    @rule()
    def reopen(self) -> None:
        self.lexical = LexicalIndex(self.home + "/lexical")

    @rule()
    def lose_the_lexical_index(self) -> None:
        shutil.rmtree(self.home + "/lexical", ignore_errors=True)
        self.lexical = LexicalIndex(self.home + "/lexical")
        self.synced = False

    @rule()
    def sync(self) -> None:
        self.lexical.sync(self.store)
        self.synced = True

    @invariant()
    def the_store_holds_the_model(self) -> None:
        stored = sorted((p.path, p.text) for p in self.store.chunks_after(0))
        assert stored == sorted((path, text) for path in self.model for text in self.model[path])

    @precondition(lambda self: self.synced)
    @invariant()
    def every_chunk_is_found_by_its_word_and_its_path(self) -> None:
        assert self.lexical.agrees(self.store)
        for word in [*WORDS, "p1", "p2", "p3"]:
            found = [match.id for match in self.lexical.search(word, 99)]
            expected = [
                p.id
                for p in self.store.chunks_after(0)
                if word == p.text or p.path.startswith(word)
            ]
            assert sorted(found) == sorted(expected)


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
