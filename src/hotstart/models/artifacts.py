"""Artifacts: models prepared to be loaded at once, one folder each below the cache folder.

    <cache_dir>/models/<model>/onnx-float32/
        metadata.json  model.onnx  model.safetensors  tokenizer.json

This file finds and checks them; `build.py` makes one, `ensure.py` decides when.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged
from hotstart.models.integrity import is_touched, quick_fault, verify_file
from hotstart.models.metadata import Metadata, read_metadata, write_metadata
from hotstart.models.sources import repository_of
from hotstart.models.spec import ModelSpec
from hotstart.types import Prepared

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A prepared model in `folder`."""

    folder: str
    metadata: Metadata

    @property
    def prepared(self) -> Prepared:
        """What an engine needs of it."""
        return self.metadata.prepared(self.folder)


def artifact_folder(spec: ModelSpec, settings: Settings) -> str:
    """Return where the artifact of `spec` is kept, whether or not it is there."""
    if spec.names_folder:
        mark = hashlib.sha256(spec.folder.encode()).hexdigest()[:10]
        name = re.sub(r"[^\w.-]", "_", os.path.basename(spec.folder)) + "--" + mark
    else:
        name = repository_of(spec.source).replace("/", "--")
        if spec.revision:
            name += "@" + spec.revision.replace("/", "_")
    return os.path.join(settings.cache_dir, "models", name, "onnx-float32")


def find(spec: ModelSpec, settings: Settings) -> Artifact | None:
    """Return the artifact of `spec` as recorded, None where none was prepared.

    A look at one small file; whether the others match it is for `check` and `verify`.

    Raises:
        ArtifactDamaged: the record itself cannot be used.
    """
    folder = artifact_folder(spec, settings)
    metadata = read_metadata(folder)
    return None if metadata is None else Artifact(folder, metadata)


def check(artifact: Artifact) -> Artifact:
    """Return `artifact`, its marks renewed where a file was touched but not changed.

    Raises:
        ArtifactDamaged: a file is missing, truncated, zero-filled or changed.
    """
    records = artifact.metadata.files
    touched = {}
    for name, record in records.items():
        path = os.path.join(artifact.folder, name)
        fault = quick_fault(path, record)
        if fault is None and is_touched(path, record):
            fault = verify_file(path, record)
            touched[name] = replace(record, mtime_ns=os.stat(path).st_mtime_ns)
        if fault is not None:
            raise ArtifactDamaged(artifact.folder, reason=fault)
    if not touched:
        return artifact
    renewed = replace(artifact.metadata, files=records | touched)
    try:
        write_metadata(artifact.folder, renewed)
    except OSError as error:  # a read-only cache: hashed again at each load
        logger.info("The marks in %s could not be renewed: %s", artifact.folder, error)
    return Artifact(artifact.folder, renewed)


def verify(artifact: Artifact) -> list[str]:
    """Read every file of `artifact` whole and return what is wrong with them, [] for nothing."""
    faults = (
        verify_file(os.path.join(artifact.folder, name), record)
        for name, record in artifact.metadata.files.items()
    )
    return [fault for fault in faults if fault is not None]


def list_artifacts(settings: Settings) -> Iterator[Artifact | ArtifactDamaged]:
    """Yield every artifact below the cache folder by name, a damaged one as its error."""
    home = os.path.join(settings.cache_dir, "models")
    for name in sorted(os.listdir(home)) if os.path.isdir(home) else []:
        for variant in sorted(os.listdir(os.path.join(home, name))):
            folder = os.path.join(home, name, variant)
            if variant.startswith(".") or not os.path.isdir(folder):
                continue
            try:
                metadata = read_metadata(folder)
            except ArtifactDamaged as error:
                yield error
            else:
                if metadata is not None:
                    yield Artifact(folder, metadata)


def is_stale(artifact: Artifact) -> bool:
    """Whether an original file was changed since, as by training the model anew.

    Originals that are gone do not count: the artifact needs them no longer.
    """
    for path, (size, mtime_ns) in artifact.metadata.original_files.items():
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            return True
    return False
