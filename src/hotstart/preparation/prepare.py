"""Prepare an artifact under a lock; repair and remove it.

All files are written into a temporary folder, which is renamed as the last step. `build` requires
that the caller holds the artifact's lock.
"""

from __future__ import annotations

import datetime
import errno
import glob
import importlib.metadata
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from hotstart._version import __version__
from hotstart.config import Settings
from hotstart.errors import CacheUnwritable, ModelDamaged, UnsupportedModel
from hotstart.files import beside, exclusive, place_folder, remove_leftovers
from hotstart.integrity import FileRecord, record_file, sha256
from hotstart.models.artifacts import Artifact, check, look, verify
from hotstart.models.catalogue import known_model
from hotstart.models.description import (
    Description,
    describe,
    files_read,
    instead_of_weights,
    tokenizer_files,
)
from hotstart.models.locate import ModelLocation, locate
from hotstart.models.metadata import Metadata, SourceRecord, write_metadata
from hotstart.models.spec import (
    KINDS,
    ModelSpec,
    artifact_engine,
    artifact_folder,
    compiled_folder,
)
from hotstart.preparation.variant import (
    SCHEMES,
    WrittenFiles,
    check_precision,
    fingerprint,
    write_variant,
)
from hotstart.preparation.weights import weight_files
from hotstart.types import TOKENIZER, WORDPIECE, Progress

_TOKENIZER = (TOKENIZER, WORDPIECE)
_MAKERS = ("hotstart", "onnx", "numpy")


