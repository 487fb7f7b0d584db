"""Find the files of a model on this machine.

The search order is: a folder named by its path, the Hugging Face cache, the cache of
sentence-transformers, an installed package that contains the model. The first complete copy is
used. If no copy is complete, the error names the first partial one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from hotstart.config import Settings
from hotstart.errors import ModelIncomplete, ModelNotFound
from hotstart.models.catalogue import known_model, near
from hotstart.models.files import SINGLE_WEIGHTS, missing_files
from hotstart.models.spec import ModelSpec, check_kind, hub_folder, repository_of, snapshots


@dataclass(frozen=True)
class ModelLocation:
    """A folder that may hold a model."""

    folder: str
    origin: str
    revision: str | None
    missing: tuple[str, ...]


def locate(spec: ModelSpec, settings: Settings) -> ModelLocation:
    """Return the location of a complete copy of the model.

    Raises:
        ModelNotFound: this machine has no copy of the model.
        ModelIncomplete: every copy lacks files.
        WrongKind: the catalogue knows the model, and it is not of this kind.
    """
    check_kind(spec.source, spec.kind)
    partial = None
    for location in _candidates(spec, settings):
        if not location.missing:
            return location
        partial = partial or location
    if partial:
        raise ModelIncomplete(
            spec.source,
            folder=partial.folder,
            missing=partial.missing,
            on_hub=not spec.names_folder,
            arguments=spec.arguments,
        )
    raise ModelNotFound(
        spec.source,
        looked=_places(spec, settings),
        on_hub=not spec.names_folder,
        arguments=spec.arguments,
        is_folder=not spec.names_folder and os.path.isdir(spec.source),
        near=_near(spec),
    )


def _near(spec: ModelSpec) -> list[str]:
    """Return names that may have been meant; none for a folder or a name of the catalogue."""
    return [] if spec.names_folder or known_model(spec.source) else near(spec.source)


def _candidates(spec: ModelSpec, settings: Settings) -> Iterator[ModelLocation]:
    if spec.names_folder:
        if os.path.isdir(spec.folder):
            missing = _missing(spec.folder, spec)
            yield ModelLocation(spec.folder, "folder", None, tuple(missing))
        return
    yield from _in_hub_cache(spec, settings)
    yield from _in_flat_cache(spec, settings)
    yield from _in_package(spec)


def _missing(folder: str, spec: ModelSpec) -> list[str]:
    """Return the files that the engine of `spec` needs and that are absent from `folder`.

    The engine torch says itself what it lacks of a model that has weights.
    """
    if spec.engine != "torch":
        return missing_files(folder, spec.file)
    named = any(os.path.isfile(os.path.join(folder, name)) for name in _NAMING)
    missing = [] if named else [_NAMING[0]]
    has_weights = any(name.endswith(_WEIGHTS) for _, _, names in os.walk(folder) for name in names)
    return missing if has_weights else [*missing, SINGLE_WEIGHTS]


_NAMING = ("config.json", "modules.json")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def _in_hub_cache(spec: ModelSpec, settings: Settings) -> Iterator[ModelLocation]:
    for snapshot in snapshots(spec, settings):
        if os.path.isdir(snapshot.folder):
            missing = _missing(snapshot.folder, spec)
            if _modules_unknown(snapshot.repository_folder, snapshot.commit):
                missing = ["modules.json", *missing]
            yield ModelLocation(snapshot.folder, "hub cache", snapshot.commit, tuple(missing))


def _in_flat_cache(spec: ModelSpec, settings: Settings) -> Iterator[ModelLocation]:
    """Yield the folder owner_name of sentence-transformers before 2.3, whose commit is unknown."""
    name = repository_of(spec.source, spec.kind).replace("/", "_")
    folder = os.path.join(settings.sentence_transformers_cache, name)
    if spec.revision is None and os.path.isdir(folder):
        missing = _missing(folder, spec)
        yield ModelLocation(folder, "sentence-transformers cache", None, tuple(missing))


def _modules_unknown(folder: str, commit: str) -> bool:
    """Return whether the repository may have a modules.json that was not downloaded.

    transformers never downloads modules.json. Assuming mean pooling would give wrong vectors if
    modules.json names another pooling. huggingface_hub marks files that do not exist.
    """
    return not any(
        os.path.lexists(os.path.join(folder, kind, commit, "modules.json"))
        for kind in ("snapshots", ".no_exist")
    )


def _in_package(spec: ModelSpec) -> Iterator[ModelLocation]:
    known = known_model(spec.source)
    if known is None or known.package is None or spec.revision not in {None, known.revision}:
        return
    import importlib.util  # deferred: costs milliseconds, and only this last resort needs it

    package, inner = known.package
    module_spec = importlib.util.find_spec(package)
    if module_spec is None:
        return
    for root in module_spec.submodule_search_locations or []:
        folder = os.path.join(root, inner)
        origin = f"package {package}"
        missing = _missing(folder, spec)
        yield ModelLocation(folder, origin, known.revision, tuple(missing))


def _places(spec: ModelSpec, settings: Settings) -> list[str]:
    if spec.names_folder:
        return [spec.folder]
    known = known_model(spec.source)
    places = [hub_folder(repository_of(spec.source, spec.kind), settings)]
    return [*places, f"package {known.package[0]}"] if known and known.package else places
