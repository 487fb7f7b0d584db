"""The address of a remote model, in the form `openai:MODEL@URL`."""

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
_PUBLIC_URLS = {"openai": "https://api.openai.com/v1"}
_HAVE_FIRST_MODEL = {"tei", "hotstart"}  # servers that answer with their first model
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
        model: the server's name for the model; empty for its first one.
        url: the base URL; None for the protocol's public URL.
    """

    protocol: str
    model: str
    url: str | None

    def __repr__(self) -> str:
        return f"RemoteAddress({self.identity!r})"

    @classmethod
    def parse(cls, source: str) -> RemoteAddress:
        """Parse `source`.

        Raises:
            InvalidInput: `source` is not an address of a remote model.
        """
        protocol, _, rest = source.partition(":")
        form = _FORMS.get(protocol)
        if form is None:
            raise InvalidInput("model", got=protocol, expected=f"one of {', '.join(_FORMS)}:...")
        if _IS_URL.match(rest):
            model = ""
            url = rest
        else:
            model, _, url = rest.partition("@")
        has_model = bool(model) or protocol in _HAVE_FIRST_MODEL
        has_url = bool(url) or protocol in _PUBLIC_URLS
        if not (has_model and has_url and (not url or _is_valid_url(url))):
            raise InvalidInput("model", got=_without_credentials(source), expected=form)
        return cls(protocol, model, url.rstrip("/") or None)

    def at(self, url: str | None) -> RemoteAddress:
        """Return the address with a URL: its own, else `url`, else the public URL."""
        return self._replace(url=self.url or (url or _PUBLIC_URLS[self.protocol]).rstrip("/"))

    @property
    def states_fingerprint(self) -> bool:
        """Whether the server states the fingerprint of the vectors that it returns."""
        return self.protocol == "hotstart"

    @property
    def identity(self) -> str:
        """The address without user and password, for messages and cache keys."""
        return f"{self.protocol}:{self.model}@{_without_credentials(self.url or '')}"


def is_remote(source: str) -> bool:
    """Return whether `source` begins like the address of a remote model."""
    return source.partition(":")[0] in _FORMS and ":" in source


def known_dimension(address: RemoteAddress) -> int | None:
    """Return the published length of the model's vectors, or None.

    The length is known only at the public URL: another server may use the name for another model.
    """
    is_public = address.url in {None, _PUBLIC_URLS.get(address.protocol)}
    return _DIMENSIONS.get(address.model) if is_public else None


def _is_valid_url(url: str) -> bool:
    if url.startswith("unix:"):
        return len(url) > len("unix:")
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _without_credentials(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
