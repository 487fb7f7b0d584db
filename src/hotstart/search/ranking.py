"""Signals that put the right place of a folder first: pure functions over a few candidates.

A score is the sum of its parts. The unit is the lexical score of an average one of the ten best, so
that a part of 1 outweighs what words alone decide among them.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.definitions import symbols_of
from hotstart.search.words import joined, parts_of, query_words

if TYPE_CHECKING:
    from hotstart.search.store import Passage

MOST_CANDIDATES = 200
"""Candidates that are looked at; those below keep their order behind them."""


class Candidate(NamedTuple):
    """A chunk that holds words of the query.

    Attributes:
        passage: the chunk.
        score: its BM25 score.
        defines: whether it defines a symbol of the query.
    """

    passage: Passage
    score: float
    defines: bool


class Ranked(NamedTuple):
    """A chunk with the parts of its score by name."""

    passage: Passage
    parts: dict[str, float]

    @property
    def score(self) -> float:
        """The sum of the parts."""
        return sum(self.parts.values())


class FileGroup(NamedTuple):
    """The best chunk of a file, and the chunks that it stands for.

    Those are others of the file, and nearly equal ones of other files.
    """

    best: Ranked
    others: list[Ranked]


_PATH = 1.0
_DEFINITION = 2.0
_NAMED_SO = 1.5  # times the definition, in a file that is called like the symbol
_FILE = 0.75
_USE = 0.5  # files in use go before equally good ones, not before clearly better ones
_CLOSE = 4  # power of the share of the best score
_BEST = 10  # lexical scores whose mean is the unit
_SUMMED = 60  # best chunks that speak for their file
_HALF = 0.5  # of what a word in the file's name counts for one in its folder's
_PROSE = "document"  # a page with more good parts is no better page, a source with more is
_MOST = 0.8  # of the files: a penalty for more of them would say nothing


class _Penalty(NamedTuple):
    """A kind of files that stand behind sources, unless the query asks for them."""

    name: str
    value: float
    paths: re.Pattern[str]
    words: str


def _paths(folders: str, names: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/)(?:(?:{folders})/|(?:{names})$)", re.IGNORECASE)


_PENALTIES = (
    _Penalty(
        "test",
        -1.0,
        _paths(
            r"tests?|__tests?__|specs?|testing|test[-_]?data|fixtures|e2e|__mocks__|[\w.-]+[-_]tests?",
            r"tests?[-_][^/]*|tests?\.\w+|conftest\.py|[^/]*[-_.](?:tests?|specs?|e2e)(?:-d)?\.\w+"
            r"|[^/]*(?-i:Tests?|Spec)\.(?:java|kt|cs|scala|swift|php|groovy)",
        ),
        "test tests testing tested spec specs fixture fixtures mock mocks unittest",
    ),
    _Penalty(
        "example",
        -0.5,
        _paths(
            r"examples?|demos?|samples?|benchmarks?|bench|docs?|documentation|tutorials?|vendor(?:ed)?"
            r"|_vendor|third[-_]?party|node_modules|dist|build|out|generated|site|website|scripts",
            r"[^/]*\.min\.\w+|[^/]*_pb2?\.\w+|[^/]*\.(?:generated|pb|g)\.\w+|bench[-_][^/]*",
        ),
        "example examples demo demos sample benchmark benchmarks tutorial doc docs"
        " documentation guide vendor vendored",
    ),
    _Penalty(
        "document",
        -0.5,
        _paths(
            r"\.github|locales?|licenses?",
            r"[^/]*\.(?:md|markdown|mdx|rst|txt|adoc|json|lock|ya?ml|toml|ini|cfg|csv|tsv|xml|html?|css"
            r"|svg|map|po|pot|properties)|licen[sc]e[^/]*|changelog[^/]*|changes[^/]*|authors[^/]*",
        ),
        "doc docs documentation readme changelog changes guide markdown license config"
        " configuration settings json yaml toml css html",
    ),
    _Penalty(
        "declaration",
        -0.25,
        _paths("(?!)", r"[^/]*\.(?:d\.[cm]?ts|pyi|hh?|hpp|hxx)"),
        "header headers type types typing stub stubs declaration declarations interface",
    ),
)


def rank_candidates(query: str, candidates: Sequence[Candidate]) -> list[Ranked]:
    """Return `candidates`, given by falling score, with all signals counted, best first."""
    looked_at = candidates[:MOST_CANDIDATES]
    if not looked_at:
        return []
    best = sorted((each.score for each in looked_at), reverse=True)[:_BEST]
    unit = sum(best) / len(best) or 1.0
    words = list(dict.fromkeys(query_words(query)))
    symbols = symbols_of(query)
    of_file = _parts_of_files(words, looked_at)
    ranked = []
    for each in looked_at:
        parts = {"words": each.score / unit}
        if each.defines:
            parts["definition"] = _definition(symbols, each.passage.path)
        ranked.append(Ranked(each.passage, parts | of_file[each.passage.path]))
    ranked.sort(key=lambda each: (-each.score, each.passage.id))
    lowest = ranked[-1].score
    for each in candidates[MOST_CANDIDATES:]:
        share = each.score / unit
        ranked.append(Ranked(each.passage, {"words": share, "depth": min(0.0, lowest - share)}))
    return ranked


def _parts_of_files(
    words: Sequence[str], candidates: Sequence[Candidate]
) -> dict[str, dict[str, float]]:
    """Return the parts that all chunks of a file share, by its path."""
    files = {each.passage.path: _file_facts(each.passage.path) for each in candidates}
    parts = {path: {"path": _PATH * _named(words, facts)} for path, facts in files.items()}
    for penalty in _PENALTIES:
        if set(words).isdisjoint(penalty.words.split()):
            hit = {path for path, facts in files.items() if penalty.name in facts.kinds}
            if len(hit) < _MOST * len(files):
                for path in hit:
                    parts[path][penalty.name] = penalty.value
                if penalty.name == _PROSE:
                    for path, share in _coherence(candidates).items():
                        if path not in hit:
                            parts[path]["file"] = _FILE * share
    return parts


class _FileFacts(NamedTuple):
    """What a path says: the words of its name and folder, each after a blank, and its kinds."""

    name: str
    folder: str
    kinds: frozenset[str]


@functools.lru_cache(maxsize=20_000)
def _file_facts(path: str) -> _FileFacts:
    folder, name = posixpath.split(path)
    kinds = (penalty.name for penalty in _PENALTIES if penalty.paths.search(path))
    return _FileFacts(
        name=_name_words(name if name.startswith(".") else name.split(".")[0]),
        folder=_name_words(posixpath.basename(folder)),
        kinds=frozenset(kinds),
    )


def _name_words(name: str) -> str:
    plain = re.sub(r"\W+", "_", name)
    return "".join(f" {word}" for word in dict.fromkeys([*parts_of(plain), joined(plain)]) if word)


def _coherence(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return how much of the best chunks each file holds, in shares of the file with most."""
    sums: dict[str, float] = defaultdict(float)
    for each in candidates[:_SUMMED]:
        sums[each.passage.path] += each.score
    most = max(sums.values()) or 1.0
    return {path: total / most for path, total in sums.items()}


