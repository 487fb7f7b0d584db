"""Downloads from a local HTTP server with the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hotstart.config import Settings, read_settings
from hotstart.errors import DownloadFailed
from hotstart.models.hub import fetch, files_to_fetch
from hotstart.models.spec import ModelSpec
from support.golden import FAMILIES

MODEL = FAMILIES / "bert-mean-normalize" / "model"
COMMIT = "a" * 40
SURPLUS = {"pytorch_model.bin": b"never", "README.md": b"never", "onnx/model.onnx": b"never"}


class Hub(ThreadingHTTPServer):
    """Serves MODEL as owner/name at COMMIT, and records requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        files = {str(f.relative_to(MODEL)): f.read_bytes() for f in MODEL.rglob("*") if f.is_file()}
        self.files = files | SURPLUS
        self.requests: list[str] = []
        self.broken: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self) -> list[str]:
        """Files whose content was sent, in order."""
        return [path for path in self.requests if path.startswith("GET /owner")]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/owner/name"):
            self._send(json.dumps(self._info()).encode(), {"Content-Type": "application/json"})
            return
        name = path.removeprefix(f"/owner/name/resolve/{COMMIT}/")
        content = self.server.files.get(name)
        if content is None:
            self._send(b"{}", {"X-Error-Code": "EntryNotFound"}, status=404, body=body)
        elif name in self.server.broken and body:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            tag = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}
            self._send(content, headers, body=body)

    def _info(self) -> dict[str, object]:
        siblings = [{"rfilename": name} for name in self.server.files]
        return {"id": "owner/name", "sha": COMMIT, "siblings": siblings, "tags": []}

    def _send(
        self, content: bytes, headers: dict[str, str], status: int = 200, body: bool = True
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh process on an empty machine."""
    import os

    return os.environ | {
        "HOTSTART_CACHE_DIR": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "huggingface"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


Python = Callable[..., "CompletedProcess[str]"]


def test_pull_downloads_needed_files_weights_last_and_only_once(
    hub: Hub, machine: dict[str, str], python: Python
) -> None:
    env = machine | {"HF_ENDPOINT": hub.url}
    pulled = python("-m", "hotstart", "models", "pull", "owner/name", env=env)
    assert pulled.returncode == 0, pulled.stderr
    sent = [path.rpartition("/")[2] for path in hub.sent()]
    assert sent[-1] == "model.safetensors"
    assert not {"pytorch_model.bin", "README.md", "model.onnx"} & set(sent)
    requests = len(hub.requests)
    embedded = python("-m", "hotstart", "embed", "--model", "owner/name", "text", env=env)
    assert embedded.returncode == 0, embedded.stderr
    assert len(embedded.stdout.split()) == 32
    again = python("-m", "hotstart", "models", "pull", "owner/name", env=env)
    assert "is already in" in again.stdout
    assert len(hub.requests) == requests


def test_an_interrupted_download_is_reported_as_incomplete(
    hub: Hub, machine: dict[str, str], python: Python
) -> None:
    env = machine | {"HF_ENDPOINT": hub.url, "HF_HUB_DOWNLOAD_TIMEOUT": "2"}
    hub.broken.add("model.safetensors")
    pulled = python("-m", "hotstart", "models", "pull", "owner/name", env=env)
    assert pulled.returncode == 1
    assert "could not be downloaded" in pulled.stderr
    assert "Traceback" not in pulled.stderr
    embedded = python("-m", "hotstart", "embed", "--model", "owner/name", "text", env=env)
    assert "is incomplete" in embedded.stderr
    assert "model.safetensors" in embedded.stderr
    hub.broken.clear()
    assert python("-m", "hotstart", "models", "pull", "owner/name", env=env).returncode == 0


def test_a_load_uses_the_network_only_with_allow_download(
    hub: Hub, machine: dict[str, str], python: Python
) -> None:
    env = machine | {"HF_ENDPOINT": hub.url}
    code = "from hotstart import Embedder; print(Embedder('owner/name'%s).encode('a').shape)"
    refused = python("-c", code % "", env=env)
    assert "ModelNotFound" in refused.stderr
    assert hub.requests == []
    assert python("-c", code % ", allow_download=True", env=env).stdout == "(32,)\n"


def test_an_unreachable_hub_and_offline_mode_raise_download_failed(
    machine: dict[str, str], python: Python, fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = machine | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    pulled = python("-m", "hotstart", "models", "pull", "owner/name", env=env)
    assert (pulled.returncode, pulled.stderr.count("\n")) == (1, 1)
    assert "could not be downloaded" in pulled.stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE is set"):
        fetch(ModelSpec("owner/name"), read_settings())


def test_files_to_fetch_selects_one_format_of_weights() -> None:
    common = ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"]
    dense = ["2_Dense/config.json", "2_Dense/model.safetensors"]
    surplus = ["README.md", "tf_model.h5", "pytorch_model.bin", "openvino/model.xml", "vocab.txt"]
    onnx = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_O4.onnx"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"

    single = files_to_fetch([*common, *dense, *surplus, *onnx, "model.safetensors"], "bert")
    assert single == [*common, *dense, "model.safetensors"]
    assert files_to_fetch([*common, *shards, index, *onnx], "bert") == [*common, index, *shards]
    only = ["pytorch_model.bin", "2_Dense/pytorch_model.bin"]
    assert files_to_fetch([*common, *only], "bert") == [*common, *only[::-1]]
    both = files_to_fetch([*common, *dense, *only], "bert")
    assert both == [*common, dense[0], dense[1], only[0]]


def test_an_architecture_without_a_graph_is_fetched_as_onnx() -> None:
    """Listings of nomic-embed-text-v1.5 and bge-m3, shortened."""
    nomic = ["config.json", "tokenizer.json", "model.safetensors", "onnx/model.onnx"]
    nomic += ["onnx/model_fp16.onnx"]
    assert files_to_fetch(nomic, "unknown") == [*nomic[:2], "onnx/model.onnx"]
    assert files_to_fetch(nomic, "nomic_bert") == nomic[:3]
    assert files_to_fetch(nomic[:3], "unknown") == nomic[:3]
    graph = ["onnx/Constant_7_attr__value", "onnx/model.onnx", "onnx/model.onnx_data"]
    m3 = ["config.json", *graph, "onnx/config.json", "pytorch_model.bin", "sparse_linear.pt"]
    assert files_to_fetch(m3, "xlm-roberta") == ["config.json", "pytorch_model.bin"]
    assert files_to_fetch(m3, "unknown") == ["config.json", *graph]
