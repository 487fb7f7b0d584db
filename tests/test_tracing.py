"""Spans reach the program's own tracer; a program that does not trace pays nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hotstart import Embedder

pytest.importorskip("opentelemetry.sdk", reason="in the dev extra")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


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
        "hotstart.stage": "first light",
    }
    assert (found["hotstart.embed"].attributes or {})["hotstart.texts"] == 2
    assert "secret" not in "".join(span.to_json() for span in found.values())


def test_a_call_from_the_loop_belongs_to_the_span_around_it(spans: InMemorySpanExporter) -> None:
    async def request() -> None:
        with trace.get_tracer("test").start_as_current_span("request"):
            await Embedder("fake:", cache="memory:1MB").aencode("text")

    asyncio.run(request())
    found = named(spans)
    parents = {name: span.parent.span_id for name, span in found.items() if span.parent}
    assert parents["hotstart.fulfil"] == found["request"].context.span_id
    assert parents["hotstart.embed"] == found["hotstart.fulfil"].context.span_id


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
