"""Signals that put the right place of a folder first: pure functions over a few candidates.

A score is the sum of its parts. The unit is the lexical score of an average one of the ten best, so
that a part of 1 outweighs what words alone decide among them.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import filterfalse, islice
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.definitions import symbols_of
from hotstart.search.fusion import unit_of
from hotstart.search.words import joined, parts_of, query_words

if TYPE_CHECKING:
    from hotstart.search.store import Passage

MOST_CANDIDATES = 200
"""Candidates that are looked at; those below keep their order behind them."""


class Candidate(NamedTuple):
    """A chunk that may answer the query.

    Attributes:
        passage: the chunk.
        score: its BM25 score.
        defines: whether it defines a symbol of the query.
        semantic: what its vector adds.
    """

    passage: Passage
    score: float
    defines: bool
    semantic: float = 0.0


class Ranked(NamedTuple):
    """A chunk with its score, the sum of its parts.

    Attributes:
        passage: the chunk.
        score: the sum.
        own: the parts of the chunk, by name.
        of_file: the parts that all chunks of its file share.
    """

    passage: Passage
    score: float
    own: dict[str, float]
    of_file: dict[str, float]

    @property
    def parts(self) -> dict[str, float]:
        """All parts by name."""
        return self.own | self.of_file


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
_SUMMED = 60  # best chunks that speak for their file
_PREFIX = 3  # letters that two words must share
_HALF = 0.5  # of what a word in the file's name counts for one in its folder's
_PROSE = "document"  # a page with more good parts is no better page, a source with more is
_MOST = 0.8  # of the files: a penalty for more of them would say nothing


class _Penalty(NamedTuple):
    """A kind of files that stand behind sources, unless the query asks for them."""

    name: str
    value: float
    paths: re.Pattern[str]
    words: frozenset[str]


def _paths(folders: str, names: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/)(?:(?:{folders})/|(?:{names})$)", re.IGNORECASE)


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TEST = _Penalty(
    "test",
    -1.0,
    _paths(
        r"tests?|__tests?__|specs?|testing|test[-_]?data|fixtures|e2e|__mocks__|[\w.-]+[-_]tests?",
        r"tests?[-_][^/]*|tests?\.\w+|conftest\.py|[^/]*[-_.](?:tests?|specs?|e2e)(?:-d)?\.\w+"
        r"|[^/]*(?-i:Tests?|Spec)\.(?:java|kt|cs|scala|swift|php|groovy)",
    ),
    _words("test tests testing tested spec specs fixture fixtures mock mocks unittest"),
)
_PENALTIES = (  # the largest first: of several kinds of a file, one counts
    _TEST,
    _Penalty(
        "example",
        -0.5,
        _paths(
            r"examples?|demos?|samples?|benchmarks?|bench|docs?|documentation|tutorials?|vendor(?:ed)?"
            r"|_vendor|third[-_]?party|node_modules|dist|build|out|generated|site|website|scripts",
            r"[^/]*\.min\.\w+|[^/]*_pb2?\.\w+|[^/]*\.(?:generated|pb|g)\.\w+|bench[-_][^/]*",
        ),
        _words(
            "example examples demo demos sample benchmark benchmarks tutorial doc docs"
            " documentation guide vendor vendored"
        ),
    ),
    _Penalty(
        "document",
        -0.5,
        _paths(
            r"\.github|locales?|licenses?",
            r"[^/]*\.(?:md|markdown|mdx|rst|txt|adoc|json|lock|ya?ml|toml|ini|cfg|csv|tsv|xml|html?|css"
            r"|svg|map|po|pot|properties)|licen[sc]e[^/]*|changelog[^/]*|changes[^/]*|authors[^/]*",
        ),
        _words(
            "doc docs documentation readme changelog changes guide tutorial markdown license config"
            " configuration settings json yaml toml css html"
        ),
    ),
    _Penalty(
        "declaration",
        -0.25,
        _paths("(?!)", r"[^/]*\.(?:d\.[cm]?ts|pyi|hh?|hpp|hxx)"),
        _words("header headers type types typing stub stubs declaration declarations interface"),
    ),
)


def rank_candidates(query: str, candidates: Iterable[Candidate]) -> list[Ranked]:
    """Return `candidates` with all signals counted, best first."""
    found = list(candidates)
    unit = unit_of(each.score for each in found)
    found.sort(key=lambda each: each.score / unit + each.semantic, reverse=True)
    looked_at = found[:MOST_CANDIDATES]
    of_file = _parts_of_files(query, looked_at, unit)
    sums = {path: sum(parts.values()) for path, parts in of_file.items()}
    symbols = symbols_of(query)
    wants_tests = not _TEST.words.isdisjoint(query_words(query))
    ranked = []
    for each in looked_at:
        path = each.passage.path
        own = {"words": each.score / unit}
        if each.semantic:
            own["semantic"] = each.semantic
        if each.defines and (not wants_tests or _TEST.name in _file_facts(path).kinds):
            own["definition"] = _definition(symbols, path)
        ranked.append(Ranked(each.passage, sum(own.values()) + sums[path], own, of_file[path]))
    ranked.sort(key=lambda each: (-each.score, each.passage.id))
    for each in found[MOST_CANDIDATES:]:
        own = {"words": each.score / unit, "semantic": each.semantic}
        score = sum(own.values())
        own["depth"] = min(0.0, ranked[-1].score - score)
        ranked.append(Ranked(each.passage, score + own["depth"], own, {}))
    return ranked


def _parts_of_files(
    query: str, candidates: Sequence[Candidate], unit: float
) -> dict[str, dict[str, float]]:
    """Return the parts that all chunks of a file share, by its path."""
    words = list(dict.fromkeys(query_words(query)))
    starts = frozenset(word[:_PREFIX] for word in words)
    parts: dict[str, dict[str, float]] = {}
    hit: dict[str, list[str]] = defaultdict(list)
    penalized: set[str] = set()
    for path in {each.passage.path: None for each in candidates}:
        facts = _file_facts(path)
        named = 0.0 if starts.isdisjoint(facts.starts) else _named(words, facts)
        parts[path] = {"path": _PATH * named}
        for kind in facts.kinds:
            hit[kind].append(path)
    for penalty in _PENALTIES:
        if len(hit[penalty.name]) < _MOST * len(parts) and penalty.words.isdisjoint(words):
            for path in set(hit[penalty.name]) - penalized:
                parts[path][penalty.name] = penalty.value
            penalized.update(hit[penalty.name])
            if penalty.name == _PROSE:
                sources = parts.keys() - hit[_PROSE]
                for path, share in _coherence(candidates, unit, sources).items():
                    parts[path]["file"] = _FILE * share
    return parts


class _FileFacts(NamedTuple):
    """What a path says: the words of its name and folder, their first letters, and its kinds."""

    name: list[str]
    folder: list[str]
    starts: frozenset[str]
    kinds: frozenset[str]


@functools.lru_cache(maxsize=20_000)
def _file_facts(path: str) -> _FileFacts:
    parent, base = posixpath.split(path)
    name = _name_words(base if base.startswith(".") else base.split(".")[0])
    folder = _name_words(posixpath.basename(parent))
    return _FileFacts(
        name=name,
        folder=folder,
        starts=frozenset(word[:_PREFIX] for word in (*name, *folder)),
        kinds=frozenset(penalty.name for penalty in _PENALTIES if penalty.paths.search(path)),
    )


def _name_words(name: str) -> list[str]:
    plain = re.sub(r"\W+", "_", name)
    return [word for word in dict.fromkeys([*parts_of(plain), joined(plain)]) if word]


def _coherence(candidates: Sequence[Candidate], unit: float, paths: Set[str]) -> dict[str, float]:
    """Return how much of the best chunks each of `paths` holds, in shares of the file with most."""
    sums: dict[str, float] = defaultdict(float)
    for each in candidates[:_SUMMED]:
        sums[each.passage.path] += each.score / unit + each.semantic
    most = max(sums.values(), default=0.0) or 1.0
    return {path: total / most for path, total in sums.items() if path in paths}


def _named(words: Sequence[str], file: _FileFacts) -> float:
    """Return the share of `words` that the name of the file holds; half for its folder's."""
    found = 0.0
    for word in words:
        if _holds(file.name, word):
            found += 1.0
        elif _holds(file.folder, word):
            found += _HALF
    return found / max(1, len(words))


