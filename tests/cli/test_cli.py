"""The commands as people type them: what they print, on which stream, with which status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess

import numpy as np
import pytest

from hotstart import Embedder
from hotstart._version import __version__
from hotstart.cli import main
from hotstart.config import Settings
from hotstart.search.store import Store
from support.golden import FAMILIES, MULTI_VECTOR, RERANKERS, SPARSE, cosines
from support.programs import require_program

TINY = str(FAMILIES / "bert-mean-normalize" / "model")
Python = Callable[..., "CompletedProcess[str]"]


def test_embed_prints_a_vector_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "--model", TINY, "one", "two"]) == 0
    lines = capsys.readouterr().out.splitlines()
    vectors = np.array([[float(x) for x in line.split()] for line in lines], np.float32)
    np.testing.assert_allclose(vectors, Embedder(TINY).encode(["one", "two"]), rtol=1e-6)


def test_embed_json_keeps_the_text_beside_its_vector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "--model", TINY, "--json", "--truncate-dim", "4", "żółw", "b"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["text"] for entry in entries] == ["żółw", "b"]
    assert [len(entry["embedding"]) for entry in entries] == [4, 4]


def test_embed_prints_sparse_embeddings_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(SPARSE / "bert" / "model")
    assert main(["embed", "--model", folder, "--kind", "sparse", "one", "two"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [dict(zip(entry["indices"], entry["values"], strict=True)) for entry in entries]
    expected = Embedder(folder).encode_sparse(["one", "two"])
    assert [entry["text"] for entry in entries] == ["one", "two"]
    assert found == [each.as_dict() for each in expected]
    assert main(["embed", "--model", folder, "--kind", "sparse", "--normalize", "one"]) != 0


def test_embed_prints_a_vector_for_each_token(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(MULTI_VECTOR / "colbert" / "model")
    run = ["embed", "--model", folder, "--kind", "multi_vector", "--prompt-name", "query", "one"]
    assert main(run) == 0
    (entry,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = Embedder(folder).encode_multi_vector("one", task="query")
    np.testing.assert_allclose(entry["embedding"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("closed", "arguments"),
    [("<&-", "-"), (">&-", "text"), ("2>&-", "text"), ("<&- >&- 2>&-", "-")],
)
def test_closed_streams_are_empty_ones(closed: str, arguments: str) -> None:
    command = f"'{sys.executable}' -m hotstart embed --model '{TINY}' {arguments} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "2>&-")


def test_embed_reads_lines_and_writes_npy(python: Python, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    arguments = ["-m", "hotstart", "embed", "--model", TINY, "--npy", str(path), "-"]
    done = python(*arguments, input="first\nsecond\r\n\nfourth\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    vectors = np.load(path)
    assert (vectors.shape, vectors.dtype) == ((4, 32), np.float32)
    expected = Embedder(TINY).encode(["first", "second", "", "fourth"])
    assert cosines(vectors, expected).min() > 0.9999


def test_embed_of_an_endless_pipe_answers_as_it_goes() -> None:
    endless = "import sys\nwhile True: sys.stdout.write('text\\n')"
    embed = [sys.executable, "-m", "hotstart", "embed", "--model", TINY, "-"]
    with (
        subprocess.Popen([sys.executable, "-c", endless], stdout=PIPE, stderr=DEVNULL) as writer,
        subprocess.Popen(embed, stdin=writer.stdout, stdout=PIPE, stderr=PIPE) as embedding,
    ):
        assert writer.stdout is not None
        assert embedding.stdout is not None
        assert embedding.stderr is not None
        writer.stdout.close()
        assert all(embedding.stdout.readline() for _ in range(3))
        embedding.stdout.close()  # as head does
        assert embedding.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["embed", "--model", "nobody/nothing", "x"], 1, "hotstart models pull nobody/nothing"),
        (["embed", "--model", "a/b/c", "x"], 2, "owner/name"),
        (["embed", "--model", TINY, "--truncate-dim", "99", "x"], 2, "from 1 to 32"),
        (["embed", "--model", TINY, "--prompt-name", "no", "x"], 2, "query, document"),
        (["embed", "--model", TINY, "\udcff"], 2, "lone surrogate"),
        (["index", "/no/such/folder"], 2, "folder"),
        (["index", "/tmp", "--model", "splade-v3"], 1, "splade-v3 is a sparse model"),
        (["embed", "--model", "bge-reranker-base", "x"], 1, "is a reranker: it gives no dense"),
        (["embed", "--model", "splade-v3", "--normalize", "x"], 2, "the kind of the model is"),
        (["models", "pull", "all-MinLM-L6-v2"], 1, "Did you mean all-minilm-l6-v2"),
        (["search", "x", "--path", "/"], 1, "hotstart index /"),
        (["models", "verify", "nobody/nothing"], 1, "hotstart models prepare nobody/nothing"),
        (["models", "rm", "nobody/nothing"], 1, "hotstart models prepare nobody/nothing"),
        (
            ["models", "verify", "a/b", "--precision", "int8", "--revision", "v1"],
            1,
            "hotstart models prepare a/b --revision v1 --precision int8",
        ),
        (
            ["models", "show", "a/b", "--kind", "reranker"],
            1,
            "hotstart models pull a/b --kind reranker",
        ),
        (["models", "show", "/no/such"], 1, "config.json"),
    ],
)
def test_an_error_is_one_line_with_its_remedy(
    capsys: pytest.CaptureFixture[str],
    fresh: Settings,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    assert main(arguments) == status
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.startswith("hotstart: ")
    assert message in shown.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["search"], ["models", "nonsense"]])
def test_misuse_exits_2_with_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: hotstart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["serch", "x"], "search"),
        (["models", "prepair", "m"], "prepare"),
        (["search", "x", "--topk", "3"], "--top-k"),
        (["index", "--lexcal"], "--lexical"),
        (["embed", "a", "--normalise"], "--normalize"),
        (["search", "x", "--tpo", "3"], "--top-k"),  # and not --port, which search lacks
    ],
)
def test_a_typo_gets_a_suggestion(
    capsys: pytest.CaptureFixture[str], arguments: list[str], suggested: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"Did you mean {suggested}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["models"], ["help"], ["help", "index"], ["help", "models"], ["embed", "-h"]]
)
def test_help_is_one_step_away(python: Python, arguments: list[str]) -> None:
    done = python("-m", "hotstart", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: hotstart")
    if "models" not in arguments:
        assert "examples:\n  hotstart" in done.stdout


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(python: Python, option: str) -> None:
    assert python("-m", "hotstart", option).stdout == f"hotstart {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "x", "-n", "0"], "--top-k must be a positive integer, got 0."),
        (["search", "x", "--timeout", "-1"], "--timeout must be a number from 0 on, got -1.0."),
        (["serve", "--port", "99999"], "--port must be a port, or 0 for a free one, got 99999."),
        (["embed", "-", "more"], "TEXT must be texts, or - alone"),
        (["embed", "a", "--npy", "/no/such/x.npy"], "--npy must be a file in a folder"),
        (["models", "prepare", TINY, "--precision", "int4"], "--precision must be one of float32"),
        (["models", "show", "nobody/nothing"], "Run: hotstart models pull nobody/nothing.\n"),
    ],
)
def test_messages_speak_the_words_of_the_command_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh: Settings,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    main(["index", "--lexical", "-q"])
    capsys.readouterr()
    assert main(arguments) in {1, 2}
    assert message in capsys.readouterr().err


def test_embed_reads_a_pipe_without_being_told(python: Python) -> None:
    done = python("-m", "hotstart", "embed", "--model", TINY, "--json", input="one\ntwo\n")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]


def test_control_characters_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;title\x07.md"
    (tmp_path / name).write_text("# Head\x9b31m\n\nred \x1b[31m \u202egnirts\n")
    assert main(["index", str(tmp_path), "--lexical"]) == 0
    capsys.readouterr()
    assert main(["search", "red", "--path", str(tmp_path), "-m", TINY]) == 0
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\u202e")
    assert r"a\x1b]0;title\x07.md:1  Head\x9b31m" in out
    assert main(["index", f"{tmp_path}/\x1b[2J"]) == 2
    assert r"\x1b[2J" in capsys.readouterr().err


def test_progress_is_lines_where_there_is_no_terminal(tmp_path: Path, python: Python) -> None:
    for number in range(200):
        text = " ".join(f"word{number} of some length" for _ in range(60))
        (tmp_path / f"{number}.md").write_text(text)
    done = python("-m", "hotstart", "index", str(tmp_path))
    lines = [line for line in done.stderr.splitlines() if line.startswith("Vectors: ")]
    steps = [int(line.split()[1]) for line in lines]
    assert steps == sorted(set(steps))
    assert len(lines) >= 1
    quiet = python("-m", "hotstart", "index", "-q", "--model", TINY, str(tmp_path))
    assert quiet.stderr == ""


def test_ctrl_c_says_that_the_work_is_kept(tmp_path: Path) -> None:
    for number in range(400):
        text = " ".join(f"word{number} of some length" for _ in range(60))
        (tmp_path / f"{number}.md").write_text(text)
    command = [sys.executable, "-m", "hotstart", "index", str(tmp_path)]
    with subprocess.Popen(command, stderr=PIPE, stdout=PIPE, text=True) as indexing:
        assert indexing.stderr is not None
        while not indexing.stderr.readline().startswith("Vectors: "):
            pass
        indexing.send_signal(signal.SIGINT)
        out, err = indexing.communicate(timeout=60)
    assert (indexing.returncode, out) == (130, "")
    assert err.endswith("What is indexed is kept. Run the same command to go on.\n")
    assert Store(str(tmp_path / ".hotstart" / "index.db"))._database.number(
        "SELECT count(*) FROM vectors"
    )


def test_an_index_without_a_model_says_what_is_there(
    folder: Path, fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(folder), "-m", "nobody/nothing"]) == 1
    shown = capsys.readouterr()
    assert "no vectors were computed" in shown.out
    assert "hotstart models pull nobody/nothing" in shown.err
    assert main(["search", "eviction", "--path", str(folder), "-m", "nobody/nothing"]) == 0
    assert "mode lexical" in capsys.readouterr().out


def test_a_shell_completes(tmp_path: Path) -> None:
    line = "hotstart mod"
    environ = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"),
    }
    subprocess.run([sys.executable, "-m", "hotstart"], env=environ, timeout=60, check=False)
    assert (tmp_path / "out").read_text().strip() == "models"


def test_a_fault_of_our_own_shows_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr("hotstart.cli.models.read_settings", broken)
    assert main(["models", "list"]) == 1
    assert "RuntimeError: not foreseen. Run it again with --debug" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        main(["--debug", "models", "list"])


def test_models_from_nothing_to_nothing(
    fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*arguments: str) -> str:
        assert main(["models", *arguments]) == 0
        return capsys.readouterr().out

    assert shown("list").splitlines()[1].endswith("no")
    assert json.loads(shown("show", "--json", TINY))["prepared"] is None
    assert "is already in" in shown("pull", "all-MiniLM-L6-v2")
    assert "prepared in" in shown("prepare", TINY)
    assert [entry["dimension"] for entry in json.loads(shown("list", "--json"))] == [32]
    assert "4 files match their checksums" in shown("verify", TINY)
    facts = json.loads(shown("show", "--json", TINY))
    assert facts["prepared"].startswith(fresh.cache_dir)
    assert facts["max_seq_length"] == Embedder(TINY).max_seq_length
    assert "removed" in shown("rm", TINY)
    assert json.loads(shown("list", "--json")) == []


def test_rm_removes_the_named_variant_alone(
    fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for precision in ("float32", "int8"):
        assert main(["models", "prepare", TINY, "--precision", precision]) == 0
    assert main(["models", "rm", TINY, "--precision", "int8"]) == 0
    assert "removed (int8)" in capsys.readouterr().out
    assert main(["models", "verify", TINY]) == 0
    assert main(["models", "verify", TINY, "--precision", "int8"]) == 1
    assert main(["models", "rm", TINY]) == 0
    assert main(["models", "verify", TINY]) == 1


@pytest.mark.parametrize("action", ["show", "prepare", "verify", "rm"])
def test_an_unknown_engine_is_refused(
    fresh: Settings, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["models", action, TINY, "--engine", "torch"])
    assert caught.value.code == 2
    assert "invalid choice: 'torch' (choose from" in capsys.readouterr().err


def test_verify_finds_one_changed_byte(fresh: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "prepare", "all-MiniLM-L6-v2"]) == 0
    weights = next(Path(fresh.cache_dir).rglob("model.safetensors"))
    stamps, content = weights.stat(), bytearray(weights.read_bytes())
    content[-100_000] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    os.utime(weights, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    capsys.readouterr()
    assert main(["models", "verify", "all-MiniLM-L6-v2"]) == 1
    assert "differs from the record" in capsys.readouterr().err


# Index and search -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "guide.md").write_text(
        "# Guide\n\n## Eviction\n\nModels idle longest are unloaded first under pressure.\n\n"
        "## Colours\n\nThe sky is blue in summer.\n"
    )
    (root / "app.py").write_text("def load_model(name):\n    return name\n")
    (root / "ignored.txt").write_text("secret")
    (root / ".gitignore").write_text("ignored.txt\n")
    (root / "blob.bin").write_bytes(b"\0\1\2" * 100)
    return root


def test_index_then_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "2 added, 0 changed, 0 removed, 0 unchanged" in out
    assert "skipped: 1 binary" in out
    assert main(["search", "who is unloaded under pressure?", "--path", str(folder / "docs")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("docs/guide.md:1  Guide > Eviction, Colours\n")
    summary = out.splitlines()[-1]
    assert "mode hybrid" in summary
    assert "engine onnx (all-MiniLM-L6-v2)" in summary
    assert "secret" not in out


def test_an_index_names_what_it_skips(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "uv.lock").write_text("x")
    command = ["index", str(folder), "--lexical"]
    assert main(command) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "skipped: 1 binary, 1 hidden, 1 lock file (--verbose names them)"
    assert main([*command, "--verbose", "--exclude", "*.py", "--include", "*.lock"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("1 added, 0 changed, 2 removed, 0 unchanged: 1 chunk,")
    assert main([*command, "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "skipped  lock file            uv.lock" in lines
    assert main([*command, "--exclude", "["]) == 2
    assert "--exclude must be a glob as in .gitignore, got '['." in capsys.readouterr().err


def test_several_folders_in_a_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert capsys.readouterr().out.startswith("notes/a.md:1\n")
    assert main(["search", "apple", "--store", str(folder)]) == 1
    assert f"Run: hotstart index PATH --store {folder}." in capsys.readouterr().err


def test_a_second_index_touches_only_what_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", str(folder)])
    (folder / "app.py").write_text("def unload_model(name):\n    return name\n")
    capsys.readouterr()
    assert main(["index", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "0 added, 1 changed, 0 removed, 1 unchanged" in out
    assert " 1 embedded" in out


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
    assert "    also notes_copy.md:1\n    score 1." in out
    assert "= words 1." in out


def test_an_index_without_vectors_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "--lexical", str(folder)]) == 0
    capsys.readouterr()
    assert main(["search", "eviction", "--path", str(folder)]) == 0
    assert "mode lexical" in capsys.readouterr().out.splitlines()[-1]


def test_the_bar_is_drawn_on_a_terminal_only(folder: Path, tmp_path: Path) -> None:
    """A real terminal of util-linux's `script`; where it is absent the bar cannot be looked at."""
    require_program("script", package="bsdutils")
    command = f"{sys.executable} -m hotstart index {folder}"
    done = subprocess.run(
        ["script", "-qec", command, str(tmp_path / "typescript")],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TERM": "xterm"},
    )
    assert "Vectors" in done.stdout
    assert "━" in done.stdout
    quiet = subprocess.run(command.split(), capture_output=True, text=True, timeout=120)
    assert "━" not in quiet.stdout + quiet.stderr


