"""Requests as the server counts them: by route and status, and how long they took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hotstart.telemetry import Figure, Histogram, Tally


class RequestFigures:
    """Counts and times of each route. Safe from any thread."""

    def __init__(self) -> None:
        self._latency: dict[str, Histogram] = {}
        self._tallies: dict[str, Tally] = {}  # by status

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered with `status` after `seconds`."""
        if route not in self._latency:
            self._tallies[route] = Tally()
            self._latency[route] = Histogram()
        self._tallies[route].add(str(status))
        self._latency[route].observe(seconds)

    def figures(self) -> Iterator[Figure]:
        """Yield every number as it is now."""
        for route, histogram in list(self._latency.items()):
            for status, number in self._tallies[route].items():
                yield Figure(
                    *("hotstart_http_requests_total", "counter", "Requests that were answered"),
                    *(number, {"route": route, "status": status}),
                )
            yield Figure(
                *("hotstart_http_request_seconds", "histogram", "Time to answer a request"),
                *(histogram.read(), {"route": route}),
            )

    def summary(self) -> list[dict[str, Any]]:
        """Return the same for a person: each route's count, errors and times."""
        return [
            {
                "route": route,
                "count": (seen := histogram.read()).total,
                "errors": sum(
                    number for status, number in self._tallies[route].items() if status >= "400"
                ),
                "p50": seen.quantile(0.5),
                "p99": seen.quantile(0.99),
                "latency": seen._asdict(),
            }
            for route, histogram in list(self._latency.items())
        ]
