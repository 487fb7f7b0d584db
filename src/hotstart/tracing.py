"""OpenTelemetry spans, where the program traces; else nothing, at the cost of one look.

Tracing is the program's own choice: it installs `hotstart[otel]`, or `opentelemetry-api` itself,
and sets a tracer provider. Until it has imported the library, no span is made and nothing imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hotstart._lazy import require

_LIBRARY = "opentelemetry.trace"


@contextmanager
def span(name: str, **attributes: str | int | None) -> Iterator[None]:
    """Have the block be a span called `hotstart.NAME`; what it raises is recorded in it.

    Attributes are named `hotstart.KEY`; those that are None are left out. No text that is embedded,
    no key and no password is ever one of them.
    """
    if _LIBRARY not in sys.modules:
        yield
        return
    known = {f"hotstart.{key}": value for key, value in attributes.items() if value is not None}
    tracer = require(_LIBRARY, extra="otel").get_tracer("hotstart")
    with tracer.start_as_current_span(f"hotstart.{name}", attributes=known):
        yield
