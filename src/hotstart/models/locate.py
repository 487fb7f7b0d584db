"""Find the files of a model on this machine.

The order: a folder given by its path, the Hugging Face cache, an installed package with the model.
The first complete one is used. An incomplete one is skipped, and named in the error if no complete
one is found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from hotstart.config import Settings
from hotstart.errors import ModelIncomplete, ModelNotFound
from hotstart.models.description import missing_files
from hotstart.models.spec import ModelSpec, hub_folder, known_model, repository_of


@dataclass(frozen=True)
class ModelLocation:
    """A folder that may hold a model."""

    folder: str
    origin: str
    revision: str | None
    missing: tuple[str, ...]


def locate(spec: ModelSpec, settings: Settings) -> ModelLocation:
    """Return the location of the complete model of `spec`.

    Raises:
        ModelNotFound: the model is not on this machine.
        ModelIncomplete: some of its files are missing.
    """
    partial = None
    for located in _candidates(spec, settings):
        if not located.missing:
            return located
        partial = partial or located
    if partial:
        raise ModelIncomplete(
            spec.source,
            folder=partial.folder,
            missing=partial.missing,
            on_hub=not spec.names_folder,
        )
    raise ModelNotFound(spec.source, looked=_places(spec, settings), on_hub=not spec.names_folder)


def _candidates(spec: ModelSpec, settings: Settings) -> Iterator[ModelLocation]:
    if spec.names_folder:
        if os.path.isdir(spec.folder):
            yield ModelLocation(spec.folder, "folder", None, tuple(missing_files(spec.folder)))
        return
    yield from _in_hub_cache(spec, settings)
    yield from _in_package(spec)


def _in_hub_cache(spec: ModelSpec, settings: Settings) -> Iterator[ModelLocation]:
    folder = hub_folder(repository_of(spec.source, spec.kind), settings)
    for revision in _wanted_revisions(spec):
        commit = _read_ref(folder, revision)
        snapshot = os.path.join(folder, "snapshots", commit)
        if os.path.isdir(snapshot):
            missing = missing_files(snapshot)
            if _modules_unknown(folder, commit):
                missing = ["modules.json", *missing]
            yield ModelLocation(snapshot, "hub cache", commit, tuple(missing))


def _wanted_revisions(spec: ModelSpec) -> list[str]:
    if spec.revision:
        return [spec.revision]
    known = known_model(spec.source)
    return [known.revision, "main"] if known else ["main"]


def _read_ref(folder: str, revision: str) -> str:
    """Return the commit of a branch or tag when it was downloaded; a commit is returned as is."""
    try:
        with open(os.path.join(folder, "refs", revision), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return revision


def _modules_unknown(folder: str, commit: str) -> bool:
    """Return whether the repository may have a modules.json that is missing here.

    transformers does not download it, and assuming mean pooling could give wrong vectors.
    huggingface_hub marks files that do not exist.
    """
    return not any(
        os.path.lexists(os.path.join(folder, kind, commit, "modules.json"))
        for kind in ("snapshots", ".no_exist")
    )


def _in_package(spec: ModelSpec) -> Iterator[ModelLocation]:
    known = known_model(spec.source)
    if known is None or known.package is None or spec.revision not in {None, known.revision}:
        return
    import importlib.util  # takes milliseconds and is the last place to look

    package, inner = known.package
    found = importlib.util.find_spec(package)
    for root in (found.submodule_search_locations or []) if found else []:
        folder = os.path.join(root, inner)
        origin = f"package {package}"
        yield ModelLocation(folder, origin, known.revision, tuple(missing_files(folder)))


def _places(spec: ModelSpec, settings: Settings) -> list[str]:
    if spec.names_folder:
        return [spec.folder]
    known = known_model(spec.source)
    places = [hub_folder(repository_of(spec.source, spec.kind), settings)]
    return [*places, f"package {known.package[0]}"] if known and known.package else places
