"""Definitions and statements of source code, by grammars of tree-sitter.

A language is a query. `@item` is a definition; its `@context` and `@name` are its title, as an
editor's outline shows it: `class Pool`, `func (p *Pool) Get`. `@constant` is a name that is defined
in passing. `@above` is what belongs to the definition below it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.search.definitions import Definition

logger = logging.getLogger(__name__)

_PYTHON = """
[(comment) (decorator)] @above
(class_definition "class" @context name: (_) @name) @item
(function_definition "def" @context name: (_) @name) @item
(module (expression_statement (assignment left: (identifier) @constant)))
"""

_ECMASCRIPT = """
[(comment) (decorator)] @above
(class_declaration "class" @context name: (_) @name) @item
(function_declaration "function" @context name: (_) @name) @item
(generator_function_declaration "function" @context name: (_) @name) @item
(method_definition name: (_) @name) @item
(lexical_declaration kind: _ @context
  (variable_declarator name: (identifier) @name
    value: [(arrow_function) (function_expression) (generator_function) (class) (object)]) @item)
(variable_declaration "var" @context
  (variable_declarator name: (identifier) @name
    value: [(arrow_function) (function_expression) (generator_function) (class) (object)]) @item)
(assignment_expression left: (member_expression) @name
  right: [(arrow_function) (function_expression) (generator_function) (class) (object)]) @item
(pair key: (_) @name value: [(arrow_function) (function_expression)]) @item
(program (lexical_declaration (variable_declarator name: (identifier) @constant)))
(export_statement (lexical_declaration (variable_declarator name: (identifier) @constant)))
"""

_JAVASCRIPT = f"""{_ECMASCRIPT}
(field_definition property: (_) @name value: [(arrow_function) (function_expression)]) @item
"""

_TYPESCRIPT = f"""{_ECMASCRIPT}
(abstract_class_declaration "class" @context name: (_) @name) @item
(interface_declaration "interface" @context name: (_) @name) @item
(type_alias_declaration "type" @context name: (_) @name) @item
(enum_declaration "enum" @context name: (_) @name) @item
(internal_module "namespace" @context name: (_) @name) @item
(module "module" @context name: (_) @name) @item
(function_signature "function" @context name: (_) @name) @item
(abstract_method_signature name: (_) @name) @item
(method_signature name: (_) @name) @item
(public_field_definition name: (_) @name value: [(arrow_function) (function_expression)]) @item
"""

_GO = """
(comment) @above
(function_declaration "func" @context name: (_) @name) @item
(method_declaration "func" @context receiver: (_) @context name: (_) @name) @item
(type_declaration "type" @context [(type_spec name: (_) @name) (type_alias name: (_) @name)] @item)
(source_file (const_declaration (const_spec name: (_) @constant)))
(source_file (var_declaration (var_spec name: (_) @constant)))
(source_file (var_declaration (var_spec_list (var_spec name: (_) @constant))))
"""

_RUST = """
[(line_comment) (block_comment) (attribute_item)] @above
(function_item "fn" @context name: (_) @name) @item
(function_signature_item "fn" @context name: (_) @name) @item
(struct_item "struct" @context name: (_) @name) @item
(enum_item "enum" @context name: (_) @name) @item
(union_item "union" @context name: (_) @name) @item
(trait_item "trait" @context name: (_) @name) @item
(mod_item "mod" @context name: (_) @name) @item
(type_item "type" @context name: (_) @name) @item
(associated_type "type" @context name: (_) @name) @item
(macro_definition "macro_rules!" @context name: (_) @name) @item
(impl_item "impl" @context type: (_) @name) @item
(impl_item "impl" @context trait: (_) @context "for" @context type: (_) @name) @item
(const_item name: (_) @constant)
(static_item name: (_) @constant)
"""

_JAVA = """
[(line_comment) (block_comment)] @above
(class_declaration "class" @context name: (_) @name) @item
(interface_declaration "interface" @context name: (_) @name) @item
(enum_declaration "enum" @context name: (_) @name) @item
(record_declaration "record" @context name: (_) @name) @item
(annotation_type_declaration "@interface" @context name: (_) @name) @item
(method_declaration name: (_) @name) @item
(constructor_declaration name: (_) @name) @item
(compact_constructor_declaration name: (_) @name) @item
(annotation_type_element_declaration name: (_) @name) @item
(field_declaration declarator: (variable_declarator name: (_) @constant))
"""

_C = """
(comment) @above
(struct_specifier "struct" @context name: (_) @name body: (_)) @item
(union_specifier "union" @context name: (_) @name body: (_)) @item
(enum_specifier "enum" @context name: (_) @name body: (_)) @item
(type_definition "typedef" @context type: (_ body: (_)) declarator: (type_identifier) @name) @item
(type_definition declarator: (_) @constant)
(function_definition declarator: (function_declarator declarator: (identifier) @name)) @item
(function_definition declarator: (_ (function_declarator declarator: (identifier) @name))) @item
(function_definition
  declarator: (_ (_ (function_declarator declarator: (identifier) @name)))) @item
