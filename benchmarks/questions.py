"""Questions about published source packages: where their answers rank.

questions.json holds the packages, the questions, and the files that answer each. A package is
fetched, indexed and asked; each ranking is a list of files.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.bm25 import PlainBM25
from benchmarks.ndcg import DEPTH, ndcg, summary
from hotstart import Embedder
from hotstart.search import SearchIndex
from hotstart.search.location import DATABASE, locate
from hotstart.search.semantic import Semantic
from hotstart.search.store import Store

COLUMNS = ("lexical", "BM25", "semantic", "RRF", "hybrid")
_CHUNKS = 60  # to ask for, so that ten files are among them
_TEST = re.compile(r"(^|/)(tests?|t|spec|specs|Tests)/|(^|/)test_|[._-]test\.|_test\.")


class Question(NamedTuple):
    """A question, its kind, and the grade of each file that answers it: 2, or 1 if it helps."""

    kind: str
    query: str
    files: dict[str, float]


class Package(NamedTuple):
    """A published package of sources, and what is asked about it.

    Attributes:
        registry: `pypi` or `npm`.
        requirement: the name and the version there.
        split: `dev`, which constants may be chosen on; `test`; or `large`.
    """

    name: str
    language: str
    registry: str
    requirement: str
    split: str
    questions: list[Question]


class Answered(NamedTuple):
    """A question with its rankings by name."""

    question: Question
    rankings: dict[str, list[str]]

    def gain(self, column: str) -> float:
        """Return the nDCG@10 of a ranking."""
        return ndcg(self.rankings[column], self.question.files)

    @property
    def first(self) -> str:
        """The first lexical answer; empty without one."""
        return next(iter(self.rankings["lexical"]), "")


def read_packages(split: str | None = None) -> list[Package]:
    """Return the packages of `split`, or all."""
    data = json.loads(Path(__file__).with_name("questions.json").read_text(encoding="utf-8"))
    found = []
    for each in data["packages"]:
        questions = [Question(**question) for question in each.pop("questions")]
        if split in {None, each["split"]}:
            found.append(Package(**each, questions=questions))
    return found


def fetch(package: Package, folder: Path) -> Path:
    """Return the unpacked sources of a package; download them where they are absent."""
    place = folder / package.name
    if place.is_dir():
        return place
    with tempfile.TemporaryDirectory() as download:
        if package.registry == "npm":
            command = ["npm", "pack", "--silent", package.requirement]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", ":all:", package.requirement]
        subprocess.run(command, cwd=download, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(download).iterdir()
        unpacked = Path(download, "unpacked")
        if archive.suffix == ".zip":
            zipfile.ZipFile(archive).extractall(unpacked)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
        (top,) = unpacked.iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(str(top), place)
    return place


# Rankings ---------------------------------------------------------------------------------------

Rank = Callable[[str], list[str]]
"""Returns the files that answer a query, best first; a file may be there again."""


def rankings_of(root: Path, embedder: Embedder | None, most_chunks: int) -> dict[str, Rank]:
    """Return the rankings of the folder `root` by name.

    Those with vectors need an embedder and no more than `most_chunks` chunks.
    """
    index = SearchIndex(root)
    chunks = index.update().chunks
    found = {"lexical": _asked(index)}
    if importlib.util.find_spec("bm25s"):
        found["BM25"] = _plain_bm25(root)
    if embedder and chunks <= most_chunks:
        hybrid = SearchIndex(root, embedder)
        hybrid.update()
        found["semantic"] = _semantic(root, embedder)
        found["RRF"] = _asked(SearchIndex(root, embedder, fusion="rrf"))
        found["hybrid"] = _asked(hybrid)
    return found


def _asked(index: SearchIndex) -> Rank:
    return lambda query: [hit.path for hit in index.search(query, top_k=DEPTH).hits]


def _plain_bm25(root: Path) -> Rank:
    with _store(root) as store:
        passages = list(store.chunks_after(0))
    plain = PlainBM25([passage.text for passage in passages])
    return lambda query: [passages[place].path for place in plain.best(query, _CHUNKS)]


def _semantic(root: Path, embedder: Embedder) -> Rank:
    semantic = Semantic(embedder)

    def rank(query: str) -> list[str]:
        with _store(root) as store:
            ids = [chunk for chunk, _ in semantic.nearest(store, query, _CHUNKS, None).ranking]
            passages = store.passages(ids)
        return [passages[chunk].path for chunk in ids]

    return rank


def _store(root: Path) -> Store:
    return Store(str(Path(locate([str(root)]).home, DATABASE)))


def ask(package: Package, root: Path, rankings: Mapping[str, Rank]) -> Iterator[Answered]:
    """Yield the questions of a package with their answers."""
    for question in package.questions:
        missing = [path for path in question.files if not (root / path).is_file()]
        assert not missing, f"{package.requirement} has no {missing}"
        found = {name: rank(question.query) for name, rank in rankings.items()}
        yield Answered(question, found)


# Tables -----------------------------------------------------------------------------------------


def measure(
    folder: Path, split: str | None, embedder: Embedder | None, most_chunks: int, worst: bool
) -> None:
    """Print the figures of each split; with vectors, of packages of at most `most_chunks`."""
    packages = read_packages(split)
    for name in dict.fromkeys(package.split for package in packages):
        print(row(f"questions, {name}", "n", "first", COLUMNS))
        every: list[Answered] = []
        for package in (package for package in packages if package.split == name):
            root = fetch(package, folder)
            answered = list(ask(package, root, rankings_of(root, embedder, most_chunks)))
            if worst:
                _print_worst(answered)
            print(_figures(f"{package.name} ({package.language})", answered), flush=True)
            every += answered
        _print_totals(every)


def _print_totals(every: Sequence[Answered]) -> None:
    print(_figures("all", every))
    with_vectors = [each for each in every if "hybrid" in each.rankings]
    if 0 < len(with_vectors) < len(every):
        print(_figures("of them with vectors", with_vectors))
    for kind in dict.fromkeys(each.question.kind for each in every):
        print(_figures(f"  {kind}", [each for each in every if each.question.kind == kind]))
    unasked = [each for each in every if each.question.kind not in {"test", "benchmark"}]
    tests = sum(bool(_TEST.search(each.first)) for each in unasked)
    print(f"a test first that nobody asked for: {tests} of {len(unasked)}\n")


def _figures(title: str, answered: Sequence[Answered]) -> str:
    cells = []
    for column in COLUMNS:
        known = all(column in each.rankings for each in answered)
        cells.append(summary([each.gain(column) for each in answered]) if known else "–")
    first = sum(each.first in each.question.files for each in answered)
    return row(title, str(len(answered)), str(first), cells)


def row(title: str, count: str, first: str, cells: Sequence[str]) -> str:
    """Return a line of a table."""
    rest = "  ".join(f"{cell:13}" for cell in cells).rstrip()
    return f"{title:40} {count:>4} {first:>5}  {rest}"


def _print_worst(answered: Sequence[Answered]) -> None:
    for each in answered:
        if each.gain("lexical") < 1:
            first = list(dict.fromkeys(each.rankings["lexical"]))[:4]
            files = list(each.question.files)
            print(f"  {each.gain('lexical'):.2f} {each.question.query!r} {first} not {files}")