def _named(words: Sequence[str], file: _FileFacts) -> float:
    """Return the share of `words` that the name of the file holds; half for its folder's."""
    found = 0.0
    for word in words:
        start = f" {word[:3]}"  # which nearly all files lack
        if start in file.name and _holds(file.name, word):
            found += 1.0
        elif start in file.folder and _holds(file.folder, word):
            found += _HALF
    return found / max(1, len(words))


def _holds(names: str, word: str) -> bool:
    """Return whether one of `names` is `word`, or one begins the other with 3 letters or more."""
    return any(
        name == word
        or (min(len(name), len(word)) >= 3 and (name.startswith(word) or word.startswith(name)))
        for name in names.split()
    )


def _definition(symbols: Sequence[str], path: str) -> float:
    stem = joined(re.sub(r"\W+", "_", posixpath.basename(path).split(".")[0]))
    return _DEFINITION * (_NAMED_SO if stem in symbols else 1.0)


def with_activation(ranked: Sequence[Ranked], activations: Mapping[str, float]) -> list[Ranked]:
    """Return `ranked`, best first, with the activation of their files counted.

    The part falls with the fourth power of the score: what answers badly gains little by its use.

    Args:
        ranked: the chunks, best first.
        activations: how likely each file is wanted, from 0 to 1, by its path.
    """
    best = ranked[0].score if ranked else 0.0
    if not activations or best <= 0:
        return list(ranked)
    used = []
    for each in ranked:
        share = max(0.0, each.score / best)
        part = _USE * min(1.0, best) * share**_CLOSE * activations.get(each.passage.path, 0.0)
        used.append(each._replace(parts=each.parts | {"use": part}) if part else each)
    return sorted(used, key=lambda each: (-each.score, each.passage.id))


_FEW = 8  # distinct words: shorter texts are alike by chance
_ALIKE = 0.9  # of the words of two texts that both hold
_COMPARED = 50  # best groups that a file is compared with


def grouped(ranked: Iterable[Ranked], limit: int, texts: Mapping[int, str]) -> list[FileGroup]:
    """Return the first `limit` groups, one for each file, in the order of their best chunks.

    A file whose best chunk nearly equals that of a better file joins its group; `texts` holds
    those to compare, by the id of the chunk.
    """
    groups: list[FileGroup] = []
    of_file: dict[str, FileGroup | None] = {}
    words: list[set[str]] = []
    for each in ranked:
        path = each.passage.path
        if path in of_file:
            known = of_file[path]
        elif len(groups) == limit:
            known = None
        else:
            own = set(texts.get(each.passage.id, "").split())
            alike = (at for at, other in enumerate(words) if _are_alike(own, other))
            at = next(alike, len(groups))
            if at == len(groups):
                groups.append(FileGroup(each, []))
                of_file[path] = groups[at]
                words += [own] if at < _COMPARED else []
                continue
            known = groups[at]
        of_file[path] = known
        if known is not None:
            known.others.append(each)
    return groups


def _are_alike(one: set[str], other: set[str]) -> bool:
    if min(len(one), len(other)) < max(_FEW, _ALIKE * max(len(one), len(other))):
        return False
    shared = len(one & other)
    return shared >= _ALIKE * (len(one) + len(other) - shared)
