from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.errors import InvalidInput, UnknownVersion
from hotstart.registry.config import DiscoveredFile, discover, parse_stem, serving
from kinds.malice import malicious

PROPHETS = '{"growth": "linear", "history": "%s", "__prophet_version": "1.5.0"}' % ("x" * 10_000)
NUMBERS = st.lists(st.integers(0, 999).map(str), min_size=1, max_size=4).map(".".join)
NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)


def files(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_bytes(b"")
    return str(folder)


@given(NAMES, st.sampled_from(["", "v"]), NUMBERS)
def test_a_version_is_read_as_it_was_written(name: str, letter: str, version: str) -> None:
    assert parse_stem(f"{name}-{letter}{version}") == (name, version)


@given(st.text())
def test_what_is_no_version_is_name(stem: str) -> None:
    name, version = parse_stem(stem)
    assert stem in {name, f"{name}-{version}", f"{name}-v{version}"}
    assert version is None or all(part.isdecimal() for part in version.split("."))


@pytest.mark.parametrize(
    "stem", ["churn", "churn-", "churn-v", "churn-1.", "churn-1..2", "churn1", "churn-rc1", "-1"]
)
def test_stems_without_a_version(stem: str) -> None:
    assert parse_stem(stem) == (stem, None)


def test_what_lies_in_a_folder(tmp_path: Path) -> None:
    names = ["churn.skops", "faces.onnx", "old.pkl", "older.joblib", "oldest.PICKLE"]
    files(tmp_path, *names, ".hidden.onnx", "notes.txt", "README", "empty.json")
    (tmp_path / "sales.json").write_text(PROPHETS)
    (tmp_path / "config.json").write_text('{"growth": "linear"}')
    (tmp_path / "folder.onnx").mkdir()
    found = discover(str(tmp_path))
    assert {
        name: [(f.kind, f.version, f.pickled) for f in each] for name, each in found.items()
    } == {
        "churn": [("sklearn", None, False)],
        "faces": [("onnx", None, False)],
        "old": [("sklearn", None, True)],
        "older": [("sklearn", None, True)],
        "oldest": [("sklearn", None, True)],
        "sales": [("prophet", None, False)],
    }
    assert found["churn"][0].path == str(tmp_path / "churn.skops")


def test_nothing_is_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name in ("a.pkl", "b.joblib", "c.skops", "d.json", "e.onnx"):
        (tmp_path / name).write_bytes(malicious(mark))
    before = set(sys.modules)
    assert set(discover(str(tmp_path))) == {"a", "b", "c", "e"}
    assert not mark.exists()
    assert not {m for m in set(sys.modules) - before if not m.startswith("hotstart")}


def test_versions_are_ordered_as_numbers(tmp_path: Path) -> None:
    endings = ("-1.10.0.skops", "-1.9.skops", "-v2.onnx", ".skops", "-0.skops", "-10.skops")
    folder = files(tmp_path, *(f"churn{ending}" for ending in endings), "faces-1.onnx")
    found = discover(folder)
    assert [f.version for f in found["churn"]] == [None, "0", "1.9", "1.10.0", "2", "10"]
    assert [f.version for f in found["faces"]] == ["1"]


@pytest.mark.parametrize(
    ("wanted", "version"), [(None, "2"), ("1.0", "1.0.0"), ("v1", "1.0.0"), ("2.0.0", "2")]
)
def test_the_version_that_serves(wanted: str | None, version: str) -> None:
    several = [
        DiscoveredFile("onnx", "a-1.0.0.onnx", "1.0.0", False),
        DiscoveredFile("onnx", "b", "2", False),
    ]
    assert serving("a", several, wanted).version == version
    assert serving("a", several[:1], wanted).version == "1.0.0"


@pytest.mark.parametrize("wanted", ["3", "", "newest", "1.0.0.1", "-1"])
def test_a_version_that_is_not_there(wanted: str) -> None:
    several = [
        DiscoveredFile("onnx", "a", None, False),
        DiscoveredFile("onnx", "a-1.0.0.onnx", "1.0.0", False),
    ]
    with pytest.raises(UnknownVersion, match=r"it has 1\.0\.0"):
        serving("a", several, wanted)


def test_a_pickle_gives_way_to_a_safe_file(tmp_path: Path) -> None:
    found = discover(files(tmp_path, "churn-1.pkl", "churn-v1.0.skops", "churn-2.pkl"))
    assert [(f.version, f.pickled) for f in found["churn"]] == [("1.0", False), ("2", True)]


@pytest.mark.parametrize("twin", ["churn-1.onnx", "churn-1.0.skops", "churn-v1.skops"])
def test_two_files_of_one_version_are_refused(twin: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"another name or version than churn-"):
        discover(files(tmp_path, "churn-1.skops", twin))


def test_no_folder_holds_nothing(tmp_path: Path) -> None:
    assert discover(str(tmp_path / "none")) == discover(files(tmp_path)) == {}
