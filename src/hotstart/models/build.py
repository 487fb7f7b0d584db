"""Building an artifact: from a model folder to graph, weights, tokenizer and record.

Everything is written in a folder beside and renamed into place as the last step. The caller holds
the artifact's lock.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import shutil
from collections.abc import Mapping

from hotstart.config import Settings
from hotstart.durable import beside
from hotstart.errors import ModelDamaged, ModelError
from hotstart.folders import place_folder, remove_leftovers
from hotstart.models.artifacts import Artifact
from hotstart.models.catalog import known_model
from hotstart.models.fingerprint import fingerprint
from hotstart.models.folder import Description, describe
from hotstart.models.graph.files import write_graphs
from hotstart.models.integrity import record_file, sha256
from hotstart.models.metadata import FileRecord, Metadata, write_metadata
from hotstart.models.names import artifact_folder
from hotstart.models.safetensors import Tensor
from hotstart.models.sources import Located, locate
from hotstart.models.spec import ModelSpec
from hotstart.models.tokenizer import TOKENIZER, write_tokenizer
from hotstart.models.weights import place_weights
from hotstart.types import Graphs, Progress

_MAKERS = ("hotstart", "onnx", "numpy")


def build(spec: ModelSpec, settings: Settings, on_progress: Progress | None = None) -> Artifact:
    """Build the artifact of `spec`, replacing the one that is there.

    Raises:
        ModelError: the model cannot be found, read or run, as its subclasses say.
    """
    report = on_progress or _unheard
    report("locating", 0.0)
    located = _locate(spec, settings, report)
    model = describe(located.folder, spec.source)
    folder = artifact_folder(spec, settings)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    remove_leftovers(folder)
    staged = beside(folder)
    os.mkdir(staged)
    try:
        metadata = _fill(staged, spec, located, model, report)
        report("placing", 0.9)
        place_folder(staged, folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    report("prepared", 1.0)
    return Artifact(folder, metadata)


def _locate(spec: ModelSpec, settings: Settings, report: Progress) -> Located:
    try:
        return locate(spec, settings)
    except ModelError:
        if not spec.allow_download:
            raise
    from hotstart.models.hub import fetch  # only what may use the network imports what does

    report("downloading", 0.0)
    fetch(spec, settings)
    return locate(spec, settings)


def _fill(
    staged: str, spec: ModelSpec, located: Located, model: Description, report: Progress
) -> Metadata:
    """Write every file of the artifact into `staged`, its record last."""
    report("weights", 0.1)
    tensors = place_weights(model, staged)
    report("graph", 0.3)
    graphs = write_graphs(model, staged, tensors)
    write_tokenizer(
        model.folder,
        staged,
        normalizer=model.normalizer,
        lowercase=model.lowercase,
        max_seq_length=model.max_seq_length,
    )
    report("checksums", 0.5)
    records = {name: record_file(os.path.join(staged, name)) for name in _files(staged)}
    hashes = _original_hashes(model, staged, records, graphs)
    _expect_published(spec, located, model, hashes)
    metadata = Metadata(
        source=spec.source,
        origin=located.origin,
        original_folder=model.folder,
        revision=located.revision,
        engine="onnx",
        precision="float32",
        dimension=model.dimension,
        max_seq_length=model.max_seq_length,
        parameters=_parameters(tensors),
        weights_bytes=sum(records[name].bytes for name in hashes if name != TOKENIZER),
        pad_token_id=model.pad_token_id,
        truncate_dim=model.truncate_dim,
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        fingerprint=fingerprint(model, hashes, "float32"),
        graphs=graphs,
        files=records,
        original_files=_originals(model, hashes),
        made_by={name: importlib.metadata.version(name) for name in _MAKERS},
        made_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    write_metadata(staged, metadata)
    return metadata


def _files(staged: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), staged)
        for folder, _, names in os.walk(staged)
        for name in names
    )


def _original_hashes(
    model: Description, staged: str, records: Mapping[str, FileRecord], graphs: Graphs
) -> dict[str, str]:
    """SHA-256 of the original weights and tokenizer by name; a linked file is not read again."""
    built = {graphs.head, graphs.encoder if model.shipped_graph is None else None}
    hashes = {}
    for name in sorted(records.keys() - built):
        original = os.path.join(model.folder, name)
        linked = os.path.samefile(original, os.path.join(staged, name))
        hashes[name] = records[name].sha256 if linked else sha256(original)
    return hashes


def _originals(model: Description, hashes: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    names = [*hashes, "config.json", "modules.json"]
    originals = {}
    for name in names:
        path = os.path.realpath(os.path.join(model.folder, name))
        if os.path.isfile(path):
            status = os.stat(path)
            originals[path] = (status.st_size, status.st_mtime_ns)
    return originals


def _expect_published(
    spec: ModelSpec, located: Located, model: Description, hashes: Mapping[str, str]
) -> None:
    """Refuse weights that call themselves the catalog's pinned commit and are not."""
    known = known_model(spec.source)
    if known and located.revision == known.revision:
        for name in model.weights:
            if hashes[name] != known.weights_sha256:
                raise ModelDamaged(
                    os.path.join(model.folder, name),
                    reason=f"SHA-256 {hashes[name]}, published is {known.weights_sha256}",
                )


def _parameters(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(tensor.length // 4 for group in tensors.values() for tensor in group.values())


def _unheard(stage: str, fraction: float) -> None:
    """Progress nobody asked for."""
