from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.config import read_settings

HUB = "~/.cache/huggingface/hub"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, HUB),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/hub"),
        ({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}, "/c"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HUB_CACHE": "", "HF_HOME": ""}, HUB),
    ],
)
def test_the_hugging_face_cache_is_where_huggingface_hub_has_it(
    environ: dict[str, str], expected: str
) -> None:
    assert read_settings(environ).hub_cache == os.path.expanduser(expected)


def test_the_cache_folder() -> None:
    assert read_settings({"HOTSTART_CACHE_DIR": "/c"}).cache_dir == "/c"
    assert read_settings({"HOTSTART_CACHE_DIR": "rel"}).cache_dir == os.path.abspath("rel")
    assert read_settings({}).cache_dir.endswith("hotstart")


@given(st.sampled_from(["1", "on", "YES", "True", "0", "", "no", "off"]))
def test_offline_reads_the_words_huggingface_hub_reads(word: str) -> None:
    assert read_settings({"HF_HUB_OFFLINE": word}).offline == (
        word.upper() in {"1", "ON", "YES", "TRUE"}
    )


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSTART_CACHE_DIR", "/one")
    assert read_settings().cache_dir == "/one"
    monkeypatch.setenv("HOTSTART_CACHE_DIR", "/two")
    assert read_settings().cache_dir == "/two"
