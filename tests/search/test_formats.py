from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.chunking import chunk
from hotstart.search.documents import read_document
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


def pdf(*pages: str) -> bytes:
    """Return a PDF with these lines of text, one a page."""
    first = 4
    kids = " ".join(f"{first + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792]"
            f" /Resources << /Font << /F1 3 0 R >> >> /Contents {first + 2 * number + 1} 0 R >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    body = "%PDF-1.4\n"
    places = []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return f"{body}{end}startxref\n{len(body)}\n%%EOF\n".encode()


def test_a_pdf_is_read_by_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("Pools are shared " * 30, "The idle one is closed " * 30))
    text = read_document(str(path)).text
    assert text.split("\n\f")[0].startswith("Pools are shared Pools")
    assert [piece.heading for piece in chunk("a.pdf", text)] == ["page 1", "page 2"]


def test_a_word_document_is_read_as_markdown(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("Guide", 0)
    document.add_heading("Install", 1)
    document.add_paragraph("Pools are shared.")
    document.add_paragraph("first", style="List Bullet")
    row = document.add_table(rows=1, cols=2).rows[0]
    row.cells[0].text = "one"
    row.cells[1].text = "two"
    path = tmp_path / "a.docx"
    document.save(str(path))
    assert [line for line in read_document(str(path)).text.split("\n") if line] == [
        *("# Guide", "# Install", "Pools are shared.", "- first", "one | two"),
    ]


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_a_document_that_cannot_be_read_is_skipped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0damaged")
    with pytest.raises(SkippedFile, match="unreadable"):
        read_document(str(path))
    monkeypatch.setitem(sys.modules, "pypdf", None)
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(SkippedFile, match=r"needs hotstart\[documents\]"):
        read_document(str(path))
