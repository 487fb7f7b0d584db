"""The servers that are compared, each started as its own documentation says, and their answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ChildFailed, anonymous, child_environment, cosine, spawn
from benchmarks.prepare import Workplace
from benchmarks.texts import passages, short_texts

HOTSTART, EIGHT_BITS = "hotstart", "hotstart, 8 bits"
TORCH, OPTIMUM = "infinity, torch", "infinity, optimum"
MODEL = "minilm"
"""What every server calls the model."""

READY_WITHIN = 180.0
_ASKED_EVERY = 0.02
_ENDS_WITHIN = 10.0
_ERROR_KEPT = 1500
LEAST_COSINE = 0.999

_PROGRESSIVE = f"""\
[models.{MODEL}]
kind = "embedding"
source = "all-MiniLM-L6-v2"
strategy = "progressive"
"""
CONFIGS = {HOTSTART: _PROGRESSIVE, EIGHT_BITS: _PROGRESSIVE + 'precision = "int8"\n'}
"""What hotstart.toml says, by the server's name."""

_REFERENCE = """\
import json
from sentence_transformers import SentenceTransformer
with open(CHECKED, encoding="utf-8") as file:
    texts = json.load(file)
print(json.dumps(SentenceTransformer(MODEL).encode(texts).tolist()))
"""


@dataclass(frozen=True)
class Site:
    """Where the servers find what they need.

    Attributes:
        infinity: the environment that infinity is installed in.
        folder: the model's own files and the export beside them, for infinity.
        configs: hotstart's, by the server's name.
        expected: the reference's vectors of `checked_texts()`.
    """

    place: Workplace
    infinity: Path
    folder: Path
    configs: dict[str, Path]
    expected: list[list[float]]


@dataclass(frozen=True)
class Server:
    """One server and how it is started.

    Attributes:
        command: what to run, given the site and a free port.
        ready: the path that answers 200 once it serves.
    """

    name: str
    command: Callable[[Site, int], list[str]]
    ready: str


def _hotstart(name: str) -> Callable[[Site, int], list[str]]:
    def command(site: Site, port: int) -> list[str]:
        config = ["--config", str(site.configs[name])]
        listening = ["--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "hotstart", "serve", *config, *listening]

    return command


def _infinity(engine: str) -> Callable[[Site, int], list[str]]:
    """The folder is the one it is started in: its cache of optimised graphs is named after it.

    Its optimum engine takes the first token's vector unless it is told how the model pools.
    """

    def command(site: Site, port: int) -> list[str]:
        program = str(site.infinity / "bin" / "infinity_emb")
        model = ["--model-id", ".", "--served-model-name", MODEL]
        running = ["--engine", engine, "--device", "cpu", "--pooling-method", "mean"]
        listening = ["--host", "127.0.0.1", "--port", str(port), "--url-prefix", "/v1"]
        return [program, "v2", *model, *running, *listening]

    return command


SERVERS = (
    Server(TORCH, _infinity("torch"), "/health"),
    Server(OPTIMUM, _infinity("optimum"), "/health"),
    Server(HOTSTART, _hotstart(HOTSTART), "/readyz"),
    Server(EIGHT_BITS, _hotstart(EIGHT_BITS), "/readyz"),
)
NAMES = tuple(server.name for server in SERVERS)


def checked_texts() -> list[str]:
    """Texts of which each server's vectors are compared, short ones and passages."""
    return short_texts(-1, 16) + passages(-1, 16)


def site(place: Workplace, infinity: Path) -> Site:
    """Make what the servers need below the workplace's home."""
    folder = place.home / "infinity-model"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=place.home) as name:
            staged = Path(name) / "model"
            shutil.copytree(place.model, staged)
            (staged / "onnx").mkdir()
            shutil.copyfile(place.export / "model.onnx", staged / "onnx" / "model.onnx")
            staged.rename(folder)
    configs = {name: place.home / f"hotstart-{n}.toml" for n, name in enumerate(CONFIGS)}
    for name, content in CONFIGS.items():
        configs[name].write_text(content, encoding="utf-8")
    checked = place.home / "checked.json"
    checked.write_text(json.dumps(checked_texts()), encoding="utf-8")
    program = f"CHECKED = {str(checked)!r}\n{place.complete(_REFERENCE)}"
    done = spawn(program, child_environment(place.cache), place.home)
    return Site(place, infinity, folder, configs, json.loads(done.output.splitlines()[-1]))


def infinity_version(environment: Path) -> str:
    """Return the version of the infinity-emb that `environment` has."""
    found = next(environment.glob("lib/*/site-packages/infinity_emb-*.dist-info"), None)
    return found.name.split("-")[1].removesuffix(".dist") if found else "not installed"


def shown(server: Server, site: Site) -> list[str]:
    """Return its command as it can be published, without this machine's paths."""
    folders = {f"{site.infinity / 'bin'}{os.sep}": "", f"{site.place.home}{os.sep}": ""}
    words = ["python" if word == sys.executable else word for word in server.command(site, 8080)]
    for folder, name in folders.items():
        words = [word.replace(folder, name) for word in words]
    return words


@contextmanager
def running(server: Server, site: Site) -> Iterator[tuple[int, float]]:
    """Run `server` in a fresh process, compared and ready; its port, and the seconds that took.

    Raises:
        ChildFailed: it ended, was not ready in time, or its answers are wrong.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = _started(server.command(site, port), site, log)
        try:
            await_ready(f"http://127.0.0.1:{port}{server.ready}", process)
            took = time.perf_counter() - start
            check(port, site.expected)
            yield port, took
        except ChildFailed as error:
            raise ChildFailed(f"{error}\n{_tail(log)}") from None
        finally:
            _end(process)


def _started(command: list[str], site: Site, log: Any) -> subprocess.Popen[bytes]:
    env = child_environment(site.place.cache)
    env |= {"HF_HOME": str(site.place.cache / "huggingface"), "DO_NOT_TRACK": "1"}
    try:
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=site.folder, env=env, start_new_session=True
        )
    except OSError as error:
        raise ChildFailed(f"{error.strerror}: {anonymous(command[0])}") from None


def await_ready(url: str, process: subprocess.Popen[bytes], within: float = READY_WITHIN) -> None:
    """Return once `url` answers with 200.

    Raises:
        ChildFailed: the process ended, or it took too long.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ChildFailed(f"it ended with status {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:  # nobody listens yet, or what does says that it is not ready
            time.sleep(_ASKED_EVERY)
    raise ChildFailed(f"not ready within {within:g} s")


def check(port: int, expected: list[list[float]]) -> float:
    """Return the lowest cosine of a server's vectors to `expected`.

    Raises:
        ChildFailed: it is too low, or the answer has another form.
    """
    body = json.dumps({"model": MODEL, "input": checked_texts()}).encode()
    url = f"http://127.0.0.1:{port}/v1/embeddings"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=READY_WITHIN) as answer:
            data = json.load(answer)["data"]
        found = [item["embedding"] for item in sorted(data, key=lambda item: item["index"])]
        least = min(cosine(*pair) for pair in zip(found, expected, strict=True))
    except urllib.error.HTTPError as error:
        raise ChildFailed(f"status {error.code}: {error.read(_ERROR_KEPT)!r}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ChildFailed(f"not an answer with vectors: {error!r}") from None
    if least < LEAST_COSINE:
        raise ChildFailed(f"wrong vectors: cosine {least} to the reference")
    return least


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _tail(log: Any) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - _ERROR_KEPT))
    return anonymous(log.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_ENDS_WITHIN)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
