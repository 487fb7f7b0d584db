from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.chunking import chunk
from hotstart.search.formats import largest, readable
from hotstart.search.text import SkippedFile


def cell(kind: str, *source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, **more, "source": list(source)}


PICTURE = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 500}}
TEXT = {"output_type": "stream", "text": ["pool = 1\n", "an output\n"]}
CELLS = [
    cell("markdown", "# Pools\n", "\n", 'Why they "help".\n'),
    cell("code", "pool = 1\n", "pool", execution_count=1, outputs=[TEXT, PICTURE]),
    cell("markdown", "## Closing"),
    cell("code", "# not a title\n", "pool.close()", execution_count=2, outputs=[TEXT]),
    cell("code", "", outputs=[]),
]


def notebook(indent: int | None = 1) -> str:
    return json.dumps({"cells": CELLS, "metadata": {}, "nbformat": 4}, indent=indent)


def test_lines_of_a_notebook_are_where_they_are_in_the_file() -> None:
    raw = notebook().split("\n")
    lines = readable("a.ipynb", notebook()).split("\n")
    assert len(lines) == len(raw)
    for line in ('Why they "help".', "# Pools", "pool = 1", "pool.close()", "# not a title"):
        numbers = [number for number, each in enumerate(lines) if each == line]
        assert len(numbers) == 1
        assert json.loads(raw[numbers[0]].strip().rstrip(",")).rstrip("\n") == line
    text = " ".join(lines)
    assert "an output" not in text
    assert "iVBOR" not in text
    assert "nbformat" not in text


def test_a_notebook_is_cut_below_its_titles() -> None:
    chunks = chunk("a.ipynb", readable("a.ipynb", notebook()))
    headings = {piece.heading: piece.text for piece in chunks}
    assert next(iter(headings)).startswith("Pools")
    last = chunks[-1]
    assert "Closing" in last.heading
    assert "## Closing" in last.text  # beside its code, beyond the outputs
    assert "pool.close()" in last.text


@pytest.mark.parametrize("source", ["as lists", "as strings"])
def test_a_notebook_in_one_line_has_lines_of_its_own(source: str) -> None:
    cells = [{**each, "source": "".join(each["source"])} for each in CELLS]
    text = notebook(None) if source == "as lists" else json.dumps({"cells": cells}, indent=1)
    assert readable("a.ipynb", text).split("\n") == [
        *("# Pools", "", 'Why they "help".', "", "```", "pool = 1", "pool", "```", ""),
        *("## Closing", "", "```", "# not a title", "pool.close()", "```"),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 1}', '{"cells": [1]}', "[" * 99999])
def test_what_is_no_notebook_is_skipped(text: str) -> None:
    with pytest.raises(SkippedFile, match="unreadable"):
        readable("a.ipynb", text)


def test_a_notebook_may_be_large() -> None:
    assert largest("a.ipynb") > largest("a.py")


PAGE = """<!doctype html>
<html><head><title>Pools &mdash; Guide</title>
<style>.walrus { color: red }</style>
<script>
var walrus = "</p>";
</script></head>
<body class="walrus">
<h2 id="i">Install</h2> <!-- walrus -->
<p>Pools are sh<b>ared</b>&nbsp;&#8211; by
all threads.<br>Really.</p>
<ul><li>first<li>second</ul>
<pre>
    indented = 1
</pre>
<img src="walrus.png" alt="a picture">
<table><tr><td>one</td><td>two</td></tr></table>
</body></html>
"""


def test_a_page_is_its_text_in_its_lines() -> None:
    lines = readable("a.html", PAGE).split("\n")
    assert len(lines) == PAGE.count("\n") + 1
    assert [(number, line) for number, line in enumerate(lines, 1) if line] == [
        (2, "Pools — Guide"),
        (8, "## Install"),
        (9, "Pools are shared – by"),
        (10, "all threads. Really."),
        (11, "- first second"),
        (13, "    indented = 1"),
        (15, "a picture"),
        (16, "one two"),
    ]
    assert [piece.heading for piece in chunk("a.html", "\n".join(lines))] == ["Install"]


@given(
    st.lists(st.sampled_from(["<p", "<!", "<![", "<?", "</", "x", "&", "&#", "-->", "\r\n", ">"]))
)
def test_no_markup_harms(parts: list[str]) -> None:
    text = "".join(parts)
    assert readable("a.html", text).count("\n") == text.count("\n")


def test_other_texts_are_as_they_are() -> None:
    assert readable("a.md", "<b>\r\n") == "<b>\r\n"
