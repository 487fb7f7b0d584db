from __future__ import annotations

import pytest

from hotstart.search.links import FileNames, targets_of

FILES = (
    "README.md",
    "docs/guide.md",
    "docs/api/index.rst",
    "src/pkg/__init__.py",
    "src/pkg/store.py",
    "src/pkg/sub/__init__.py",
    "src/pkg/sub/query.py",
    "old/pkg/store.py",
    "web/app.ts",
    "web/lib/index.ts",
    "web/lib/dates.ts",
    "core/src/main/java/org/acme/Store.java",
    "native/store.c",
    "native/store.h",
    "rust/src/lib.rs",
    "rust/src/index/mod.rs",
    "rust/src/index/query.rs",
    "gem/lib/store/reader.rb",
    "php/src/Acme/Store.php",
    "lua/acme/store.lua",
    "go/internal/store/store.go",
)


@pytest.mark.parametrize(
    ("path", "text", "linked"),
    [
        ("src/pkg/sub/query.py", "from pkg.store import Store", "src/pkg/store.py"),
        ("src/pkg/sub/query.py", "from ..store import Store", "src/pkg/store.py"),
        ("src/pkg/store.py", "    from .sub.query import Query", "src/pkg/sub/query.py"),
        ("src/pkg/store.py", "import pkg.sub", "src/pkg/sub/__init__.py"),
        ("src/pkg/store.py", "import os", None),
        ("src/pkg/store.py", "from .store import itself", None),
        ("web/app.ts", "import { day } from './lib/dates'", "web/lib/dates.ts"),
        ("web/app.ts", "const lib = require('./lib')", "web/lib/index.ts"),
        ("web/lib/dates.ts", "export * from '../app.js'", "web/app.ts"),
        ("web/app.ts", "import React from 'react'", None),
        ("core/A.java", "import org.acme.Store;", "core/src/main/java/org/acme/Store.java"),
        ("core/A.java", "import static org.acme.Store.open;", FILES[11]),
        ("native/store.c", '#include "store.h"', "native/store.h"),
        ("native/store.c", "#include <stdio.h>", None),
        ("rust/src/lib.rs", "pub mod index;", "rust/src/index/mod.rs"),
        ("rust/src/lib.rs", "use crate::index::query::Query;", "rust/src/index/query.rs"),
        ("gem/lib/a.rb", "require 'store/reader'", "gem/lib/store/reader.rb"),
        ("php/src/A.php", "use Acme\\Store;", "php/src/Acme/Store.php"),
        ("lua/main.lua", 'local store = require("acme.store")', "lua/acme/store.lua"),
        ("README.md", "See [the guide](docs/guide.md#install).", "docs/guide.md"),
        ("docs/guide.md", "[API](api/index.rst), [site](https://acme.org)", "docs/api/index.rst"),
        ("docs/guide.md", "<a href='../README.md'>", "README.md"),
        ("docs/api/index.rst", "see :doc:`../guide`", "docs/guide.md"),
        ("data.json", '{"import": "docs/guide.md"}', None),
    ],
)
def test_the_file_that_a_link_names(path: str, text: str, linked: str | None) -> None:
    names = FileNames(FILES)
    found = [names.find(path, target) for target in targets_of(path, text)]
    assert list(filter(None, found)) == ([linked] if linked else [])


def test_of_files_with_one_name_the_nearest_is_meant() -> None:
    names = FileNames(FILES)
    assert names.find("src/pkg/sub/query.py", "pkg/store") == "src/pkg/store.py"
    assert names.find("old/main.py", "pkg/store") == "old/pkg/store.py"


def test_a_page_of_links_is_cut() -> None:
    text = "\n".join(f"[page {number}](page{number}.md)" for number in range(5000))
    assert len(targets_of("index.md", text)) == 200
