"""The program of a measured process.

Its text is passed to `python -c`, so that its clock starts before hotstart is imported. Arguments:
the subject (`hotstart` or `sentence-transformers`), the model, the strategy or "", and the mode:
`plain`, `imports` (under -X importtime, with marks on standard error) or `compiled` (bytecode may
be written). The last line of output is the result as JSON.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()

import atexit  # noqa: E402 - the clock goes first
import os  # noqa: E402
import sys  # noqa: E402

if sys.argv[-1] == "imports":
    os.write(2, b"hotstart mark start\n")

TYPE_CHECKING = False  # the import of typing would be counted nowhere
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Mark = Callable[[str], None]

TEXT = "Where does the time go on the way to the first vector?"
_LONGEST_PROMOTION = 30.0  # seconds
_TOKENIZER = ("hotstart.engines.graph", "open_tokenizer")


def main(subject: str, model: str, strategy: str, mode: str) -> None:
    """Measure and print."""
    if mode == "compiled":
        sys.dont_write_bytecode = False
    marks = [("start", _BEGAN)]

    def mark(name: str) -> None:
        if marks[-1][0] not in {name, "first vector"}:  # only the first load counts
            marks.append((name, time.monotonic()))
            if mode == "imports":
                os.write(2, f"hotstart mark {name}\n".encode())

    result: dict[str, Any] = {"marks": marks}
    # Registered first, so it runs last.
    atexit.register(_print_result, result)
    try:
        if subject == "hotstart":
            _hotstart(model, strategy, mark, result, traced=mode == "imports")
        else:
            _sentence_transformers(model, mark)
    except Exception as error:  # noqa: BLE001 - the parent is told and raises it
        facts = getattr(error, "facts", f"{type(error).__name__}: {error}")
        result["error"] = [facts, getattr(error, "remedy", "")]


def _hotstart(
    model: str, strategy: str, mark: Mark, result: dict[str, Any], *, traced: bool
) -> None:
    from hotstart.embedder import Embedder

    mark("imported")
    began = time.monotonic()
    embedder = Embedder(
        model, strategy=strategy or None, on_progress=lambda stage, fraction: mark(stage)
    )
    result["constructor"] = time.monotonic() - began
    embedder.wait_ready()
    mark("ready")
    embedder.embed_query(TEXT)
    mark("first vector")
    began = time.monotonic()
    embedder.embed_query(TEXT)
    result["second"] = time.monotonic() - began
    _await_promotions()
    result["engine"] = embedder.engine
    result["status"] = embedder.status  # called at the end
    result["dont_write_bytecode"] = sys.dont_write_bytecode
    result["uncompiled"] = _uncompiled()
    if traced:
        result["tokenizer"] = _tokenizer_time(embedder)
        result["library"] = _library_time()


def _await_promotions() -> None:
    from hotstart.pool.pool import default_pool

    default_pool().settle(_LONGEST_PROMOTION)


def _sentence_transformers(model: str, mark: Mark) -> None:
    import importlib

    library = importlib.import_module("sentence_transformers")
    mark("imported")
    loaded = library.SentenceTransformer(model, device="cpu", local_files_only=True)
    mark("ready")
    loaded.encode(TEXT, show_progress_bar=False)
    mark("first vector")


def _tokenizer_time(embedder: Any) -> float | None:
    """Return the seconds of the tokenizer in a load, from a second load under a profile hook."""
    import threading

    times: list[float] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_name
        if (frame.f_globals.get("__name__"), name) == _TOKENIZER and event in {"call", "return"}:
            times.append(time.monotonic())

    embedder.unload()
    threading.setprofile(watch)  # in the loading thread
    embedder.wait_ready()
    threading.setprofile(None)
    return times[1] - times[0] if len(times) > 1 else None


def _library_time() -> float | None:
    """Return the seconds that the load of ONNX Runtime's library took; None without it."""
    from hotstart.ort import LibraryUnavailable, load_library

    try:
        return load_library().seconds
    except LibraryUnavailable:
        return None


def _uncompiled() -> list[str]:
    """Return the imported modules without usable bytecode."""
    names = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec and spec.cached and str(spec.origin).endswith(".py"):
            try:
                with open(spec.cached, "rb") as file:
                    header = file.read(12)
                stamp = int(os.stat(spec.origin).st_mtime) & 0xFFFFFFFF
                usable = header[4] != 0 or int.from_bytes(header[8:], "little") == stamp
            except (OSError, IndexError):
                usable = False
            if not usable:
                names.append(name)
    return names


def _print_result(result: dict[str, Any]) -> None:
    import json

    status = result.pop("status", None)
    if status is not None:
        loaded = status()
        result |= {
            "stages": loaded.stages,
            "refused": dict(loaded.refused),
            "strategy": loaded.strategy,
        }
    print(f"\n{json.dumps(result)}", flush=True)  # noqa: T201 - it is what this program is for


if __name__ == "__main__":
    main(subject=sys.argv[1], model=sys.argv[2], strategy=sys.argv[3], mode=sys.argv[4])
