"""A local HTTP server with the protocol of the Hugging Face hub, for a real client."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_IN_LFS = (".safetensors", ".bin", ".onnx", "_data", "_value", ".pt")


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the files below `folder`, by the name that the hub gives them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


class LocalHub(ThreadingHTTPServer):
    """Serves commits of one repository, `owner/name` unless it is renamed.

    Attributes:
        commits: the files of each commit.
        branches: the commit of each branch.
        lists_lfs: whether the list of files says which are in Git LFS, as some mirrors do not.
        cuts: the bytes after which the connection of a file is cut, by the end of its name.
        ends_after_a_cut: whether the server answers 503 from the first cut on.
        refusal: the HTTP status and the error code of every answer, if not None.
        requests: method and path of each request, and the range it asked for.
        trusted: the paths that a token was sent to.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], repository: str = "owner/name") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.commits = {"a" * 40: files}
        self.branches = {"main": "a" * 40}
        self.lists_lfs = True
        self.cuts: dict[str, int] = {}
        self.ends_after_a_cut = False
        self.refusal: tuple[int, str] | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.trusted: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def storage(self) -> str:
        """The address of files in Git LFS: another host, as for the hub."""
        return f"http://localhost:{self.server_address[1]}"

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the branch main."""
        return self.commits[self.branches["main"]]

    @files.setter
    def files(self, files: dict[str, bytes]) -> None:
        self.commits[self.branches["main"]] = files

    def move_main(self, files: dict[str, bytes]) -> str:
        """Commit `files` to the branch main and return the commit."""
        commit = hashlib.sha1(repr(sorted(files)).encode()).hexdigest()
        self.commits[commit] = files
        self.branches["main"] = commit
        return commit

    def sent(self) -> list[str]:
        """Return the names of the files whose content was sent, in order."""
        return [
            path.partition("/resolve/")[2].partition("/")[2]
            for method, path, _ in self.requests
            if method == "GET" and "/resolve/" in path
        ]

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for."""
        return [asked for _, path, asked in self.requests if asked and "/lfs/" in path]

    @contextmanager
    def running(self) -> Iterator[LocalHub]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        yield self
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server
        path = self.path.partition("?")[0]
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if "Authorization" in self.headers:
            hub.trusted.append(path)
        if hub.refusal:
            status, code = hub.refusal
            self._send(b"{}", {"X-Error-Code": code} if code else {}, status)
        elif path.startswith(f"/api/models/{hub.repository}"):
            self._list(path)
        elif path.startswith(f"/{hub.repository}/resolve/"):
            self._resolve(path.removeprefix(f"/{hub.repository}/resolve/"))
        elif path.startswith("/lfs/"):
            self._send_lfs(path)
        else:
            self._send(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

    def _commit(self, revision: str) -> str | None:
        commit = self.server.branches.get(revision, revision)
        return commit if commit in self.server.commits else None

    def _list(self, path: str) -> None:
        commit = self._commit(path.rpartition("/revision/")[2] or "main")
        if commit is None:
            self._send(b"{}", {"X-Error-Code": "RevisionNotFound"}, 404)
            return
        entries = [self._entry(*each) for each in self.server.commits[commit].items()]
        info = {"id": self.server.repository, "sha": commit, "siblings": entries, "tags": []}
        self._send(json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _entry(self, name: str, content: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"rfilename": name, "size": len(content)}
        if self.server.lists_lfs and name.endswith(_IN_LFS):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
        return entry

    def _resolve(self, path: str) -> None:
        revision, _, name = path.partition("/")
        commit = self._commit(revision)
        content = self.server.commits.get(commit or "", {}).get(name)
        if content is None:
            self._send(b"{}", {"X-Error-Code": "EntryNotFound"}, 404)
            return
        headers = {"X-Repo-Commit": str(commit)}
        if name.endswith(_IN_LFS):
            digest = hashlib.sha256(content).hexdigest()
            headers |= {
                "X-Linked-ETag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self.server.storage}/lfs/{commit}/{name}",
            }
            self._send(b"", headers, 302)
        else:
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(content, headers | {"ETag": f'"{digest}"'})

    def _send_lfs(self, path: str) -> None:
        commit, _, name = path.removeprefix("/lfs/").partition("/")
        content = self.server.commits[commit][name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        status = 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
            status = 206
        cut = next((n for end, n in self.server.cuts.items() if name.endswith(end)), None)
        self._send(content, headers, status, cut)

    def _send(
        self, content: bytes, headers: dict[str, str], status: int = 200, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True
            if self.server.ends_after_a_cut:
                self.server.refusal = (503, "")
