from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.words import (
    MOST_WORDS,
    compounds_of,
    is_near,
    language_of,
    normalized,
    pairs_of,
    parts_of,
    query_words,
    sequence_of,
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("getModelName", ["get", "model", "name"]),
        ("get_model_name", ["get", "model", "name"]),
        ("HTTPServer", ["http", "server"]),
        ("Model2Vec", ["model", "2", "vec"]),
        ("MAX_WORDS", ["max", "words"]),
        ("Häuser", ["häuser"]),
        ("istGrößer", ["ist", "grösser"]),
        ("Éléphant", ["éléphant"]),
        ("__init__", ["init"]),
    ],
)
def test_identifiers_are_taken_apart(name: str, parts: list[str]) -> None:
    assert parts_of(name) == parts


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("getModelName()", ["get", "model", "name"]),
        ("get_model_name()", ["getmodelname"]),
        ("Model NAME plain sha256 __init__ Größe", []),
        ("loadModel_now", ["loadmodelnow", "load", "model"]),
    ],
)
def test_both_ways_to_write_a_compound_share_their_words(text: str, lacking: list[str]) -> None:
    assert compounds_of(text) == lacking


def test_the_words_of_a_query_leave_out_what_says_nothing() -> None:
    assert query_words("how is the Pool of getName closed?") == [
        "pool", "getname", "closed", "get", "name",
    ]  # fmt: skip
    assert query_words("to be or not to be") == ["to", "be", "or", "not", "to", "be"]
    assert query_words("wie werden die Häuser verkauft") == ["häuser", "verkauft"]
    assert query_words("где продают дома") == ["продают", "дома"]
    assert query_words("die process") == ["die", "process"]  # not German
    assert query_words("?! --") == []
    assert len(query_words(" ".join(map(str, range(500))))) == MOST_WORDS


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The pool is closed when the last model is gone.", "english"),
        ("Die Häuser wurden im letzten Jahr verkauft, und das ist gut.", "german"),
        ("Les maisons ont été vendues et ce n'est pas une bonne nouvelle.", "french"),
        ("Las casas se vendieron en el año pasado y no es una buena noticia.", "spanish"),
        ("De huizen zijn vorig jaar verkocht en dat is niet goed voor ons.", "dutch"),
        ("Evler geçen yıl satıldı ve bu çok iyi bir haber değil.", "turkish"),
        ("def close(self): return None", "english"),
        ("var min = 1; var i; for (i = 0; i < n; i++) { var e = a[i]; } end", "english"),
        ("", "english"),
        ("Дома были проданы", "english"),  # the script tells the language of its words
    ],
)
def test_the_language_is_that_of_most_stop_words(text: str, language: str) -> None:
    assert language_of(text) == language


def test_neighbours_are_the_words_of_a_script_without_spaces() -> None:
    assert pairs_of("连接池 pool 東京") == ["连接", "接池", "東京"]
    assert pairs_of("pool") == []


@pytest.mark.parametrize(
    ("one", "other", "is_so", "is_strictly_so"),
    [
        ("exhasted", "exhausted", True, True),
        ("connectoin", "connection", True, True),
        ("ypthon", "python", True, True),
        ("quantizotion", "quantization", True, True),
        ("night", "right", True, False),
        ("night", "knight", True, False),
        ("built", "build", True, False),
        ("long", "log", False, False),
        ("same", "same", False, False),
        ("abcdef", "abdcfe", False, False),
        ("", "a", False, False),
    ],
)
def test_near_words_differ_by_one_letter(
    one: str, other: str, is_so: bool, is_strictly_so: bool
) -> None:
    for first, second in [(one, other), (other, one)]:
        assert is_near(first, second) == is_so
        assert is_near(first, second, strict=True) == is_strictly_so


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("The connection-pool's Größe", " the connection pool s grösse "),
        ("Python入门 ok", " python 入 门 ok "),
        ("हिन्दी में", " हिन्दी में "),
        ("?!", "  "),
    ],
)
def test_the_sequence_of_a_text_holds_its_phrases(text: str, sequence: str) -> None:
    assert sequence_of(text) == sequence


@given(st.text())
def test_words_are_letters_and_digits_in_lower_case(query: str) -> None:
    assert all(word.isalnum() for word in query_words("i" + query) if word.isascii())
    assert normalized(normalized(query)) == normalized(query)
