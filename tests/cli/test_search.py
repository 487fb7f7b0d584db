"""`hotstart search` and `hotstart get` as people type them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hotstart.cli import main
from hotstart.config import Settings
from support.golden import FAMILIES, RERANKERS
from support.programs import require_program

TINY = str(FAMILIES / "bert-mean-normalize" / "model")
Python = Callable[..., "CompletedProcess[str]"]


def test_control_characters_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;title\x07.md"
    (tmp_path / name).write_text("# Head\x9b31m\n\nred \x1b[31m \u202egnirts\n")
    assert main(["index", str(tmp_path), "--lexical"]) == 0
    capsys.readouterr()
    assert main(["search", "red", "--path", str(tmp_path), "-m", TINY]) == 0
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\u202e")
    assert r"a\x1b]0;title\x07.md:3  1.00  Head\x9b31m" in out
    assert main(["index", f"{tmp_path}/\x1b[2J"]) == 2
    assert r"\x1b[2J" in capsys.readouterr().err


def test_index_then_search(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "2 added, 0 changed, 0 removed, 0 unchanged" in out
    assert "skipped: 1 binary" in out
    monkeypatch.chdir(folder)
    assert main(["search", "idle models are unloaded first under pressure", "--path", "docs"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "docs/guide.md:5  1.00  Guide > Eviction, Colours\n"
        "  5: Models idle longest are unloaded first under pressure.\n"
        "  7- ## Colours\n"
        "  9- The sky is blue in summer.\n\n"
    )
    summary = out.splitlines()[-1]
    assert "mode hybrid" in summary
    assert "engine onnx (all-MiniLM-L6-v2)" in summary
    assert "secret" not in out


def test_a_reranker_orders_the_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder), "--lexical"]) == 0
    reranker = str(RERANKERS / "bert" / "model")
    command = ["search", "sky models", "--path", str(folder), "--explain", "--reranker", reranker]
    assert main(command) == 0
    assert "reranker" in capsys.readouterr().out
    assert main([*command[:-1], "./no-model", "--timeout", "5"]) == 0
    out = capsys.readouterr().out
    assert "reranked nothing: " in out
    assert "no-model" in out


def test_several_folders_in_a_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    store = str(folder.parent / "store")
    (folder.parent / "notes").mkdir()
    (folder.parent / "notes" / "a.md").write_text("an apple\n")
    folders = [str(folder), str(folder.parent / "notes")]
    assert main(["index", *folders, "--lexical"]) == 2
    assert "PATH must be one folder, or several with a store" in capsys.readouterr().err
    assert main(["index", *folders, "--lexical", "--store", store]) == 0
    assert capsys.readouterr().out.startswith("3 added")
    assert main(["index", "--lexical", "--store", store]) == 0
    assert capsys.readouterr().out.startswith("0 added, 0 changed, 0 removed, 3 unchanged")
    assert main(["search", "apple", "--store", store, "--timeout", "0"]) == 0
    place = os.path.join("notes", "a.md")
    assert capsys.readouterr().out.startswith(f"{place}:1  1.00\n  1: an apple\n")
    assert main(["search", "apple", "--store", str(folder)]) == 1
    assert f"Run: hotstart index PATH --store {folder}." in capsys.readouterr().err


def test_a_search_that_waits_for_nothing_says_how_to_prepare_the_model(
    folder: Path, fresh: Settings, python: Python
) -> None:
    """Its process ends before the model is prepared, each time."""
    python("-m", "hotstart", "index", str(folder))
    search = ["-m", "hotstart", "search", "eviction", "--path", str(folder), "--timeout", "0"]
    assert python(*search).stderr == ""
    main(["models", "rm", "all-MiniLM-L6-v2"])
    assert "run hotstart models prepare all-MiniLM-L6-v2." in python(*search).stderr
    assert [*Path(fresh.cache_dir).glob("models/*/.*")] == []


def test_search_as_json_and_within_a_deadline(folder: Path, python: Python) -> None:
    python("-m", "hotstart", "index", str(folder))
    arguments = ["-m", "hotstart", "search", "eviction", "--path", str(folder), "--json"]
    done = python(*arguments, "--timeout", "0")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["mode"], answer["model"]) == (0, "lexical", None)
    assert "is loading" in answer["reason"]
    assert answer["hits"][0]["heading"] == "Guide > Eviction, Colours"
    waited = json.loads(python(*arguments, "--timeout", "60", "--top-k", "1").stdout)
    assert (waited["mode"], waited["engine"], len(waited["hits"])) == ("hybrid", "onnx", 1)


def test_a_score_is_explained_and_other_places_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = " ".join(f"word{n}" for n in range(20))
    (folder / "notes.md").write_text(f"eviction {copy}\n")
    (folder / "notes_copy.md").write_text(f"eviction {copy}\n")
    assert main(["index", "--lexical", str(folder)]) == 0
    capsys.readouterr()
    assert main(["search", "eviction word3", "--path", str(folder), "--explain"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n    also \S*notes_copy\.md:1\n    rank 1\.\d+ = words 1\.", out)


def test_an_index_without_vectors_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "--lexical", str(folder)]) == 0
    capsys.readouterr()
    assert main(["search", "eviction", "--path", str(folder)]) == 0
    assert "mode lexical" in capsys.readouterr().out.splitlines()[-1]


def test_a_search_tells_the_remedy_for_a_missing_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("# Eviction\n\nThe oldest goes first.\n")
    assert main(["index", str(tmp_path), "-m", TINY]) == 0
    assert main(["search", "eviction", "--path", str(tmp_path), "-m", "nope"]) == 0
    printed = capsys.readouterr()
    assert "1 result" in printed.out
    assert "Run: hotstart models pull nope" in printed.err


def test_a_terminal_without_the_letters_of_a_result_gets_their_escapes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Żółw\n\nŻółw je sałatę.\n")
    assert main(["index", str(tmp_path), "--lexical"]) == 0
    command = [sys.executable, "-m", "hotstart", "search", "sałatę", "--path", str(tmp_path)]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=120)
    assert (done.returncode, b"sa\\u0142at" in done.stdout) == (0, True), done.stderr


def test_paths_lead_from_here_to_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", "--lexical", "-q", str(folder)])
    capsys.readouterr()
    for start, shown in ((folder, "docs/guide.md"), (folder / "docs", "guide.md")):
        monkeypatch.chdir(start)
        assert main(["search", "sky", "--files", "--timeout", "0"]) == 0
        assert capsys.readouterr().out == f"{shown}\n"
    monkeypatch.chdir("/")
    assert main(["search", "sky", "--files", "--timeout", "0", "--path", str(folder)]) == 0
    assert Path(capsys.readouterr().out.strip()).samefile(folder / "docs" / "guide.md")


def test_several_indexes_give_one_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in ("notes", "papers"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "a.md").write_text(f"{name} of the summer\n")
    main(["index", "--lexical", "-q", "project"])
    main(["index", "--lexical", "-q", "notes"])
    main(["index", "--lexical", "-q", "papers", "--store", "store"])
    capsys.readouterr()
    search = ["search", "papers summer", "--timeout", "0", "--path", "project", "--path", "notes"]
    assert main([*search, "--store", "store", "--files"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "papers/a.md",
        "project/docs/guide.md",
        "notes/a.md",
    ]
    assert main([*search, "--path", "nowhere"]) == 2
    assert main([*search, "--path", "/"]) == 1


def test_context_comes_from_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    assert main(["search", "sky", "--timeout", "0", "-C", "1"]) == 0
    assert capsys.readouterr().out.startswith(
        "docs/guide.md:9  1.00  Guide > Eviction, Colours\n"
        "   8-\n   9: The sky is blue in summer.\n  10-\n\n"
    )


def test_a_score_means_the_same_in_every_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()

    def scores(query: str, *options: str) -> list[float]:
        assert main(["search", query, "--json", "--timeout", "0", *options]) == 0
        return [hit["score"] for hit in json.loads(capsys.readouterr().out)["hits"]]

    assert scores("sky") == [1.0]
    assert scores("summers sky zebra quokka") == [0.5]  # two of four words, one of them inflected
    assert scores("summers sky zebra quokka", "--min-score", "0.6") == []


def test_matches_of_a_regular_expression_are_marked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    search = ["search", "--regex", r"bl[u-v]e\s\w+", "--color", "always"]
    assert main(search) == 0
    out = capsys.readouterr().out
    assert "docs/guide.md:9\x1b[0m  1.00  " in out
    assert ": The sky is \x1b[1;31mblue in\x1b[0m summer.\n" in out


def test_a_misspelt_word_marks_what_was_searched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    assert main(["search", "sumer", "--color", "always"]) == 0
    assert "\x1b[1;31msummer\x1b[0m" in capsys.readouterr().out


def test_json_names_file_line_and_matches(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    assert main(["search", "blue sky", "--json", "--timeout", "0"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert (hit["file"], hit["path"]) == (str(folder / "docs" / "guide.md"), "docs/guide.md")
    assert (hit["line"], hit["note"], hit["is_current"]) == (9, None, True)
    assert hit["lines"][-1] == {
        "number": 9,
        "text": "The sky is blue in summer.",
        "matches": [[4, 7], [11, 15]],
    }


def test_edited_and_deleted_files_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "docs" / "gone.md").write_text("The sky falls.\n")
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    guide = folder / "docs" / "guide.md"
    guide.write_text("---\ntitle: moved\n---\n" + guide.read_text())
    os.remove(folder / "docs" / "gone.md")
    assert main(["search", "sky", "--timeout", "0"]) == 0
    out = capsys.readouterr().out
    assert "docs/guide.md:12  1.00  Guide > Eviction, Colours\n" in out
    assert "\n  12: The sky is blue in summer.\n" in out
    assert "docs/gone.md:1  1.00 (no longer there)\n" in out
    guide.write_text("Everything is new.\n")
    assert main(["search", "sky", "--timeout", "0"]) == 0
    assert "docs/guide.md:9  1.00 (changed since it was indexed)" in capsys.readouterr().out


@pytest.mark.parametrize(("width", "environ"), [(80, {}), (120, {}), (80, {"NO_COLOR": "1"})])
def test_a_terminal_gets_marked_lines_that_fit(
    folder: Path, tmp_path: Path, width: int, environ: dict[str, str]
) -> None:
    require_program("script", package="bsdutils")
    (folder / "long.md").write_text("a word " * 40 + "then the zebra, and " + "more words " * 40)
    (folder / "deep.py").write_text("if True:\n\tif True:\n        zebra = '斑馬' * 2\n")
    main(["index", "--lexical", "-q", str(folder)])
    search = f"{sys.executable} -m hotstart search zebra --timeout 0 -q --path {folder}"
    done = subprocess.run(
        ["script", "-qec", f"stty cols {width}; {search}", str(tmp_path / "typescript")],
        capture_output=True,
        timeout=120,
        env={**os.environ, "TERM": "xterm", **environ},
        cwd=folder,
    )
    shown = done.stdout.decode().replace("\r\n", "\n").splitlines()
    mark = "zebra" if environ else "\x1b[1;31mzebra\x1b[0m"
    assert any(f":         {mark} = '斑馬' * 2" in line for line in shown)
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown]
    (cut,) = (line for line in plain if "then the zebra" in line)
    assert (len(cut), cut.count("…")) == (width, 2)
    assert max(map(len, plain)) <= width
    assert ("\x1b" in "".join(shown)) == (not environ)


@pytest.mark.parametrize(
    ("place", "printed"),
    [
        ("docs/guide.md:3-5", "3: ## Eviction\n4: \n5: Models idle longest are unloaded first "),
        ("docs/guide.md:9", "9: The sky is blue in summer.\n"),
        ("docs/guide.md:9-99", "9: The sky is blue in summer.\n"),
        ("app.py:2:5", "2:     return name\n"),
        ("app.py", "1: def load_model(name):\n2:     return name\n"),
    ],
)
def test_get_prints_lines(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    printed: str,
) -> None:
    main(["index", "--lexical", "-q", str(folder)])
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert main(["get", place]) == 0
    assert capsys.readouterr().out.startswith(printed)
    monkeypatch.chdir(folder / "docs")  # a path of the index is found from below, too
    assert main(["get", place, "-N"]) == 0
    without = re.sub(r"(?m)^\d+: ", "", printed)
    assert capsys.readouterr().out.startswith(without)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("app.py:3", "lines of 1 to 2"),
        ("app.py:2-1", "lines of 1 to 2"),
        ("nothing.py", "a file that is there"),
        ("blob.bin", "passed over: binary"),
        ("docs", "passed over: unreadable"),
        ("outside", "a path below"),
        ("../elsewhere.txt", "Neither"),
    ],
)
def test_get_reads_text_below_an_indexed_folder_alone(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    told: str,
) -> None:
    main(["index", "--lexical", "-q", str(folder)])
    (folder.parent / "elsewhere.txt").write_text("secret")
    (folder / "outside").symlink_to(folder.parent / "elsewhere.txt")
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert main(["get", place]) in {1, 2}
    printed = capsys.readouterr()
    assert (printed.out, told in printed.err) == ("", True), printed.err