def test_models_search_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["sparse"], ["multilingual"], ["reranker"], ["english"]):
        assert main(["models", "search", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0].startswith("MODEL ")
        assert len(lines) > 5


def test_models_search_without_a_match_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "search", "all-MinLM"]) == 1
    assert "Did you mean all-minilm" in capsys.readouterr().err
    assert main(["models", "search", "--json", "all-MinLM"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_embed_knows_the_kind_of_a_known_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds: list[str] = []

    def made(model: str, *, strategy: str, kind: str) -> Embedder:
        kinds.append(kind)
        return Embedder(SPARSE / "bert" / "model", kind=kind)

    monkeypatch.setattr("hotstart.cli.embed.Embedder", made)
    assert main(["embed", "--model", "splade-v3", "a text"]) == 0
    assert {"text", "indices", "values"} <= json.loads(capsys.readouterr().out).keys()
    assert kinds == ["sparse"]


def test_a_reranker_is_prepared_shown_and_removed(
    fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [str(RERANKERS / "bert-three-labels" / "model"), "--kind", "reranker"]

    def say(action: str, *options: str) -> str:
        assert main(["models", action, *model, *options]) == 0
        return capsys.readouterr().out

    assert json.loads(say("show", "--json"))["prepared"] is None
    assert "reranker-onnx-float32" in say("prepare")
    shown = json.loads(say("show", "--json"))
    assert shown["classifier"]["labels"] == ["contradiction", "entailment", "neutral"]
    assert main(["models", "list"]) == 0
    head, row = capsys.readouterr().out.splitlines()[:2]
    assert head.split()[:2] == ["MODEL", "KIND"]
    assert " reranker " in row
    assert main(["models", "list", "--json"]) == 0
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)] == ["reranker"]
    assert "match their checksums" in say("verify")
    assert "removed" in say("rm")
    assert main(["models", "verify", *model]) == 1
    assert "--kind reranker" in capsys.readouterr().err


def test_the_process_ends_while_a_thread_imports_the_preparation(python: Python) -> None:
    code = """
import sys, types
from types import SimpleNamespace
import hotstart.pool.pool as pool
from hotstart.cli import run
pool.default_pool = lambda: SimpleNamespace(loading=lambda: True)
sys.modules["hotstart.preparation.prepare"] = types.ModuleType("partially imported")
sys.argv = ["hotstart", "models"]
run()
"""
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_output_file_may_be_a_link_a_pipe_or_a_device(tmp_path: Path) -> None:
    target, link, fifo = (tmp_path / name for name in ("target.npy", "link.npy", "fifo.npy"))
    link.symlink_to(target)
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", fifo], stdout=PIPE)
    for path in (link, fifo, Path("/dev/null")):
        assert main(["embed", "a", "-m", TINY, "--npy", str(path)]) == 0
    assert link.is_symlink()
    assert np.load(target).shape == (1, 32)
    assert reader.communicate(timeout=60)[0] == target.read_bytes()
    assert fifo.is_fifo()
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["embed", "a", "--npy", "-"], "--npy must be a file"),
        (["embed", "a", "--npy", "/tmp"], "--npy must be a file, not a folder"),
        (["profile", TINY, "--html", "/tmp"], "--html must be a file, not a folder"),
        (["profile", TINY, "--runs", "0"], "--runs must be a positive integer"),
        (["search", "x", "--path", "/nowhere"], "--path must be a folder that is there"),
        (["search", "x", "-n", "0", "--path", "/"], "--top-k must be a positive integer"),
        (["search", "x", "--timeout", "nan", "--path", "/"], "--timeout must be a number"),
        (["models", "prepare", TINY, "--kind", "foo"], "--kind must be one of embedding"),
    ],
)
def test_wrong_values_are_told_before_the_work(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, told in printed.err) == ("", True), printed.err


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
