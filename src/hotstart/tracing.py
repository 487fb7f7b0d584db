"""OpenTelemetry spans, where the program traces; else nothing, at the cost of one look.

Tracing is the program's own choice: it installs `hotstart[otel]`, or `opentelemetry-api` itself,
and sets a tracer provider. Until then no span is made and nothing imported.

Attributes are named `hotstart.KEY`; those that are None are left out. No text that is embedded, no
key and no password is ever one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hotstart._lazy import require

_LIBRARY = "opentelemetry.trace"


@contextmanager
def span(name: str, **attributes: str | int | None) -> Iterator[None]:
    """Have the block be a span called `hotstart.NAME`; what it raises is recorded in it."""
    if not _is_on():
        yield
        return
    known = _named(attributes)
    with _tracer().start_as_current_span(f"hotstart.{name}", attributes=known):
        yield


def here() -> Any:
    """Return the context that a span of another thread may later be put into; None: no tracing."""
    if not _is_on():
        return None
    return require("opentelemetry.context", extra="otel").get_current()


def past(name: str, began: int, ended: int, within: Any, **attributes: str | int | None) -> Any:
    """Have what is over be a span within the context `within`; return the context of that span.

    Args:
        name: of the span, `hotstart.NAME`.
        began: nanoseconds since the epoch.
        ended: the same.
        within: what `here` returned; None makes no span.
        attributes: of the span.
    """
    if within is None:
        return None
    known = _named(attributes)
    made = _tracer().start_span(
        f"hotstart.{name}", context=within, attributes=known, start_time=began
    )
    made.end(ended)
    return require(_LIBRARY, extra="otel").set_span_in_context(made, within)


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Have the spans of the block go on the trace that the `headers` of a request tell of."""
    if not _is_on():
        yield
        return
    context = require("opentelemetry.context", extra="otel")
    token = context.attach(require("opentelemetry.propagate", extra="otel").extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _is_on() -> bool:
    """Whether the program has a tracer provider; to have the library is not to trace."""
    trace: Any = sys.modules.get(_LIBRARY)
    if trace is None:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _tracer() -> Any:
    return require(_LIBRARY, extra="otel").get_tracer("hotstart")


def _named(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {f"hotstart.{key}": value for key, value in attributes.items() if value is not None}
