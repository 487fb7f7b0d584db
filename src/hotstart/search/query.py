"""The query language: what a query says, and which chunks its filters leave.

Whatever users paste is a query, and none of it filters by accident. Syntax stands between blanks:
`"a phrase"`, `-word`, `-"a phrase"`, `path:part`, `path:GLOB`, `-path:...`, `lang:name`,
`-lang:name`. All else is text, and so is the whole query where

- it has several lines: a stack trace, a log, code;
- without its syntax no word is left to search for.

Neither phrases nor words to leave out are in

- a command line, told by its options (`--all`, `-v`, `-O2`, `-o=x`);
- prose: more than eight words besides them. It cites in quotes.

An option of three letters or more is a word to leave out where nothing tells that the query is a
command; the answer says what it left out.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.gitignore import GitignorePatterns
from hotstart.search.words import all_query_words, normalized

if TYPE_CHECKING:
    from hotstart.search.expressions import Expression
    from hotstart.search.lexical import LexicalIndex
    from hotstart.search.store import Store


class Query(NamedTuple):
    """What a query asks for.

    Attributes:
        text: what is searched: the query without its filters and quotes.
        words: the words of the text as they are looked up.
        phrases: words that stand in this order in what is found.
        excluded: words and phrases whose files are left out.
        paths: globs and parts of paths, one of which the path of a file matches.
        excluded_paths: those that it must not match.
        languages: names of languages, one of which the file is in.
        excluded_languages: those that it must not be in.
    """

    text: str
    words: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    excluded_paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    excluded_languages: tuple[str, ...] = ()

    @property
    def filters_files(self) -> bool:
        """Whether the path of a file decides."""
        return any((self.paths, self.excluded_paths, self.languages, self.excluded_languages))

    @property
    def is_plain(self) -> bool:
        """Whether any chunk may be an answer."""
        return not (self.filters_files or self.phrases or self.excluded)


_SYNTAX = re.compile(
    r"(?<!\S)(?P<minus>-?)(?:"
    r'(?P<key>path|lang|language):(?:"(?P<quoted>[^"]+)"|(?P<value>[^\s:"\'(){}<>,;=][^\s"\'(){}<>,;=]*))'
    r'|"(?P<phrase>[^"]+)"'
    r"|(?P<word>(?<=-)(?:[A-Za-z]\w{2,}|[^\x00-\x7f\s][^\s!-/:-@\[-^`{-~]*))"
    r")(?!\S)"
)
_MOST_BESIDES = 8  # words of a query with phrases
_OPTION = re.compile(r"(?<!\S)(?:--[A-Za-z]|-[A-Za-z](?:[A-Za-z]?(?!\S)|\d|[\w-]*=))")


def parse_query(query: str, *, needs_words: bool = True) -> Query:
    """Return what `query` asks for; the rules are those of this module.

    Without `needs_words` its filters may stand alone.
    """
    plain = Query(query, tuple(all_query_words(query)))
    if len(query.strip().splitlines()) > 1:
        return plain
    found: dict[str, list[str]] = {}
    is_long = len(_SYNTAX.sub("", query).split()) > _MOST_BESIDES
    is_pasted = is_long or _OPTION.search(query) is not None

    def take(match: re.Match[str]) -> str:
        """Note a part of the syntax and return what remains of it in the text."""
        if match["key"]:
            kind = "paths" if match["key"] == "path" else "languages"
            value = match["quoted"] or match["value"]
            if kind == "languages" and not files_of(value):
                return match[0]
        else:
            kind = "excluded" if match["minus"] else "phrases"
            value = match["phrase"] or match["word"]
            if is_pasted or not all_query_words(value):
                return match[0]
        is_inverse = match["minus"] and match["key"]
        found.setdefault(f"excluded_{kind}" if is_inverse else kind, []).append(value)
        return value if kind == "phrases" else ""

    text = _SYNTAX.sub(take, query)
    words = tuple(all_query_words(text))
    if not found or (needs_words and not words):
        return plain
    lists = {kind: tuple(dict.fromkeys(values)) for kind, values in found.items()}
    return Query(" ".join(text.split()), words, **lists)


def file_filter(query: Query) -> Callable[[str], bool]:
    """Return what tells whether the path of a file passes the filters of `query`."""
    wanted = _any_of(map(_path_test, query.paths))
    unwanted = _any_of(map(_path_test, query.excluded_paths))
    spoken = _any_of(map(_language_test, query.languages))
    unspoken = _any_of(map(_language_test, query.excluded_languages))

    def passes(path: str) -> bool:
        path = normalized(path).lower()
        is_wanted = (not query.paths or wanted(path)) and (not query.languages or spoken(path))
        return is_wanted and not unwanted(path) and not unspoken(path)

    return passes


Test = Callable[[str], bool]


def _any_of(tests: Iterable[Test]) -> Test:
    every = list(tests)
    return lambda path: any(test(path) for test in every)


def _path_test(value: str) -> Test:
    """Return the test of `path:value`: a glob as in .gitignore at any depth, or a part of the path.

    A slash at its beginning binds it to the indexed folder.
    """
    value = normalized(value).lower()
    value = value[1:] if value.startswith("./") else value
    is_bound = value.startswith("/")
    if re.search(r"[*?\[]", value):
        glob = value if is_bound or "/" not in value.rstrip("/") else f"**/{value}"
        return GitignorePatterns("", [glob.encode()]).covers
    return lambda path: f"/{path}".startswith(value) if is_bound else value in path


def _language_test(name: str) -> Test:
    extensions = tuple(each for each in files_of(name) if each.startswith("."))
    names = {each for each in files_of(name) if not each.startswith(".")}
    return lambda path: path.endswith(extensions) or posixpath.basename(path) in names


# A language a line: its names, and the ends and names of its files, as in GitHub Linguist.
_LANGUAGES = """
ada: .adb .ads
assembly asm: .asm .s
bash shell sh zsh: .sh .bash .zsh .bats .ksh
batch: .bat .cmd
c: .c .h
c# csharp cs: .cs .csx
c++ cpp cxx: .cpp .cc .cxx .c++ .hpp .hh .hxx .h++ .h .ipp .tpp
clojure clj: .clj .cljs .cljc .edn
cmake: .cmake cmakelists.txt
common-lisp lisp: .lisp .lsp .cl
crystal: .cr
css: .css
cuda: .cu .cuh
cython: .pyx .pxd .pxi
d: .d
dart: .dart
docker dockerfile: .dockerfile dockerfile containerfile
elixir: .ex .exs
elm: .elm
emacs-lisp elisp: .el
erlang: .erl .hrl
f# fsharp: .fs .fsi .fsx
fortran: .f .f90 .f95 .f03 .f08 .for
go golang: .go
graphql: .graphql .gql
groovy: .groovy .gradle
haskell: .hs .lhs
html: .html .htm .xhtml
ini: .ini .cfg .conf
java: .java
javascript js: .js .mjs .cjs .jsx
json: .json .jsonc .json5 .jsonl
julia: .jl
jupyter notebook ipynb: .ipynb
kotlin: .kt .kts
latex tex: .tex .sty .cls .bib
less: .less
lua: .lua
makefile make: .mk .mak makefile gnumakefile
markdown md: .md .markdown .mdx
matlab: .m
nim: .nim
nix: .nix
objective-c objc: .m .mm .h
ocaml: .ml .mli
pascal delphi: .pas .pp .dpr
perl: .pl .pm .t
php: .php .phtml
powershell pwsh: .ps1 .psm1 .psd1
protobuf proto: .proto
python py: .py .pyi .pyw
r: .r .rmd
restructuredtext rest: .rst
ruby rb: .rb .rake .gemspec rakefile gemfile
rust rs: .rs
sass scss: .sass .scss
scala: .scala .sc
scheme: .scm .ss
solidity: .sol
sql: .sql
svelte: .svelte
swift: .swift
terraform hcl: .tf .tfvars .hcl
text txt: .txt
toml: .toml
typescript ts: .ts .tsx .mts .cts
verilog systemverilog: .v .vh .sv .svh
vhdl: .vhd .vhdl
vim viml: .vim
vue: .vue
xml: .xml .xsd .xsl .xslt .svg
yaml yml: .yaml .yml
zig: .zig
"""


@functools.cache
def _files_by_language() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in _LANGUAGES.strip().splitlines():
        names, _, files = line.partition(": ")
        table.update(dict.fromkeys(names.split(), tuple(files.split())))
    return table


def files_of(language: str) -> tuple[str, ...]:
    """Return the ends and the names of the files in `language`, or of an extension such as `rs`."""
    name = language.lower()
    known = _files_by_language()
    extension = f".{name.removeprefix('.')}"
    is_extension = any(extension in files for files in known.values())
    return known.get(name) or ((extension,) if is_extension else ())


# What the filters leave ------------------------------------------------------------------


class Selection(NamedTuple):
    """What the filters of a query leave.

    Attributes:
        ids: the chunks in the order of their files.
        notes: what an answer must say of the filters.
    """

    ids: list[int]
    notes: tuple[str, ...]


def select_chunks(
    query: Query, store: Store, lexical: LexicalIndex, expression: Expression | None = None
) -> Selection:
    """Return the chunks that pass the filters of `query` and hold a match of `expression`.

    That is before any ranking is cut, so that the limit counts what passes. Phrases that no file
    holds do not count: their words are searched.
    """
    notes: list[str] = []
    passes = file_filter(query)
    documents = {one for one, path in store.paths().items() if passes(path)}
    if query.filters_files and not documents:
        notes.append("no indexed file passes the filters of path and language")
    for excluded in query.excluded:
        is_phrase = len(excluded.split()) > 1
        found = lexical.holding_phrase(excluded) if is_phrase else lexical.holding(excluded)
        documents.difference_update(store.documents_of(found).values())
        notes.append(f"without files that hold {excluded!r}")
    ids = store.chunks_of(sorted(documents))
    if query.phrases and ids:
        phrased = _with_phrases(query.phrases, set(ids), store, lexical)
        if phrased:
            ids = [one for one in ids if one in phrased]
        else:
            missing = " and ".join(f'"{phrase}"' for phrase in query.phrases)
            notes.append(f"no file holds {missing}: its words were searched")
    if expression and ids:
        matching = _matching(expression, store)
        ids = [one for one in ids if one in matching]
    return Selection(ids, tuple(notes))


def _with_phrases(
    phrases: Sequence[str], among: Collection[int], store: Store, lexical: LexicalIndex
) -> set[int]:
    """Return the chunks with one of `phrases`, of the files that hold all of them."""
    chunks: set[int] = set()
    documents: set[int] | None = None
    for phrase in phrases:
        found = [one for one in lexical.holding_phrase(phrase) if one in among]
        held = set(store.documents_of(found).values())
        documents = held if documents is None else documents & held
        chunks.update(found)
    of = store.documents_of(list(chunks))
    return {one for one in chunks if of.get(one) in (documents or ())}


def _matching(expression: Expression, store: Store) -> set[int]:
    """Return the chunks that hold a match of `expression`."""
    literal = max(expression.literals, key=len, default="")
    texts = store.each_text(literal)
    return {one for one, text in texts if next(expression.lines(text), None)}