def _holds(names: Sequence[str], word: str) -> bool:
    """Return whether one of `names` is `word`, or one begins the other with 3 letters or more."""
    return any(
        name == word
        or (
            min(len(name), len(word)) >= _PREFIX
            and (name.startswith(word) or word.startswith(name))
        )
        for name in names
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
        own = each.own | {"use": part}
        used.append(each._replace(score=each.score + part, own=own) if part else each)
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


def by_reranker(groups: Sequence[FileGroup], scores: Mapping[int, float]) -> list[FileGroup]:
    """Return the best `groups` by the `scores` of a reranker at their positions, best first.

    The first takes the highest score of the groups, and so on. The part `reranker` is what each
    gains by that.
    """
    sums = [group.best.score for group in groups]
    order = sorted(range(len(groups)), key=lambda at: (-scores[at], at))
    reordered = []
    for score, at in zip(sums, order, strict=True):
        best = groups[at].best
        own = best.own | {"reranker": score - best.score}
        reordered.append(groups[at]._replace(best=best._replace(score=score, own=own)))
    return reordered


def _are_alike(one: set[str], other: set[str]) -> bool:
    """Return whether both hold _ALIKE of the words of either; look no further than it takes."""
    if min(len(one), len(other)) < max(_FEW, _ALIKE * max(len(one), len(other))):
        return False
    least = _ALIKE * (len(one) + len(other)) / (1 + _ALIKE)  # words that both hold
    most = int(len(one) - least)
    lacking = islice(filterfalse(other.__contains__, one), most + 1)
    return len(list(lacking)) <= most
