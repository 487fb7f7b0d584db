from __future__ import annotations

import time

import pytest

from hotstart.search.definitions import defined_names, symbols_of


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("a.py", "class Token_Store(Base):\n  async def get_user(self):\n", "tokenstore getuser"),
        ("a.js", "export const makePool = async (n) => n\n", "makepool"),
        ("b.js", "exports.close = function () {}\n", "close"),
        ("a.ts", "export class Pool {\n  private open(n: number): void {", "pool open"),
        ("a.go", "func (p *Pool) Close() error {\ntype Pool struct {\n", "close pool"),
        ("a.rs", "pub(crate) fn parse_name<'a>(x: &str) {\nimpl Pool {\n", "parsename pool"),
        ("a.c", "static int\nread_all(int fd) {\n#define MOST_WORDS 3\n", "mostwords readall"),
        ("A.java", "  public static List<String> namesOf(Object it) throws E {\n", "namesof"),
        ("a.ex", "defmodule Plug.Conn do\n  def send_resp(conn) do\n", "plug sendresp"),
        ("a.md", "class Pool:\n", ""),
        ("b.py", "return class_\nname = value\n", ""),
    ],
)  # fmt: skip
def test_definitions_of_many_languages_are_found(path: str, text: str, names: str) -> None:
    assert defined_names(path, text) == names.split()


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("Fernet", ["fernet"]),
        ("get_user_by_id", ["getuserbyid"]),
        ("where is getUserById called", ["getuserbyid"]),
        ("Session.request", ["request"]),
        ("what does close() do", ["close"]),
        ("HTTPServer", ["httpserver"]),
        ("how are models evicted?", []),
        ("Where is it", []),
    ],
)
def test_a_query_names_symbols_by_the_way_they_are_written(query: str, symbols: list[str]) -> None:
    assert symbols_of(query) == symbols


@pytest.mark.parametrize(
    "text", ["a " * 600, "*" * 1200, "a(" * 600, "a<" * 600, "\n" * 1200, "((" * 600]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.perf_counter()
    defined_names("a.c", text)
    assert time.perf_counter() - began < 1
