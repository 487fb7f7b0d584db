"""Find, check and list artifacts: models prepared for a fast load.

    <cache_dir>/models-3/<model>/onnx-float32/
        metadata.json  model.onnx  model.safetensors  tokenizer.json  wordpiece.txt
    <cache_dir>/models-3/<model>/onnx-int8/
        metadata.json  model.onnx  weights.int8.bin  tokenizer.json  wordpiece.txt

Every first vector imports this module, so it imports nothing that only `preparation.prepare` needs.
Callers use `pool.loader.ensure`; `preparation.prepare` builds an artifact.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged
from hotstart.integrity import folder_faults, is_touched, quick_fault, sha256, verify_file
from hotstart.models.catalogue import known_model
from hotstart.models.metadata import Metadata, SourceRecord, read_metadata, write_metadata
from hotstart.models.spec import (
    ModelSpec,
    artifact_folder,
    compiled_folder,
    models_cache,
    snapshots,
)
from hotstart.types import TOKENIZER, Classifier, ModelInfo, PreparedModel


class Artifact(NamedTuple):
    """A prepared model in `folder`."""

    folder: str
    metadata: Metadata

    @property
    def prepared(self) -> PreparedModel:
        """The facts that an engine needs to open the artifact."""
        return self.metadata.prepared(self.folder)


def look(spec: ModelSpec, settings: Settings) -> tuple[Artifact | None, str]:
    """Return a usable artifact, or None and the reason to prepare the model again.

    The reason is empty if no artifact exists.
    """
    try:
        artifact = find(spec, settings)
        if artifact is None:
            return None, ""
        return check(_follow_sources(artifact, spec, settings)), ""
    except ArtifactDamaged as error:
        return None, error.facts
    except _Changed as change:
        return None, str(change)


def find(spec: ModelSpec, settings: Settings) -> Artifact | None:
    """Return the recorded artifact of `spec`, or None if none was prepared.

    This reads only metadata.json. `check` and `verify` compare the other files with it.

    Raises:
        ArtifactDamaged: metadata.json cannot be used.
    """
    folder = artifact_folder(spec, settings)
    metadata = read_metadata(folder)
    return None if metadata is None else Artifact(folder, metadata)


def check(artifact: Artifact) -> Artifact:
    """Return `artifact`, with updated mtimes for touched but unchanged files.

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
    return _renewed(artifact, artifact.metadata._replace(files=records | touched))


def verify(artifact: Artifact) -> list[str]:
    """Return the faults found by reading every file of `artifact` completely.

    Models that an engine compiled from the artifact are included.
    """
    faults = (
        verify_file(os.path.join(artifact.folder, name), record)
        for name, record in artifact.metadata.files.items()
    )
    compiled = folder_faults(compiled_folder(artifact.folder))
    return [*(fault for fault in faults if fault is not None), *compiled]


def list_artifacts(settings: Settings) -> Iterator[Artifact | ArtifactDamaged]:
    """Yield every artifact in the cache folder, sorted by name; an error for a damaged one."""
    models = models_cache(settings)
    if not os.path.isdir(models):
        return
    for name in sorted(os.listdir(models)):
        for variant in sorted(os.listdir(os.path.join(models, name))):
            folder = os.path.join(models, name, variant)
            if variant.startswith(".") or not os.path.isdir(folder):
                continue
            try:
                metadata = read_metadata(folder)
            except ArtifactDamaged as error:
                yield error
            else:
                if metadata is not None:
                    yield Artifact(folder, metadata)


class _Changed(Exception):
    """The files that an artifact was made of have changed; the message says which."""


def _follow_sources(artifact: Artifact, spec: ModelSpec, settings: Settings) -> Artifact:
    """Return `artifact`, with updated records for touched but unchanged original files.

    The files are looked for where the model is now: behind links, and at the commit that the
    revision means. If weights, tokenizer or config.json are missing, nothing has changed: the
    artifact needs no originals, and a download may be under way.

    Raises:
        _Changed: a file has changed, has appeared or is gone.
    """
    originals = artifact.metadata.original_files
    folder = _source_folder(artifact, spec, settings)
    states = {name: _stat(os.path.join(folder, name)) for name in originals}
    if any(states[name] is None for name in _needed(originals)):
        return artifact
    touched: dict[str, SourceRecord | None] = {}
    for name, record in originals.items():
        status = states[name]
        path = os.path.join(folder, name)
        if record is None and status is not None:
            raise _Changed(f"{path} has appeared")
        if record is None:
            continue
        if status is None:
            raise _Changed(f"{path} is gone")
        if (status.st_size, status.st_mtime_ns, status.st_ino) != record[:3]:
            if status.st_size != record.bytes or sha256(path) != record.sha256:
                raise _Changed(f"{path} has changed")
            touched[name] = SourceRecord.of(path, record.sha256)
    return _renewed(artifact, artifact.metadata._replace(original_files=originals | touched))


