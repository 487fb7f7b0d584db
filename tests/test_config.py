from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.config import ModelsFolder, RemoteAccess, models_folder, read_settings, remote_access
from hotstart.errors import ConfigNotNamed, InvalidInput

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


FILE = """
[models.default]
strategy = "background"
[remote.openai]
api_key = "sk-file"
base_url = "http://file/v1"
"""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("sk-file", "http://file/v1")),
        ({"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "http://env"}, ("sk-env", "http://env")),
        ({"TEI_API_KEY": "other"}, ("sk-file", "http://file/v1")),
    ],
)
def test_keys_come_from_the_environment_else_from_the_file(
    environ: dict[str, str],
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "hotstart.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert remote_access("openai", environ) == expected
    assert remote_access("tei", {}) == (None, None)
    assert read_settings({}).strategy == "background"
    assert "sk-" not in repr(remote_access("openai", environ))


def test_a_key_of_the_environment_goes_to_no_address_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hotstart.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    message = "OPENAI_API_KEY of the environment would be sent there"
    with pytest.raises(ConfigNotNamed, match=message) as error:
        remote_access("openai", {"OPENAI_API_KEY": "sk-env"})
    assert error.value.remedy == "To send it there, set OPENAI_BASE_URL"


def test_without_a_file_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert remote_access("openai", {}) == RemoteAccess(None, None)
    (tmp_path / "hotstart.toml").write_text("not toml")
    with pytest.raises(InvalidInput, match="a TOML file"):
        remote_access("openai", {})


def test_the_models_folder() -> None:
    assert models_folder({}) == models_folder({"MODEL_CACHE_DIR": ""}) == ModelsFolder(None, None)
    environ = {"MODEL_CACHE_DIR": "models", "MODEL_VERSION": "1.2"}
    assert models_folder(environ) == ModelsFolder(os.path.abspath("models"), "1.2")
