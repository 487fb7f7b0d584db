from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.encoding import check_texts
from hotstart.errors import InvalidText


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_all_unicode_text_passes_unchanged(texts: list[str]) -> None:
    assert check_texts(texts) is texts


@given(st.lists(st.text(), min_size=1))
def test_what_is_refused_is_what_cannot_be_encoded(texts: list[str]) -> None:
    def fails(text: str) -> bool:
        return any(0xD800 <= ord(character) <= 0xDFFF for character in text)

    bad = [position for position, text in enumerate(texts) if fails(text)]
    if not bad:
        check_texts(texts)
        return
    with pytest.raises(InvalidText) as caught:
        check_texts(texts, first=10)
    assert caught.value.position == 10 + bad[0]
