from __future__ import annotations

import time

import pytest

from hotstart.search.definitions import find_definitions, symbols_of


@pytest.mark.parametrize(
    ("path", "text", "titles"),
    [
        ("a.py", "class Pool(Base):\n  async def get(self):\n", ["class Pool", "  def get"]),
        ("a.js", "export const make = async (n) => n\n", ["const make"]),
        ("b.js", "exports.close = function () {}\n", ["exports.close"]),
        ("a.ts", "export class A {\n  private open(n: number): void {", ["class A", "  open"]),
        ("a.dart", "class A {\n  Future<int> get(\n    int n) async {", ["class A", "  get"]),
        ("a.go", "func (p *Pool) Close() error {\n", ["func (p *Pool) Close"]),
        ("a.c", "static int\nread_all(int fd) {\n#define MOST 3\n", ["read_all", "#define MOST"]),
        (
            "a.ex",
            "defmodule Plug.Conn do\n  def send(conn) do\n",
            ["defmodule Plug.Conn", "  def send"],
        ),
        ("a.sql", "create or replace view free as\n", ["create or replace view free"]),
        ("a.proto", "message Pool {\n", ["message Pool"]),
        ("a.r", "read.all <- function(x) {\n", ["read.all <- function"]),
        ("a.clj", "(defn make-pool [n]\n", ["defn make-pool"]),
        ("b.py", "return class_\nname = value\n", []),
    ],
)
def test_definitions_of_many_languages_are_found(path: str, text: str, titles: list[str]) -> None:
    found = find_definitions(path, text.split("\n"))
    assert [f"{'  ' * one.depth}{one.title}" for one in found] == titles


def test_a_definition_has_the_comments_above_and_what_is_indented_below() -> None:
    lines = ["#include <a.h>", "// about", "struct A {", "  // on it", "  void f() {", "  }", "};"]
    found = find_definitions("a.c", [*lines, "", "struct B {", "};"])
    assert [(one.start, one.end, one.name) for one in found] == [
        (1, 8, "A"),
        (3, 8, "f"),
        (8, 10, "B"),
    ]


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


@pytest.mark.parametrize("line", ["a " * 600, "*" * 1200, "a(" * 600, "a<" * 600, "", "((" * 600])
def test_no_text_takes_long(line: str) -> None:
    began = time.perf_counter()
    find_definitions("a.c", [line] * 1000)
    assert time.perf_counter() - began < 5
