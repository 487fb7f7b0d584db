"""A fake service for tests of the dashboard.

It sends documents and events in the format of the server. A test decides what happens with
`begin_load`, `fail`, `drop` and so on, and checks that the page shows it.
"""

from __future__ import annotations

import copy
import json
import queue
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from hotstart.telemetry import SECONDS, HistogramSnapshot

Model = dict[str, Any]

STAGES = ("metadata", "tokenizer", "fast_start", "full")


class FakeService:
    """The state of the fake service. Methods are thread-safe.

    Attributes:
        down: Reject new event streams with status 503.
        hybrid: Set when searches return hybrid hits. Requests with `timeout: null` wait for it.
        requests: The POST requests received, as (path, body).
    """

    def __init__(
        self, *, api_key: str | None = None, admin_key: str | None = None, index: bool = True
    ) -> None:
        self.api_key, self.admin_key, self.index = api_key, admin_key, index
        self.down = False
        self.hybrid = threading.Event()
        self.requests: list[tuple[str, Any]] = []
        self._began = time.monotonic()
        self._loads: dict[str, float] = {}
        self._models = {model["name"]: model for model in _models()}
        self._routes = [
            _route("/v1/embeddings", 2, 4, 9, 40, 55, 8),
            _route("/search", 0, 3, 12, 6),
        ]
        self._streams: list[queue.Queue[str | None]] = []
        self._lock = threading.RLock()

    # Called by tests.

    def begin_load(self, name: str, stage: str | None = STAGES[0]) -> None:
        """Start a load in its first stage; None if the model reports no stages."""
        with self._lock:
            model = self._models[name]
            self._loads[name] = time.monotonic()
            model["timeline"] = []
            if stage is not None:
                self._enter_stage(model, stage)
            self._enter(model, "loading", "requested")

    def next_stage(self, name: str, stage: str) -> None:
        """End the running stage and begin another one."""
        with self._lock:
            self._enter_stage(self._models[name], stage)
        self.publish()

    def advance(self, name: str, fraction: float) -> None:
        """Send the progress of the running stage."""
        with self._lock:
            model = self._models[name]
            progress = {
                "model": name,
                "version": model["version"],
                "stage": model["timeline"][-1]["stage"],
                "fraction": fraction,
                "elapsed": self._elapsed(name),
            }
        self._send("progress", progress)

    def finish_load(self, name: str) -> None:
        """End the running load successfully."""
        with self._lock:
            model = self._models[name]
            seconds = self._end_stage(model)
            model |= {"load_seconds": seconds, "loaded_at": time.time(), "error": None}
            model["memory"] = model["memory"] or 64_000_000
            self._enter(model, "ready", f"loaded in {seconds:.3f} s")

    def fail(self, name: str, reason: str, remedy: str = "") -> None:
        """Set the model to failed."""
        with self._lock:
            model = self._models[name]
            self._end_stage(model)
            model["error"] = {"reason": reason, "remedy": remedy}
            self._enter(model, "failed", reason)

    def unload(self, name: str) -> None:
        """Unload the model."""
        with self._lock:
            model = self._models[name]
            model["memory"] = None
            self._enter(model, "unloaded", "unload requested")

    def count(self, seconds: float) -> None:
        """Count one request for embeddings with this latency."""
        with self._lock:
            route = self._routes[0]
            route["count"] += 1
            counts = route["latency"]["counts"]
            for place in range(bisect_left(SECONDS, seconds), len(counts)):
                counts[place] += 1
        self.publish()

    def add_models(self, number: int) -> None:
        """Add ready models, named tenant-000 and so on."""
        with self._lock:
            for place in range(number):
                name = f"tenant-{place:03d}"
                self._models[name] = _model(name, memory=30_000_000 + place)
        self.publish()

    def drop(self) -> None:
        """End every event stream."""
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.put(None)

    # Called by the server.

    def listen(self) -> queue.Queue[str | None]:
        """Open an event stream: texts to send, the overview first, None at the end."""
        stream: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            self._streams.append(stream)
            stream.put(_event("overview", self.overview()))
        return stream

    def publish(self) -> None:
        """Send the overview to all event streams."""
        with self._lock:  # keeps the overviews in order
            self._send("overview", self.overview())

    def overview(self) -> dict[str, Any]:
        """Return the overview document."""
        with self._lock:
            models = copy.deepcopy(list(self._models.values()))
            routes = copy.deepcopy(self._routes)
        now = time.monotonic() - self._began
        return {"service": self._service(models, now) | {"requests": routes}, "models": models}

    def health(self) -> dict[str, Any]:
        """Return the response to an action."""
        models = self.overview()["models"]
        return {"models": {m["name"]: {k: m[k] for k in ("status", "reason")} for m in models}}

    def _service(self, models: Sequence[Model], now: float) -> dict[str, Any]:
        states = {model["status"] for model in models}
        return {
            "version": "0.1.0",
            "pid": 4021,
            "started": time.time() - now,
            "uptime": now,
            "status": "degraded" if "failed" in states else "healthy",
            "memory": {
                "rss": 1_310_000_000,
                "limit": 24_000_000_000,
                "left": 9_000_000_000,
                "limited_by": "cgroup memory.max",
            },
            "index": self.index,
            "keys": {"api": bool(self.api_key), "admin": bool(self.admin_key)},
            "draining": False,
        }

    def _enter(self, model: Model, status: str, reason: str) -> None:
        model |= {"status": status, "reason": reason}
        for version in model["versions"]:
            if version["version"] == model["version"]:
                version |= {"status": status, "reason": reason}
        event = {
            "model": model["name"],
            "version": model["version"],
            "status": status,
            "reason": reason,
            "at": time.time(),
        }
        self._send("state", event)
        self.publish()

    def _enter_stage(self, model: Model, stage: str) -> None:
        now = self._end_stage(model)
        entry = {"version": model["version"], "stage": stage, "start": now, "end": None}
        model["timeline"].append(entry)

    def _end_stage(self, model: Model) -> float:
        now = self._elapsed(model["name"])
        for stage in model["timeline"]:
            if stage["end"] is None:
                stage["end"] = max(now, stage["start"])
        return now

    def _elapsed(self, name: str) -> float:
        return time.monotonic() - self._loads.setdefault(name, time.monotonic())

    def _send(self, event: str, data: Any) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(_event(event, data))


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _latency(*each: int) -> dict[str, Any]:
    """Return a histogram with these numbers of observations, from the first bucket on."""
    padded = [*each, *[0] * (len(SECONDS) + 1 - len(each))]
    counts = list(accumulate(padded))
    return {"bounds": SECONDS, "counts": counts, "sum": 0.006 * counts[-1]}


