"""A WSGI application that has its model loaded from the import on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable

from endurance.account import MODEL
from hotstart import Embedder

EMBEDDER = Embedder(MODEL, strategy="background")
QUESTION = "How do I reset my password?"


def application(
    environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    found = environ["PATH_INFO"] == "/embed"
    start_response("200 OK" if found else "404 Not Found", [("Content-Type", "application/json")])
    if not found:
        return [b"{}"]
    vector = EMBEDDER.encode(QUESTION).tolist()
    return [json.dumps({"pid": os.getpid(), "vector": vector}).encode()]
