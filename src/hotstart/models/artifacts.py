"""Find, check and list artifacts: models prepared for a fast load.

    <cache_dir>/models/<model>/onnx-float32/
        metadata.json  model.onnx  model.safetensors  tokenizer.json  wordpiece.txt
    <cache_dir>/models/<model>/onnx-int8/
        metadata.json  model.onnx  weights.int8.bin  tokenizer.json  wordpiece.txt

This file is on the way to the first vector and imports nothing that only preparation needs. Callers
use `pool.loader.ensure`; `preparation.prepare` builds an artifact.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged
from hotstart.models.metadata import (
    Metadata,
    is_touched,
    quick_fault,
    read_metadata,
    sha256,
    verify_file,
    write_metadata,
)
from hotstart.models.spec import ModelSpec, artifact_folder, known_model
from hotstart.types import Classifier, ModelInfo, PreparedModel

if TYPE_CHECKING:
    from hotstart.models.metadata import Metadata


class Artifact(NamedTuple):
    """A prepared model in `folder`."""

    folder: str
    metadata: Metadata

    @property
    def prepared(self) -> PreparedModel:
        """The part of the artifact that engines open."""
        return self.metadata.prepared(self.folder)


def look(spec: ModelSpec, settings: Settings) -> tuple[Artifact | None, str]:
    """Return the artifact if it is usable; else None and the reason, if there is one."""
    try:
        artifact = find(spec, settings)
        if artifact is None:
            return None, ""
        if _is_stale(artifact):
            return None, f" again: {artifact.metadata.original_folder} has changed"
        return check(artifact), ""
    except ArtifactDamaged as error:
        return None, f" again: {error.facts}"


def find(spec: ModelSpec, settings: Settings) -> Artifact | None:
    """Return the recorded artifact of `spec`; None if it is not prepared.

    Read one small file only; `check` and `verify` compare the other files with it.

    Raises:
        ArtifactDamaged: the record is unreadable.
    """
    folder = artifact_folder(spec, settings)
    metadata = read_metadata(folder)
    return None if metadata is None else Artifact(folder, metadata)


def check(artifact: Artifact) -> Artifact:
    """Return `artifact`, with updated marks for files that were touched but not changed.

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
            touched[name] = record._replace(mtime_ns=os.stat(path).st_mtime_ns)
        if fault is not None:
            raise ArtifactDamaged(artifact.folder, reason=fault)
    if not touched:
        return artifact
    renewed = artifact._replace(metadata=artifact.metadata._replace(files=records | touched))
    if os.access(artifact.folder, os.W_OK):  # in a read-only cache, the file is hashed at each load
        write_metadata(artifact.folder, renewed.metadata)
    return renewed


def verify(artifact: Artifact) -> list[str]:
    """Read every file of `artifact` completely; return the faults, [] for none."""
    faults = (
        verify_file(os.path.join(artifact.folder, name), record)
        for name, record in artifact.metadata.files.items()
    )
    return [fault for fault in faults if fault is not None]


def list_artifacts(settings: Settings) -> Iterator[Artifact | ArtifactDamaged]:
    """Yield every artifact below the cache folder by name, or the error of a damaged one."""
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


def _is_stale(artifact: Artifact) -> bool:
    """Return whether an original file changed, for example after a new training.

    Removed originals do not count, because the artifact does not need them.
    """
    for path, (size, mtime_ns) in artifact.metadata.original_files.items():
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            return True
    return False


def info_on_disk(spec: ModelSpec, settings: Settings) -> ModelInfo:
    """Return the info of a model without preparing it.

    The first of: the catalogue (no file is read), the record of the artifact, the model's folder.
    Only an artifact gives prompts and fingerprint.

    Raises:
        ModelError: the model is not on this machine.
    """
    known = known_model(spec.source)
    pinned = known and not spec.names_folder and spec.revision in {None, known.revision}
    if known and pinned and spec.kind == "embedding":
        return _unprepared_info(known.dimension, None, known.max_seq_length, None)
    try:
        artifact = find(spec, settings)
    except ArtifactDamaged:  # the next load reports and repairs it; the originals have the info too
        artifact = None
    if artifact is not None:
        return artifact_info(artifact)
    from hotstart.models.description import describe  # rarely needed
    from hotstart.models.locate import locate

    model = describe(locate(spec, settings).folder, spec.source, spec.kind)
    return _unprepared_info(
        model.dimension, model.truncate_dim, model.max_seq_length, model.classifier
    )


def _unprepared_info(
    dimension: int, truncate_dim: int | None, max_seq_length: int, classifier: Classifier | None
) -> ModelInfo:
    return ModelInfo(
        dimension=dimension,
        truncate_dim=truncate_dim,
        prompts={},
        default_prompt_name=None,
        fingerprint="",
        classifier=classifier,
        max_seq_length=max_seq_length,
    )


def artifact_info(artifact: Artifact) -> ModelInfo:
    """Return the info of the model in `artifact`."""
    metadata = artifact.metadata
    return ModelInfo(
        dimension=metadata.dimension,
        truncate_dim=metadata.truncate_dim,
        prompts=metadata.prompts,
        default_prompt_name=metadata.default_prompt_name,
        fingerprint=metadata.vector_space,
        classifier=metadata.classifier,
        max_seq_length=metadata.max_seq_length,
    )


_WEIGHTS = (".safetensors", ".bin")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def folder_info(folder: str, dimension: int, engine: str) -> ModelInfo:
    """Return the info of the model in `folder`, whose vectors have `dimension`.

    The fingerprint covers the name of the engine, weights, tokenizer and configuration.
    """
    from hotstart.models.description import prompts_of, read_json  # an artifact records them

    sentence = read_json(folder, "config_sentence_transformers.json")
    return ModelInfo(
        dimension=dimension,
        truncate_dim=sentence.get("truncate_dim"),
        prompts=prompts_of(sentence),
        default_prompt_name=sentence.get("default_prompt_name"),
        fingerprint=_fingerprint(folder, engine),
    )


def _fingerprint(folder: str, engine: str) -> str:
    import hashlib

    digest = hashlib.sha256(engine.encode())
    for home, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith((*_WEIGHTS, ".json")) or name in _TOKENIZERS:
                path = os.path.join(home, name)
                digest.update(f"{os.path.relpath(path, folder)}:{sha256(path)};".encode())
    return digest.hexdigest()[:32]
