"""Search of an indexed folder: lexically at once, hybrid as soon as the model is there."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import Response

from hotstart.pool.aio import in_thread
from hotstart.server.responses import json_response
from hotstart.server.routes.base import Group, Route
from hotstart.server.schemas import SearchBody


class Search(Group):
    """`/search`."""

    tag = "Search"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        hit = {
            "path": "docs/guide.md",
            "start_line": 1,
            "end_line": 9,
            "heading": "Guide > Install",
            "text": "Install it with ...",
            "score": 0.03,
            "found_by": ["lexical", "semantic"],
        }
        answer = {
            "hits": [hit],
            "mode": "hybrid",
            "reason": None,
            "seconds": 0.004,
            "model": "all-MiniLM-L6-v2",
            "engine": "onnx",
        }
        return (Route("/search", self.search, "POST", "Search the index", answer),)

    async def search(self, body: SearchBody) -> Response:
        """Answer with the chunks that answer best, how they were found, and why not better."""
        limit = self.service.limit(body.timeout)
        deadline = limit if body.deadline is None else min(body.deadline, limit)
        self.service.check_texts([body.query], "query")
        self.service.keep_searching(body)
        found = await in_thread(
            self.service.index.search, body.query, body.top_k, deadline, waits=True
        )
        return json_response(asdict(found))