def _route(path: str, *each: int) -> dict[str, Any]:
    latency = _latency(*each)
    total = latency["counts"][-1]
    metrics = {"count": total, "errors": total // 60, **_quantiles(latency)}
    return {"route": path, "latency": latency, **metrics}


def _quantiles(latency: dict[str, Any]) -> dict[str, float | None]:
    histogram = HistogramSnapshot(**latency)
    return {"p50": histogram.quantile(0.5), "p99": histogram.quantile(0.99)}


def _version(name: str, status: str, share: float, *each: int, **more: Any) -> dict[str, Any]:
    latency = _latency(*each)
    calls = latency["counts"][-1]
    return {
        "version": name,
        "status": status,
        "reason": "loaded in 0.170 s" if status == "ready" else "not requested yet",
        "share": share,
        "uses": calls,
        "calls": calls,
        "errors": 0,
        "memory": None,
        "latency": latency,
        **_quantiles(latency),
        **more,
    }


def _stages(*ends: float, version: str = "1") -> list[dict[str, Any]]:
    starts = (0.0, *ends)
    return [
        {"version": version, "stage": stage, "start": start, "end": end}
        for stage, start, end in zip(STAGES, starts, ends, strict=False)
    ]


def _lane(name: str, **more: int) -> dict[str, Any]:
    metrics = dict.fromkeys(("waiting", "running", "done", "texts", "refused", "dropped"), 0)
    return {"lane": name, **metrics, **more}


def _model(name: str, kind: str = "embedding", status: str = "ready", **more: Any) -> Model:
    model: Model = {
        "name": name,
        "kind": kind,
        "status": status,
        "reason": "loaded in 0.170 s" if status == "ready" else "not requested yet",
        "version": "1",
        "engine": "onnx" if kind in {"embedding", "reranker"} else None,
        "dimension": 384 if kind == "embedding" else None,
        "fallback": None,
        "shadow": None,
        "can_rollback": False,
        "loaded_at": time.time() if status == "ready" else None,
        "load_seconds": 0.17 if status == "ready" else None,
        "uses": 0,
        "memory": None,
        "error": None,
        "timeline": _stages(0.004, 0.03, 0.12, 0.17) if status == "ready" else [],
        "versions": [_version("1", status, 1.0)],
        "lanes": [_lane("interactive"), _lane("bulk")] if kind == "embedding" else [],
        "cache": None,
    }
    return model | more


def _models() -> list[Model]:
    """Return ten models: ready, unloaded, failed and skipped ones."""
    missing = "No folder, cache entry or installed package holds 'sst2-distilled'."
    return [
        _model(
            "minilm",
            uses=1204,
            memory=90_000_000,
            versions=[_version("1", "ready", 1.0, 210, 640, 260, 70, 20, 4, memory=90_000_000)],
            lanes=[
                _lane("interactive", running=1, done=1118, texts=1118),
                _lane("bulk", waiting=3, running=64, done=86, texts=5504),
            ],
            cache={
                "hits": 812,
                "misses": 392,
                "entries": 392,
                "bytes": 602_112,
                "prefetch_hits": 57,
                "prefetch_wasted": 4,
            },
        ),
        _model(
            "bge-small",
            memory=133_000_000,
            load_seconds=0.41,
            timeline=_stages(0.004, 0.05, 0.33, 0.41),
        ),
        _model("e5-large", status="unloaded", dimension=1024, memory=None),
        _model("ms-marco", "reranker", memory=88_000_000, load_seconds=0.21),
        _model(
            "churn",
            "sklearn",
            version="v1",
            shadow="v3",
            can_rollback=True,
            memory=41_000_000,
            load_seconds=0.93,
            timeline=[{"version": "v1", "stage": "load", "start": 0.0, "end": 0.93}],
            versions=[
                _version("v1", "ready", 0.9, 0, 4, 30, 61, 22, 3, memory=21_000_000),
                _version("v2", "ready", 0.1, 0, 0, 2, 7, 4, memory=20_000_000, errors=1),
                _version("v3", "loading", 0.0, reason="reads its file"),
            ],
        ),
        _model("vision", "custom", "unloaded"),
        _model(
            "sentiment",
            "sentiment",
            "failed",
            reason=missing,
            fallback="textblob",
            error={
                "reason": missing,
                "remedy": "Set allow_download, or name a folder that holds it.",
            },
        ),
        _model(
            "sales",
            "prophet",
            "skipped",
            reason="The kind prophet needs prophet, which is not installed.",
            error={
                "reason": "The kind prophet needs prophet, which is not installed.",
                "remedy": "pip install 'hotstart[prophet]'",
            },
        ),
        _model("static", engine="static", dimension=256, memory=31_000_000, load_seconds=0.06),
        _model("rows", "custom", "unloaded"),
    ]
