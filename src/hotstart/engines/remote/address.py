"""The address of a remote model, as users write it: `openai:MODEL@URL`."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from hotstart.errors import InvalidInput

_FORMS = {
    "openai": "openai:MODEL, or openai:MODEL@http://HOST:PORT/v1",
    "tei": "tei:http://HOST:PORT",
    "hotstart": "hotstart:http://HOST:PORT, or hotstart:MODEL@unix:/PATH",
}
_PUBLISHED = {"openai": "https://api.openai.com/v1"}
_DEFAULT_MODEL = {"tei": "", "hotstart": "default"}
_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_IS_URL = re.compile(r"(https?://|unix:)")


class RemoteAddress(NamedTuple):
    """A model behind a protocol and a URL.

    Attributes:
        protocol: a key of `hotstart.engines.remote.protocols.PROTOCOLS`.
        model: name of the model on the server; empty if the server has only one.
        url: base URL; None for the default of the protocol.
    """

    protocol: str
    model: str
    url: str | None

    def __repr__(self) -> str:
        return f"Address({self.identity!r})"

    @classmethod
    def parse(cls, source: str) -> RemoteAddress:
        """Parse `source`; raise InvalidInput for an invalid address."""
        protocol, _, rest = source.partition(":")
        form = _FORMS.get(protocol)
        if form is None:
            raise InvalidInput("model", got=protocol, expected=f"one of {', '.join(_FORMS)}:...")
        if _IS_URL.match(rest):
            model, url = _DEFAULT_MODEL.get(protocol, ""), rest
        else:
            model, _, url = rest.partition("@")
        has_model = bool(model) or protocol == "tei"
        has_place = bool(url) or protocol in _PUBLISHED
        if not (has_model and has_place and (not url or _is_place(url))):
            raise InvalidInput("model", got=_without_user(source), expected=form)
        return cls(protocol, model, url.rstrip("/") or None)

    def at(self, url: str | None) -> RemoteAddress:
        """Return the address with a base URL: its own, else `url`, else the public one."""
        return self._replace(url=self.url or (url or _PUBLISHED[self.protocol]).rstrip("/"))

    @property
    def identity(self) -> str:
        """The address without user and password, for messages and cache keys."""
        return f"{self.protocol}:{self.model}@{_without_user(self.url or '')}"


def known_dimension(address: RemoteAddress) -> int | None:
    """Return the published length of the model's vectors, else None.

    A server at another URL may use the name for another model.
    """
    public = address.url in {None, _PUBLISHED.get(address.protocol)}
    return _DIMENSIONS.get(address.model) if public else None


def _is_place(url: str) -> bool:
    if url.startswith("unix:"):
        return len(url) > len("unix:")
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _without_user(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
