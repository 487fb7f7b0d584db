"""Spans reach the program's own tracer; a program that does not trace pays nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest

from hotstart import Embedder
from hotstart.pool.pool import Pool

pytest.importorskip("opentelemetry.sdk", reason="in the dev extra")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support.tracing import exported


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return exported()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


def named(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_loads_and_calls_are_spans_without_their_texts(spans: InMemorySpanExporter) -> None:
    Embedder("fake:dimension=4,name=traced").encode(["a secret", "another"])
    found = named(spans)
    assert found["hotstart.load"].attributes == {
        "hotstart.model": "fake:dimension=4,name=traced",
        "hotstart.engine": "fake",
        "hotstart.stage": "fast_start",
    }
    assert (found["hotstart.embed"].attributes or {})["hotstart.texts"] == 2
    assert "secret" not in "".join(span.to_json() for span in found.values())


def test_a_call_from_the_loop_belongs_to_the_span_around_it(spans: InMemorySpanExporter) -> None:
    async def request() -> None:
        with trace.get_tracer("test").start_as_current_span("request"):
            await Embedder("fake:", cache="memory:1MB").aencode("text")

    asyncio.run(request())
    for _ in range(500):  # it ends just after those who wait are told
        if "hotstart.fulfil" in named(spans):
            break
        time.sleep(0.01)
    found = named(spans)
    parents = {name: span.parent.span_id for name, span in found.items() if span.parent}
    assert parents["hotstart.fulfil"] == found["request"].context.span_id
    assert parents["hotstart.batch"] == found["hotstart.fulfil"].context.span_id


def test_a_call_that_runs_with_others_tells_of_queue_batch_and_engine(
    spans: InMemorySpanExporter,
) -> None:
    embedder = Embedder("fake:name=spans-together,encode_seconds=0.02", pool=Pool())

    async def request(name: str) -> None:
        with trace.get_tracer("test").start_as_current_span(name):
            await embedder.aencode("text")

    async def requests() -> None:
        await request("first")
        spans.clear()
        await asyncio.gather(*(request(f"request {n}") for n in range(3)))

    asyncio.run(requests())
    found: Any = spans.get_finished_spans()
    by_id = {span.context.span_id: span for span in found}
    engines = [span for span in found if span.name == "hotstart.engine"]
    assert len(engines) == 3  # each call's own account of the run it shared
    for engine in engines:
        batch = by_id[engine.parent.span_id]
        embed = by_id[batch.parent.span_id]
        assert (batch.name, embed.name) == ("hotstart.batch", "hotstart.embed")
        assert by_id[embed.parent.span_id].name.startswith("request ")
        waited = [s for s in found if s.parent and s.parent.span_id == embed.context.span_id]
        queue = next(span for span in waited if span.name == "hotstart.queue")
        assert queue.end_time <= batch.start_time <= engine.start_time <= batch.end_time
    texts = {by_id[engine.parent.span_id].attributes["hotstart.texts"] for engine in engines}
    assert max(texts) > 1


def test_an_error_is_recorded(spans: InMemorySpanExporter) -> None:
    with pytest.raises(Exception, match="poison"):
        Embedder("fake:fail_texts=poison").encode("poison")
    assert not named(spans)["hotstart.embed"].status.is_ok


def test_who_does_not_trace_imports_nothing_for_it() -> None:
    program = (
        "import sys; from hotstart import Embedder; Embedder('fake:').encode('a');"
        " assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