def build(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Artifact:
    """Build the artifact of `spec`, replacing an existing artifact.

    Args:
        spec: the model to build.
        settings: the settings with the cache folder.
        on_progress: called with each stage and its fraction.

    Raises:
        InvalidInput: the model does not support the precision.
        ModelError: the model cannot be found, read or run; the subclass gives the reason.
        OSError: the cache folder cannot be written.
    """
    report = on_progress or _ignore_progress
    report("locating", 0.0)
    location = _locate(spec, settings, report)
    model = describe(location.folder, spec.source, spec.kind, spec.file, spec.max_length)
    folder = artifact_folder(spec, settings)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    remove_leftovers(folder)
    try:
        metadata = _build(folder, spec, location, model, report)
    except UnsupportedModel as error:
        # What the encoder's own settings and tensors say is known here alone.
        graph = instead_of_weights(location.folder, error) if model.weights else None
        if graph is None or spec.precision != "float32":
            raise
        model = describe(location.folder, spec.source, spec.kind, graph, spec.max_length)
        metadata = _build(folder, spec, location, model, report)
    report("prepared", 1.0)
    return Artifact(folder, metadata)


def _build(
    folder: str, spec: ModelSpec, location: ModelLocation, model: Description, report: Progress
) -> Metadata:
    """Write the artifact of `model` into `folder`, replacing an existing one."""
    staged = beside(folder)
    os.mkdir(staged)
    _unfinished.add(staged)
    try:
        metadata = _fill(staged, spec, location, model, report)
        report("placing", 0.9)
        place_folder(staged, folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    finally:
        _unfinished.discard(staged)
    return metadata


_unfinished: set[str] = set()


def remove_unfinished() -> None:
    """Remove what running preparations have written, in a process that ends at once."""
    for staged in list(_unfinished):
        shutil.rmtree(staged, ignore_errors=True)


def _locate(spec: ModelSpec, settings: Settings, report: Progress) -> ModelLocation:
    if not spec.allow_download:
        return locate(spec, settings)
    from hotstart.models.hub import complete_location, fetch  # deferred: only downloads need them

    location = complete_location(spec, settings)
    if location is None:
        report("downloading", 0.0)
        share = 0.1  # of the preparation; the weights come next
        fetch(spec, settings, lambda here, all_: report("downloading", share * here / (all_ or 1)))
        location = locate(spec, settings)
    return location


def _fill(
    staged: str,
    spec: ModelSpec,
    location: ModelLocation,
    model: Description,
    report: Progress,
) -> Metadata:
    """Write every file of the artifact into `staged`, metadata.json last."""
    check_precision(model, spec.precision)
    is_quantized = spec.precision == "int8"
    ranges = None
    if is_quantized:
        from hotstart.preparation.calibrate import observe  # deferred: only quantization needs it

        report("observing", 0.0)
        ranges = observe(model, staged)
    report("weights", 0.1)
    written = write_variant(model, staged, spec.precision, ranges)
    report("checksums", 0.5)
    records = {name: record_file(os.path.join(staged, name)) for name in _files(staged)}
    hashes = _original_hashes(model, staged, records)
    _check_published(spec, location, model, hashes)
    metadata = _metadata(spec, location, model, written, records, hashes)
    if is_quantized:
        from hotstart.preparation.calibrate import add_measurements

        report("measuring", 0.7)
        float32 = fingerprint(model, hashes, SCHEMES["float32"])
        metadata = add_measurements(metadata, staged, model, float32)
    write_metadata(staged, metadata)
    return metadata


def _metadata(
    spec: ModelSpec,
    location: ModelLocation,
    model: Description,
    written: WrittenFiles,
    records: dict[str, FileRecord],
    hashes: Mapping[str, str],
) -> Metadata:
    graphs = [written.graphs, *(route.graphs for route in written.routes)]
    files = {name for each in graphs for name in (each.head, each.encoder)}
    other_files = files - {model.shipped_graph}
    return Metadata(
        source=spec.source,
        origin=location.origin,
        original_folder=model.folder,
        revision=location.revision,
        engine=artifact_engine(spec),
        precision=spec.precision,
        dimension=model.dimension,
        max_seq_length=model.max_seq_length,
        parameters=written.parameters,
        weights_bytes=sum(
            record.bytes
            for name, record in records.items()
            if name not in other_files and os.path.basename(name) not in _TOKENIZER
        ),
        pad_token_id=model.padding_token,
        truncate_dim=model.truncate_dim,
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        fingerprint=fingerprint(model, hashes, SCHEMES[spec.precision]),
        graphs=written.graphs,
        files=records,
        original_files=_originals(model, hashes),
        classifier=model.classifier,
        reads_task=model.reads_task,
        max_active_dims=model.max_active_dims,
        tokens=model.tokens,
        tasks=model.all_tasks,
        routes=written.routes,
        made_by={name: _version(name) for name in _MAKERS},
        made_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _version(name: str) -> str:
    """Return the version of a library, `unknown` without metadata, as in a zip application."""
    if name == "hotstart":
        return __version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _files(staged: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), staged)
        for folder, _, names in os.walk(staged)
        for name in names
    )


def _original_hashes(
    model: Description, staged: str, records: Mapping[str, FileRecord]
) -> dict[str, str]:
    """Return the SHA-256 of the original weights and tokenizer; linked files are not read again."""
    hashes = {}
    for name in [*weight_files(model), *tokenizer_files(model)]:
        original = os.path.join(model.folder, name)
        is_linked = name in records and os.path.samefile(original, os.path.join(staged, name))
        hashes[name] = records[name].sha256 if is_linked else sha256(original)
    return hashes


def _originals(model: Description, hashes: Mapping[str, str]) -> dict[str, SourceRecord | None]:
    """Return the record of each file that was read, by name; None for a file that is absent."""
    originals: dict[str, SourceRecord | None] = {}
    for name in [*files_read(model), *hashes]:
        path = os.path.join(model.folder, name)
        is_there = os.path.isfile(path)
        content = hashes.get(name) or (sha256(path) if is_there else "")
        originals[name] = SourceRecord.of(path, content) if is_there else None
    return originals


def _check_published(
    spec: ModelSpec, location: ModelLocation, model: Description, hashes: Mapping[str, str]
) -> None:
    """Raise ModelDamaged if weights of the catalog's pinned commit have another SHA-256."""
    known = known_model(spec.source)
    if known and known.weights_sha256 and location.revision == known.revision:
        for name in model.weights:
            if hashes[name] != known.weights_sha256:
                raise ModelDamaged(
                    os.path.join(model.folder, name),
                    reason=f"its SHA-256 must be {known.weights_sha256} as published, "
                    f"got {hashes[name]}",
                )


def _ignore_progress(stage: str, fraction: float) -> None:
    """Do nothing: the default of `on_progress`."""


logger = logging.getLogger(__name__)


def prepare(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Artifact:
    """Prepare the artifact of `spec` again, even if a usable artifact exists."""
    with _writing(spec, settings), exclusive(_lock_path(artifact_folder(spec, settings), settings)):
        return check(build(spec, settings, on_progress))


def prepare_once(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Artifact:
    """Prepare the artifact of `spec`, unless another process has prepared it during the wait.

    A damaged artifact is logged and prepared again once. If the new artifact is also damaged, this
    raises ArtifactDamaged.
    """
    with _writing(spec, settings), exclusive(_lock_path(artifact_folder(spec, settings), settings)):
        usable, reason = look(spec, settings)
        if usable is not None:
            return usable
        if reason:
            logger.warning("Preparing %s again: %s", spec.source, reason)
        else:
            logger.info("Preparing %s", spec.source)
        return check(build(spec, settings, on_progress))


def repair(
    artifact: Artifact,
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress,
) -> Artifact | None:
    """Verify `artifact` completely; if damaged, prepare and return it again, else return None."""
    faults = verify(artifact)
    if not faults:
        return None
    logger.warning("Preparing %s again: %s", spec.source, "; ".join(faults))
    return prepare(spec, settings, on_progress)


def remove(
    spec: ModelSpec,
    settings: Settings,
    *,
    kind: str | None = None,
    precision: str | None = None,
) -> bool:
    """Remove the artifacts of the model of `spec` and return whether there were any.

    Remove those of every kind and precision, or of `kind` and `precision` alone. The original files
    are kept.
    """
    model_folder = os.path.dirname(artifact_folder(spec, settings))
    variants = [
        spec.replace(kind=each, precision=one)
        for each, precisions in KINDS.items()
        for one in precisions
        if kind in {None, each} and precision in {None, one}
    ]
    with _writing(spec, settings), ExitStack() as locks:
        removed = False
        for variant in variants:
            folder = artifact_folder(variant, settings)
            if os.path.dirname(folder) != model_folder:
                continue  # the short name means another repository for this kind
            # Without a file, those of every file: NAME@FILE.
            of_files = [] if spec.file else glob.glob(f"{glob.escape(folder)}@*")
            for each in [folder, *of_files]:
                locks.enter_context(exclusive(_lock_path(each, settings)))
                shutil.rmtree(compiled_folder(each), ignore_errors=True)  # often absent
                if os.path.isdir(each):
                    shutil.rmtree(each)
                    removed = True
        if kind is None and precision is None:
            shutil.rmtree(model_folder, ignore_errors=True)  # what a killed preparation left
        return removed


@contextmanager
def _writing(spec: ModelSpec, settings: Settings) -> Iterator[None]:
    """Raise CacheUnwritable for an error of the system about the cache folder."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        is_ours = is_full or str(error.filename or "").startswith(settings.cache_dir)
        if not is_ours and error.errno != errno.EROFS:
            raise
        needed = _bytes_of(spec, settings) if is_full else None
        reason = error.strerror or str(error)
        raise CacheUnwritable(settings.cache_dir, reason=reason, needed=needed) from error


def _bytes_of(spec: ModelSpec, settings: Settings) -> int:
    """Return the bytes that the artifact of `spec` takes at most; 8 bits are made from float32."""
    model = describe(
        locate(spec, settings).folder, spec.source, spec.kind, spec.file, spec.max_length
    )
    names = [*weight_files(model), *tokenizer_files(model)]
    once = sum(os.path.getsize(os.path.join(model.folder, name)) for name in names)
    return once if spec.precision == "float32" else round(1.4 * once)


def _lock_path(artifact: str, settings: Settings) -> str:
    model_folder, variant = os.path.split(artifact)
    name = f"{os.path.basename(model_folder)}--{variant}.lock"
    return os.path.join(settings.cache_dir, "locks", name)
