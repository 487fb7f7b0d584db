"""What can be told of a model before it is loaded: by its artifact, address or settings."""

from __future__ import annotations

import sys
from collections.abc import Callable

from hotstart.config import read_settings, remote_access
from hotstart.engines import entry_of
from hotstart.models.artifacts import Artifact, look
from hotstart.models.facts import Facts, facts
from hotstart.models.spec import ModelSpec
from hotstart.types import Card


def foresee(spec: ModelSpec) -> Facts | None:
    """Return dimension and limit of the model; None where a load alone can tell.

    Raises:
        ModelError: the model is not on this machine.
    """
    opened_from = entry_of(spec.engine).opened_from
    if opened_from == "artifact":
        return facts(spec, read_settings())
    card = foresee_card(spec)
    return Facts(card.dimension, sys.maxsize) if card and card.dimension else None


def foresee_card(spec: ModelSpec) -> Card | None:
    """Return what calls need to know of the model; None where a load alone can tell."""
    tell = _TELLERS.get(entry_of(spec.engine).opened_from)
    return tell(spec) if tell else None


def check_source(spec: ModelSpec) -> None:
    """Raise InvalidInput for the address of another machine that cannot be read. Looks nowhere."""
    if entry_of(spec.engine).opened_from == "address":
        _by_address(spec)


def card_of(artifact: Artifact) -> Card:
    """Return what calls need to know of the model in `artifact`."""
    metadata = artifact.metadata
    return Card(
        dimension=metadata.dimension,
        truncate_dim=metadata.truncate_dim,
        prompts=metadata.prompts,
        default_prompt_name=metadata.default_prompt_name,
        fingerprint=metadata.vector_space,
        classifier=metadata.classifier,
    )


def _by_artifact(spec: ModelSpec) -> Card | None:
    artifact, _ = look(spec, read_settings())
    return card_of(artifact) if artifact else None


def _by_address(spec: ModelSpec) -> Card:
    from hotstart.engines.remote.address import Address, known_dimension

    address = Address.parse(spec.source)
    address = address.at(remote_access(address.protocol).url)
    return Card(known_dimension(address), None, {}, None, f"remote-{address.identity}")


def _by_settings(spec: ModelSpec) -> Card:
    from hotstart.engines.fake import FakeSettings

    dimension = FakeSettings.parse(spec.source).dimension
    return Card(dimension, None, {}, None, f"fake-{dimension}")


_TELLERS: dict[str, Callable[[ModelSpec], Card | None]] = {
    "artifact": _by_artifact,
    "address": _by_address,
    "nothing": _by_settings,
}
