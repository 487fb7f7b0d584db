"""`hotstart embed`: write the vectors of texts to standard output or a file."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from hotstart.cli.terminal import check_output, write_output
from hotstart.embedder import Embedder
from hotstart.errors import InvalidInput
from hotstart.models.spec import check_kind, kind_known
from hotstart.progress import spinner

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run(arguments: argparse.Namespace) -> int:
    """Embed the texts and print or write their vectors."""
    texts = _texts(arguments.texts)
    if arguments.npy:
        check_output("--npy", arguments.npy)  # before the work
    kind = arguments.kind or kind_known(arguments.model)
    check_kind(arguments.model, "embedding" if kind == "reranker" else kind)
    # The model loads while the texts are read.
    embedder = Embedder(arguments.model, strategy="progressive", kind=kind)
    if kind != "embedding":
        return _print_rows(embedder, texts, arguments, kind)
    options = {
        "prompt_name": arguments.prompt_name,
        "normalize_embeddings": arguments.normalize,
        "truncate_dim": arguments.truncate_dim,
    }
    with spinner(f"Loading {arguments.model}", shown=not arguments.quiet):
        embedder.wait_ready()
    if arguments.npy:
        _write_npy(arguments.npy, embedder.encode(list(texts), **options))
        return 0
    kept: deque[str] = deque()
    for vector in embedder.encode_stream(_keep(texts, kept), convert_to_numpy=False, **options):
        text = kept.popleft()
        sys.stdout.write(_as_json(text, vector) if arguments.json else _as_numbers(vector))
    return 0


_OF_ONE_VECTOR = ("npy", "normalize", "truncate_dim")
_WINDOW = 64  # texts that are embedded together


def _print_rows(
    embedder: Embedder, texts: Iterator[str], arguments: argparse.Namespace, kind: str
) -> int:
    """Print the sparse or multi-vector embedding of each text as a line of JSON."""
    for name in _OF_ONE_VECTOR:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            expected = f"left out: it is for dense vectors, and the kind of the model is {kind}"
            raise InvalidInput(option, got=getattr(arguments, name), expected=expected)
    is_sparse = kind == "sparse"
    encode = embedder.encode_sparse if is_sparse else embedder.encode_multi_vector
    name = arguments.prompt_name
    task = name if name in {"query", "document"} else None
    while window := list(islice(texts, _WINDOW)):
        found = encode(window, task=task, prompt_name=None if task else name)
        for text, each in zip(window, found, strict=True):
            rows = each.as_object() if is_sparse else {"embedding": each}
            lists = {key: values.tolist() for key, values in rows.items()}
            sys.stdout.write(json.dumps({"text": text, **lists}, ensure_ascii=False) + "\n")
    return 0


def _texts(given: list[str]) -> Iterator[str]:
    """Return the texts; the lines of standard input for `-`, or for nothing and a pipe."""
    if given and given != ["-"]:
        if "-" in given:
            raise InvalidInput("TEXT", got=given, expected="texts, or - alone")
        return iter(given)
    if not given and sys.stdin.isatty():
        raise InvalidInput("TEXT", got="nothing", expected="a text, or a pipe on standard input")
    return _lines(sys.stdin)


def _lines(stream: io.TextIOBase | Iterable[str]) -> Iterator[str]:
    try:
        for line in stream:
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "standard input", got=error.object[error.start : error.end], expected="UTF-8 text"
        ) from error


def _keep(texts: Iterable[str], kept: deque[str]) -> Iterator[str]:
    """Yield `texts` and remember those that wait for their vectors."""
    for text in texts:
        kept.append(text)
        yield text


def _as_json(text: str, values: list[float]) -> str:
    return json.dumps({"text": text, "embedding": values}, ensure_ascii=False) + "\n"


def _as_numbers(values: list[float]) -> str:
    return " ".join(f"{value:.8g}" for value in values) + "\n"


def _write_npy(path: str, vectors: NDArray[Any]) -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, vectors)
    write_output(path, buffer.getvalue())