(function_definition
  declarator: (_ (_ (_ (function_declarator declarator: (identifier) @name))))) @item
(preproc_function_def "#define" @context name: (_) @name) @item
(preproc_def name: (_) @constant)
"""

_CPP = f"""{_C}
(class_specifier "class" @context name: (_) @name body: (_)) @item
(namespace_definition "namespace" @context name: (_) @name) @item
(alias_declaration "using" @context name: (_) @name) @item
(concept_definition "concept" @context name: (_) @name) @item
(function_definition declarator: (function_declarator declarator:
  [(field_identifier) (qualified_identifier) (destructor_name) (operator_name)] @name)) @item
(function_definition declarator: (_ (function_declarator declarator:
  [(field_identifier) (qualified_identifier) (operator_name)] @name))) @item
(function_definition declarator: (_ (_ (function_declarator declarator:
  [(field_identifier) (qualified_identifier)] @name)))) @item
(field_declaration declarator: (function_declarator declarator: (_) @name)) @item
(field_declaration declarator: (_ (function_declarator declarator: (_) @name))) @item
(declaration declarator:
  (function_declarator declarator: [(destructor_name) (operator_name)] @name)) @item
"""

_CSHARP = """
(comment) @above
(namespace_declaration "namespace" @context name: (_) @name) @item
(class_declaration "class" @context name: (_) @name) @item
(interface_declaration "interface" @context name: (_) @name) @item
(struct_declaration "struct" @context name: (_) @name) @item
(record_declaration "record" @context name: (_) @name) @item
(enum_declaration "enum" @context name: (_) @name) @item
(delegate_declaration "delegate" @context name: (_) @name) @item
(method_declaration name: (_) @name) @item
(constructor_declaration name: (_) @name) @item
(destructor_declaration "~" @context name: (_) @name) @item
(operator_declaration "operator" @context operator: _ @name) @item
(property_declaration name: (_) @name) @item
(indexer_declaration "this" @name) @item
(event_declaration name: (_) @name) @item
(event_field_declaration (variable_declaration (variable_declarator name: (_) @constant)))
(field_declaration (variable_declaration (variable_declarator name: (_) @constant)))
"""

_RUBY = """
(comment) @above
(class "class" @context name: (_) @name) @item
(module "module" @context name: (_) @name) @item
(method "def" @context name: (_) @name) @item
(singleton_method "def" @context object: (_) @context name: (_) @name) @item
(singleton_class "class" @context "<<" @context value: (_) @context) @item
(assignment left: (constant) @constant)
"""

_PHP = """
(comment) @above
(class_declaration "class" @context name: (_) @name) @item
(interface_declaration "interface" @context name: (_) @name) @item
(trait_declaration "trait" @context name: (_) @name) @item
(enum_declaration "enum" @context name: (_) @name) @item
(function_definition "function" @context name: (_) @name) @item
(method_declaration "function" @context name: (_) @name) @item
(const_declaration (const_element (name) @constant))
"""

_SWIFT = """
[(comment) (multiline_comment)] @above
(class_declaration declaration_kind: _ @context name: (_) @name) @item
(protocol_declaration "protocol" @context name: (_) @name) @item
(function_declaration "func" @context name: _ @name) @item
(protocol_function_declaration "func" @context name: _ @name) @item
(init_declaration "init" @name) @item
(deinit_declaration "deinit" @name) @item
(subscript_declaration "subscript" @name) @item
(typealias_declaration "typealias" @context name: _ @name) @item
(source_file (property_declaration name: (pattern) @constant))
(class_body (property_declaration name: (pattern) @constant))
(enum_class_body (property_declaration name: (pattern) @constant))
"""

_KOTLIN = """
[(line_comment) (block_comment)] @above
(class_declaration ["class" "interface"] @context name: (_) @name) @item
(object_declaration "object" @context name: (_) @name) @item
(companion_object "companion" @context "object" @context) @item
(function_declaration "fun" @context name: (_) @name) @item
(secondary_constructor "constructor" @name) @item
(anonymous_initializer "init" @context) @item
(type_alias "typealias" @context type: (_) @name) @item
(source_file (property_declaration (variable_declaration (identifier) @constant)))
(class_body (property_declaration (variable_declaration (identifier) @constant)))
"""

_SCALA = """
[(comment) (block_comment)] @above
(class_definition "class" @context name: (_) @name) @item
(object_definition "object" @context name: (_) @name) @item
(trait_definition "trait" @context name: (_) @name) @item
(enum_definition "enum" @context name: (_) @name) @item
(function_definition "def" @context name: (_) @name) @item
(function_declaration "def" @context name: (_) @name) @item
(given_definition "given" @context name: (_) @name) @item
(type_definition "type" @context name: (_) @name) @item
(template_body (val_definition pattern: (identifier) @constant))
"""

_ELIXIR = """
[(comment) (unary_operator operator: "@")] @above
((call target: (identifier) @context (arguments . (_) @name)) @item
  (#any-of? @context "defmodule" "defprotocol" "defimpl"))
((call target: (identifier) @context
  (arguments . (_) @name (keywords (pair key: (_) @context value: (_) @context)))) @item
  (#eq? @context "defimpl"))
((call target: (identifier) @context
  (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: (call target: (identifier) @name) operator: "when")
  ])) @item
  (#any-of? @context "def" "defp" "defmacro" "defmacrop" "defguard" "defguardp" "defdelegate"))
((call target: (identifier) @context (arguments . (string) @name) (do_block)) @item
  (#any-of? @context "test" "describe"))
"""

_HASKELL = """
[(comment) (haddock)] @above
(declarations (signature) @above)
(data_type "data" @context name: (_) @name) @item
(newtype "newtype" @context name: (_) @name) @item
(type_synonym "type" @context name: (_) @name) @item
(class "class" @context name: (_) @name) @item
(instance "instance" @context name: (_) @name patterns: (_) @context) @item
(declarations (function name: (_) @name) @item)
(declarations (function (infix operator: (_) @name)) @item)
(declarations (bind name: (_) @name) @item)
(class_declarations (signature name: (_) @name) @item)
(class_declarations (_ name: (_) @name match: (_)) @item)
(instance_declarations (_ name: (_) @name match: (_)) @item)
"""

_LUA = """
(comment) @above
(function_declaration "function" @context name: (_) @name) @item
(assignment_statement (variable_list . name: (_) @name)
  (expression_list . value: [(function_definition) (table_constructor (_))])) @item
(field name: (identifier) @name value: (function_definition)) @item
(chunk (variable_declaration (assignment_statement (variable_list name: (_) @constant))))
"""

_ZIG = """
(comment) @above
(function_declaration "fn" @context name: (_) @name) @item
(variable_declaration "const" @context . (identifier) @name
  [(struct_declaration) (enum_declaration) (union_declaration) (opaque_declaration)
   (error_set_declaration)]) @item
(test_declaration "test" @context (_) @name (block)) @item
(source_file (variable_declaration . (identifier) @constant))
"""

_BASH = """
(comment) @above
(function_definition name: (_) @name) @item
(program (variable_assignment name: (_) @constant))
(program (declaration_command (variable_assignment name: (_) @constant)))
"""

_SQL = """
[(comment) (marginalia)] @above
(create_table (keyword_create) @context (keyword_table) @context (object_reference) @name) @item
(create_view (keyword_create) @context (keyword_view) @context (object_reference) @name) @item
(create_materialized_view
  (keyword_create) @context (keyword_view) @context (object_reference) @name) @item
(create_type (keyword_create) @context (keyword_type) @context (object_reference) @name) @item
(create_function
  (keyword_create) @context (keyword_function) @context (object_reference) @name) @item
(create_trigger
  (keyword_create) @context (keyword_trigger) @context (object_reference) @name) @item
(create_index (keyword_create) @context (keyword_index) @context column: (identifier) @name) @item
"""


class Language(NamedTuple):
    """A language: its query, and the package of its grammar with the function that returns it."""

    package: str
    query: str
    function: str = "language"


_PY = Language("tree_sitter_python", _PYTHON)
_JS = Language("tree_sitter_javascript", _JAVASCRIPT)
_TS = Language("tree_sitter_typescript", _TYPESCRIPT, "language_typescript")
_CXX = Language("tree_sitter_cpp", _CPP)
_SH = Language("tree_sitter_bash", _BASH)

LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), _PY),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), _JS),
    **dict.fromkeys((".ts", ".mts", ".cts"), _TS),
    ".tsx": Language("tree_sitter_typescript", _TYPESCRIPT, "language_tsx"),
    ".go": Language("tree_sitter_go", _GO),
    ".rs": Language("tree_sitter_rust", _RUST),
    ".java": Language("tree_sitter_java", _JAVA),
    ".c": Language("tree_sitter_c", _C),
    **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu", ".cuh"), _CXX),
    ".cs": Language("tree_sitter_c_sharp", _CSHARP),
    **dict.fromkeys((".rb", ".rake", ".gemspec"), Language("tree_sitter_ruby", _RUBY)),
    ".php": Language("tree_sitter_php", _PHP, "language_php"),
    ".swift": Language("tree_sitter_swift", _SWIFT),
    **dict.fromkeys((".kt", ".kts"), Language("tree_sitter_kotlin", _KOTLIN)),
    **dict.fromkeys((".scala", ".sc", ".sbt"), Language("tree_sitter_scala", _SCALA)),
    **dict.fromkeys((".ex", ".exs"), Language("tree_sitter_elixir", _ELIXIR)),
    ".hs": Language("tree_sitter_haskell", _HASKELL),
    ".lua": Language("tree_sitter_lua", _LUA),
    ".zig": Language("tree_sitter_zig", _ZIG),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".bats"), _SH),
    ".sql": Language("tree_sitter_sql", _SQL),
}
"""By file extension, in lower case."""


class Syntax(NamedTuple):
    """The structure of a source.

    Attributes:
        definitions: in order, an outer one before what is nested in it.
        constants: other names that it defines, by their lines.
        seams: the lines at which the statements of long parts begin, with their depth.
    """

    definitions: list[Definition]
    constants: list[tuple[int, str]]
    seams: dict[int, int]


def has_grammar(path: str) -> bool:
    """Return whether the grammar for the file `path` is installed."""
    language = LANGUAGES.get(os.path.splitext(path)[1].lower())
    return language is not None and _is_installed(language.package)


@cache
def _is_installed(package: str) -> bool:
    return all(importlib.util.find_spec(name) for name in ("tree_sitter", package))


def parse(path: str, lines: list[str], longest: int) -> Syntax | None:
    """Return the syntax of the file `path` with these `lines`; None without its grammar.

    None also if most of the file is no source in the language. The statements of what has more than
    `longest` bytes are the seams.
    """
    if not has_grammar(path):
        return None
    grammar = _grammar(LANGUAGES[os.path.splitext(path)[1].lower()])
    if grammar is None:
        return None
    try:
        return _Reader(grammar, lines).read(longest)
    except _Unreadable:
        return None


class _Unreadable(Exception):
    """The text is not in the language."""


class _Grammar(NamedTuple):
    language: Any
    query: Any


@cache
def _grammar(language: Language) -> _Grammar | None:
    """Load a grammar; return None if it does not suit its query."""
    library = require("tree_sitter", extra="code")
    try:
        package = importlib.import_module(language.package)
        grammar = library.Language(getattr(package, language.function)())
        return _Grammar(grammar, library.Query(grammar, language.query))
    except (ImportError, AttributeError, ValueError) as error:  # of another version
        logger.warning("%s cannot be used: %s", language.package, error)
        return None


_WRAPPERS = {"decorated_definition", "export_statement", "template_declaration"}
_LONGEST_TITLE = 100
_NESTED = re.compile(rb"(?:[(\[{]\s*){100}")  # nobody writes so; some grammars take minutes
_NAME = re.compile(r"[\w$]+")
_GROUP = re.compile("block|body|compound|list|statements")  # node types that hold statements


class _Item(NamedTuple):
    """A match of a definition: its node, with what wraps it, and the nodes of its title."""

    outer: Any
    node: Any
    name: Any | None
    title: list[Any]

    @classmethod
    def of(cls, node: Any, captured: dict[str, list[Any]]) -> _Item:
        """Return the match of `node`."""
        outer = node
        while outer.parent is not None and outer.parent.type in _WRAPPERS:
            outer = outer.parent
        names = captured.get("name", [])
        title = sorted([*names, *captured.get("context", ())], key=lambda part: part.start_byte)
        return cls(outer, node, names[0] if names else None, title)


class _Reader:
    """Reads the syntax of a file with these `lines`; raises _Unreadable."""

    def __init__(self, grammar: _Grammar, lines: list[str]) -> None:
        library = require("tree_sitter", extra="code")
        self._source = source = "\n".join(lines).encode(errors="replace")
        self._indentations = [len(line) - len(line.lstrip()) for line in lines]
        self._above: dict[int, int] = {}  # first lines of comments and decorators, by their last
        if _NESTED.search(source):
            raise _Unreadable
        tree = library.Parser(grammar.language).parse(source)
        self._root = tree.root_node
        wrong = (node for node in (self._root, *self._root.children) if node.is_error)
        if sum(node.end_byte - node.start_byte for node in wrong) > len(source) // 2:
            raise _Unreadable
        self._matches = library.QueryCursor(grammar.query).matches(self._root)

    def read(self, longest: int) -> Syntax:
        """Return the syntax, with seams in what has more than `longest` bytes."""
        constants: list[tuple[int, str]] = []
        found: list[Definition] = []
        for one in self._nested(self._items(constants)):
            last = found[-1] if found else one._replace(depth=-1)
            if (last.title, last.depth, last.end) == (one.title, one.depth, one.start):
                found[-1] = last._replace(end=one.end)  # the next equation of a function
            elif found and (last.start, last.end) == (one.start, one.end):
                constants.append((one.name_line, one.name))
            else:
                found.append(one)
        return Syntax(found, constants, self._seams(longest))

    def _items(self, constants: list[tuple[int, str]]) -> list[_Item]:
        """Return the matched definitions; add the matched constants."""
        items: dict[int, _Item] = {}
        for _, captured in self._matches:
            for node in captured.get("above", ()):
                if self._begins_line(node):
                    self._above[_last_line(node)] = node.start_point[0]
            for node in captured.get("constant", ()):
                constants.append((node.start_point[0], self._name(node)))
            for node in captured.get("item", ()):
                item = _Item.of(node, captured)
                known = items.setdefault(item.outer.id, item)
                # Two patterns may match a definition, and one pattern several names in it.
                if len(item.title) > len(known.title):
                    items[item.outer.id] = item
        return sorted(items.values(), key=lambda one: (one.outer.start_byte, -one.outer.end_byte))

    def _nested(self, items: Iterable[_Item]) -> Iterator[Definition]:
        """Yield the definitions, with their depth."""
        ends: list[int] = []
        for item in items:
            while ends and ends[-1] <= item.outer.start_byte:
                ends.pop()
            yield self._definition(item, len(ends))
            ends.append(item.outer.end_byte)

    def _definition(self, item: _Item, depth: int) -> Definition:
        title = ""
        end = item.title[0].start_byte
        for part in item.title:
            gap = self._source[end : part.start_byte]
            title += gap.decode() if len(gap) < 2 else " "
            title += self._text(part)
            end = part.end_byte
        body = item.node.child_by_field_name("body")
        signature = self._source[item.node.start_byte : body.start_byte if body else end].decode()
        name = item.name or item.node
        return Definition(
            start=self._first_line(item.outer.start_point[0]),
            end=_last_line(item.outer) + 1,
            depth=depth,
            title=" ".join(title.split())[:_LONGEST_TITLE],
            signature=" ".join(signature.split())[:_LONGEST_TITLE],
            name=self._name(name) if item.name else "",
            name_line=name.start_point[0],
        )

    def _seams(self, longest: int) -> dict[int, int]:
        """Return the lines at which statements begin, the comments above included."""
        seams: dict[int, int] = {}
        waiting = deque([(self._root, 0)])
        while waiting:
            node, depth = waiting.popleft()
            if node.end_byte - node.start_byte <= longest:
                continue
            for child in node.named_children:
                line = child.start_point[0]
                if self._begins_line(child) and not _GROUP.search(child.type):
                    seams.setdefault(self._first_line(line), depth)
                waiting.append((child, depth + 1))
        return seams

    def _first_line(self, line: int) -> int:
        """Return the first line of the comments and decorators that end above `line`."""
        while line - 1 in self._above:
            line = self._above[line - 1]
        return line

    def _begins_line(self, node: Any) -> bool:
        row, column = node.start_point
        return bool(column == self._indentations[row])

    def _text(self, node: Any) -> str:
        return self._source[node.start_byte : node.end_byte].decode(errors="replace")

    def _name(self, node: Any) -> str:
        """Return the last word of a name, without its parameters: `Pool` of `net::Pool<T>`."""
        words = _NAME.findall(re.split(r"[<(\[{ ]", self._text(node), maxsplit=1)[0])
        return words[-1] if words else ""


def _last_line(node: Any) -> int:
    row, column = node.end_point
    is_whole = bool(column) or row == node.start_point[0]
    return int(row) if is_whole else int(row) - 1