def record_scale(artifact: Artifact, scale: float) -> None:
    """Write the `similarity_scale` of `artifact`; the next load of the model reads it."""
    write_metadata(artifact.folder, artifact.metadata._replace(similarity_scale=scale))


def _renewed(artifact: Artifact, metadata: Metadata) -> Artifact:
    """Return `artifact` with `metadata`, written if it differs and the folder can be written.

    In a read-only cache each load reads touched files again.
    """
    if metadata == artifact.metadata:
        return artifact
    if os.access(artifact.folder, os.W_OK):
        write_metadata(artifact.folder, metadata)
    return artifact._replace(metadata=metadata)


def _needed(originals: Mapping[str, SourceRecord | None]) -> list[str]:
    """Return the names without which no model can be prepared."""
    return [
        name
        for name, record in originals.items()
        if record is not None
        and (name.endswith(_WEIGHTS) or name.removeprefix("0_Transformer/") in _NEEDED)
    ]


_NEEDED = {"config.json", TOKENIZER}


def _source_folder(artifact: Artifact, spec: ModelSpec, settings: Settings) -> str:
    """Return the folder that the model would be prepared from now."""
    if spec.names_folder:
        return spec.folder
    for snapshot in snapshots(spec, settings):
        if os.path.isdir(snapshot.folder):
            return snapshot.folder
    return artifact.metadata.original_folder


def _stat(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def info_on_disk(spec: ModelSpec, settings: Settings) -> ModelInfo:
    """Return what is known of the model without preparing it.

    Sources in order: the catalogue, for published files (without the model), the artifact's record,
    the model folder.
    Prompts and fingerprint are empty unless an artifact exists.

    Raises:
        ModelError: none of the three sources has the model.
    """
    known = known_model(spec.source)
    is_pinned = known and not spec.names_folder and spec.revision in {None, known.revision}
    is_published = known and is_pinned and known.weights_sha256 and spec.kind == "embedding"
    if known and is_published and known.dimension and known.max_seq_length:
        return _unprepared_info(known.dimension, None, known.max_seq_length, None)
    try:
        artifact = find(spec, settings)
    except ArtifactDamaged:  # the next load reports and repairs it; use the originals here
        artifact = None
    if artifact is not None:
        return artifact_info(artifact)
    from hotstart.models.description import describe  # deferred: only this path reads a folder
    from hotstart.models.locate import locate

    model = describe(
        locate(spec, settings).folder, spec.source, spec.kind, spec.file, spec.max_length
    )
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
    """Return the model information recorded in `artifact`."""
    metadata = artifact.metadata
    return ModelInfo(
        dimension=metadata.dimension,
        truncate_dim=metadata.truncate_dim,
        prompts=metadata.prompts,
        default_prompt_name=metadata.default_prompt_name,
        fingerprint=metadata.fingerprint,
        classifier=metadata.classifier,
        max_seq_length=metadata.max_seq_length,
        comparable_with=metadata.comparable_with,
        reads_task=metadata.reads_task,
        max_active_dims=metadata.max_active_dims,
        tasks=metadata.tasks,
        similarity_scale=metadata.similarity_scale,
    )


_WEIGHTS = (".safetensors", ".bin", ".onnx")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def folder_info(folder: str, dimension: int, engine: str) -> ModelInfo:
    """Return the model information of `folder`, with vectors of `dimension`.

    The fingerprint covers the engine's name and every file that decides a vector: weights,
    tokenizer and configuration.
    """
    # deferred: artifacts do not need it
    from hotstart.models.configuration import prompts_of, read_json
    from hotstart.models.routes import reads_task

    is_bare = not os.path.exists(os.path.join(folder, "modules.json"))
    sentence = {} if is_bare else read_json(folder, "config_sentence_transformers.json")
    return ModelInfo(
        dimension=dimension,
        truncate_dim=sentence.get("truncate_dim"),
        prompts=prompts_of(sentence),
        default_prompt_name=sentence.get("default_prompt_name"),
        fingerprint=_fingerprint(folder, engine),
        reads_task=engine == "torch" and reads_task(folder),
    )


def _fingerprint(folder: str, engine: str) -> str:
    import hashlib

    digest = hashlib.sha256(engine.encode())
    seen: set[str] = set()  # links may lead in a circle
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = os.path.join(parent, name)
            if not os.path.isfile(path):  # a broken link, a FIFO, a device
                continue
            if name.endswith((*_WEIGHTS, ".json")) or name in _TOKENIZERS:
                digest.update(f"{os.path.relpath(path, folder)}:{sha256(path)};".encode())
    return digest.hexdigest()[:32]
