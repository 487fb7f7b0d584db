"""The commands as people type them: what they print, on which stream, with which status."""

from __future__ import annotations

import json
import os
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
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, MULTI_VECTOR, RERANKERS, SPARSE, cosines

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
        (["search"], 2, "QUERY must be a text with a word in it"),
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


@pytest.mark.parametrize("arguments", [["nonsense"], ["get"], ["models", "nonsense"]])
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


def test_calibrate_records_the_scale_of_cosines(
    fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Embedder(pool=Pool()).embed("a").similarity_scale is None
    assert main(["models", "calibrate", "all-MiniLM-L6-v2"]) == 0
    assert capsys.readouterr().out.endswith("hybrid search multiplies its cosines with 1\n")
    assert Embedder(pool=Pool()).embed("a").similarity_scale == pytest.approx(1.0, abs=0.001)
    assert main(["models", "calibrate", TINY]) == 2  # its weights are random
    assert "MODEL must be a model that tells texts apart" in capsys.readouterr().err


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
