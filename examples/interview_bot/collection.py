"""The reference points in Qdrant; the only file that knows `qdrant-client`."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from examples.interview_bot.interview import ReferencePoint

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

API_KEY_VARIABLE = "QDRANT_API_KEY"
SERVER_SECONDS = 2
"""A Qdrant server has this long for each request, so that an absent one costs little of a turn."""


class Found(NamedTuple):
    """A reference point and its cosine to what was asked about."""

    point: ReferencePoint
    score: float


class Collection:
    """Reference points of one vector space, in memory or on a server.

    Use `Collection.opened`: it imports the client without holding up the event loop.
    """

    def __init__(self, client: AsyncQdrantClient, name: str) -> None:
        self._client = client
        self.name = name

    @classmethod
    async def opened(cls, url: str | None, name: str) -> Collection:
        """Open collection `name` at the server `url`, or an empty one in memory."""
        # A second of imports: in a thread, and only now that the model has had the processor.
        qdrant = await asyncio.to_thread(importlib.import_module, "qdrant_client")
        if url is None:
            return cls(qdrant.AsyncQdrantClient(":memory:"), name)
        client = qdrant.AsyncQdrantClient(
            url=url,
            api_key=os.environ.get(API_KEY_VARIABLE),
            timeout=SERVER_SECONDS,
            check_compatibility=False,  # a blocking request in the constructor otherwise
        )
        return cls(client, name)

    async def holds(self, count: int) -> bool:
        """Return whether all `count` points are there, put there by an earlier run."""
        if not await self._client.collection_exists(self.name):
            return False
        return (await self._client.count(self.name)).count == count

    async def put(
        self, points: Sequence[ReferencePoint], vectors: Sequence[Sequence[float]]
    ) -> None:
        """Store `points` under their positions, so that storing them again changes nothing."""
        from qdrant_client import models

        if not await self._client.collection_exists(self.name):
            space = models.VectorParams(size=len(vectors[0]), distance=models.Distance.COSINE)
            await self._client.create_collection(self.name, vectors_config=space)
        records = [
            models.PointStruct(id=number, vector=list(vector), payload=point._asdict())
            for number, (point, vector) in enumerate(zip(points, vectors, strict=True))
        ]
        await self._client.upsert(self.name, records, wait=True)

    async def nearest(self, vector: Sequence[float], limit: int) -> list[Found]:
        """Return the `limit` points nearest to `vector`, the nearest first."""
        answer = await self._client.query_points(
            self.name, query=list(vector), limit=limit, with_payload=True
        )
        return [Found(ReferencePoint(**(hit.payload or {})), hit.score) for hit in answer.points]

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.close()


def collection_name(fingerprint: str, points: Sequence[ReferencePoint]) -> str:
    """A name that differs where vectors or texts do: a server outlives models and data files."""
    content = json.dumps([fingerprint, *points]).encode()
    return f"interview-bot-{hashlib.sha256(content).hexdigest()[:16]}"
