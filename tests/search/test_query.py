from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.query import Query, file_filter, files_of, parse_query


def parts(query: str) -> dict[str, object]:
    """Return what `query` holds besides words."""
    found = parse_query(query)._asdict()
    found.pop("words")
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"idle pool" timeout', {"text": "idle pool timeout", "phrases": ("idle pool",)}),
        ('pool "a b" "c d"', {"text": "pool a b c d", "phrases": ("a b", "c d")}),
        ("backup -nightly", {"text": "backup", "excluded": ("nightly",)}),
        ("-nightly backup", {"text": "backup", "excluded": ("nightly",)}),
        ('backup -"every night"', {"text": "backup", "excluded": ("every night",)}),
        ("бэкап -ночь", {"text": "бэкап", "excluded": ("ночь",)}),
        ("备份 -夜", {"text": "备份", "excluded": ("夜",)}),
        ("token path:auth.py", {"text": "token", "paths": ("auth.py",)}),
        ("token path:src path:lib", {"text": "token", "paths": ("src", "lib")}),
        ("token -path:tests/", {"text": "token", "excluded_paths": ("tests/",)}),
        ('token path:"my notes/*.md"', {"text": "token", "paths": ("my notes/*.md",)}),
        ("lang:go upload", {"text": "upload", "languages": ("go",)}),
        ("upload language:C++", {"text": "upload", "languages": ("C++",)}),
        ("upload -lang:js", {"text": "upload", "excluded_languages": ("js",)}),
        ("upload lang:rs", {"text": "upload", "languages": ("rs",)}),
    ],
)  # fmt: skip
def test_syntax_is_taken_out_of_the_text(query: str, expected: dict[str, object]) -> None:
    assert parts(query) == expected


PASTED = [
    "std::vector<int>",
    "--dry-run",
    "what does --force-with-lease do",
    "curl -k https://example.org:8080/a?b=c#d",
    "git commit -m \"fix typo\" -amend",
    "gcc -Wall -O2 -o foo main.c",
    "tar -xzf a.tgz --exclude=b",
    "http://localhost:8080/path:x",
    "-v",
    "-Werror",
    '"',
    '"unclosed quote',
    'unclosed "quote here',
    'say "hello',
    'x = {"key": "some value", "b": 1}',
    'TypeError: f("a b") takes no "c d", got "e f";',
    'File "/usr/lib/python3/site.py", line 3, in main',
    "Traceback (most recent call last):\n  File \"a b\" \n  -nightly lang:python path:src\n",
    "def f(self, path:str, lang:Language) -> None",
    "path: docs lang: en",
    "lang:klingon upload",
    "lang:en",
    "path::join",
    "a -> b - c -- d -1 -3.5 x-ray",
    "- item\t- other",
    "re-load co-operative",
    "path:src",
    "lang:python",
    "NOT NULL OR 1=1",
    "don't 'quote me'",
    "?! -- \"--\" -\"--\"",
    'how do I disable the "did you mean" feature and have it search for what I typed -really',
    "pool AND (closed OR open)~2^3 [a TO b] field:*",
]  # fmt: skip


@pytest.mark.parametrize("query", PASTED)
def test_what_users_paste_is_text(query: str) -> None:
    assert parts(query) == {"text": query}


def test_filters_may_stand_alone_beside_a_regular_expression() -> None:
    query = parse_query("path:src -lang:go", needs_words=False)
    assert (query.text, query.paths, query.excluded_languages) == ("", ("src",), ("go",))
    assert parse_query("", needs_words=False).is_plain


@given(st.text())
def test_no_query_is_an_error(text: str) -> None:
    query = parse_query(text)
    assert isinstance(query, Query)
    assert query.is_plain or query.words
    assert isinstance(file_filter(query)("a/b.py"), bool)


@given(st.text(alphabet='ab "-:*[]\\/pathlng\n', max_size=30))
def test_no_query_of_much_syntax_is_an_error(text: str) -> None:
    query = parse_query(f"path:{text} -path:*{text} {text}")
    assert isinstance(file_filter(query)("a/b.py"), bool)


FILES = [
    "readme.md",
    "src/app/main.py",
    "src/app/Main.java",
    "lib/src/x.js",
    "tests/test_main.py",
    "Dockerfile",
    "my notes/a.md",
    ".github/ci.yml",
]


@pytest.mark.parametrize(
    ("query", "passing"),
    [
        ("x path:main", ["src/app/main.py", "src/app/Main.java", "tests/test_main.py"]),
        ("x path:MAIN.py", ["src/app/main.py", "tests/test_main.py"]),
        ("x path:src/", ["src/app/main.py", "src/app/Main.java", "lib/src/x.js"]),
        ("x path:/src", ["src/app/main.py", "src/app/Main.java"]),
        ("x path:./src/", ["src/app/main.py", "src/app/Main.java"]),
        ("x path:*.py", ["src/app/main.py", "tests/test_main.py"]),
        ("x path:*.JS path:*.md", ["readme.md", "lib/src/x.js", "my notes/a.md"]),
        ("x path:src/*.js", ["lib/src/x.js"]),
        ("x path:/src/*.js", []),
        ("x path:src/**/main.*", ["src/app/main.py", "src/app/Main.java"]),
        ("x path:t?sts", ["tests/test_main.py"]),
        ("x path:main -path:test*", ["src/app/main.py", "src/app/Main.java"]),
        ("x path:.github", [".github/ci.yml"]),
        ('x path:"my notes"', ["my notes/a.md"]),
        ("x lang:python", ["src/app/main.py", "tests/test_main.py"]),
        ("x lang:java lang:js", ["src/app/Main.java", "lib/src/x.js"]),
        ("x lang:docker", ["Dockerfile"]),
        ("x -lang:py -lang:md -path:src", ["Dockerfile", ".github/ci.yml"]),
        ("x lang:python path:src", ["src/app/main.py"]),
    ],
)  # fmt: skip
def test_filters_choose_files(query: str, passing: list[str]) -> None:
    passes = file_filter(parse_query(query))
    assert [path for path in FILES if passes(path)] == passing


def test_a_language_has_names_and_extensions() -> None:
    assert files_of("Python") == files_of("py") == (".py", ".pyi", ".pyw")
    assert files_of("c++") == files_of("cpp")
    assert files_of("pyi") == files_of(".pyi") == (".pyi",)
    assert files_of("klingon") == ()
