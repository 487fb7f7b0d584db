"""The record of an artifact, `metadata.json`."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from hotstart.errors import ArtifactDamaged
from hotstart.files import write_whole
from hotstart.integrity import FileRecord
from hotstart.models.spec import FORMAT
from hotstart.types import (
    KIND_OF,
    Classifier,
    GraphFiles,
    PreparedModel,
    PreparedRoute,
    TokenSettings,
)

FILE_NAME = "metadata.json"


class SourceRecord(NamedTuple):
    """A file that an artifact was made of: size, time and inode, and its content.

    Only a file whose size, time or inode differs is read again.
    """

    bytes: int
    mtime_ns: int
    inode: int
    sha256: str

    @classmethod
    def of(cls, path: str, sha256: str) -> SourceRecord:
        """Return the record of the file at `path`, whose SHA-256 is known."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, sha256)


class Measurements(NamedTuple):
    """Cost and accuracy of a quantized artifact, measured when it was prepared.

    Attributes:
        memory_bytes: resident memory taken by the load and the first text.
        load_seconds: time from the artifact to a loaded engine.
        text_ms: time of one short text, in milliseconds.
        cosine_min: minimum cosine to the float32 vectors of `calibrate.comparison_probes`.
        cosine_mean: mean cosine to the same vectors.
    """

    memory_bytes: int
    load_seconds: float
    text_ms: float
    cosine_min: float
    cosine_mean: float


class Metadata(NamedTuple):
    """The record of one artifact.

    Attributes:
        source: the user's name for the model.
        origin: where the model's files were found.
        parameters: number of floating-point weights.
        fingerprint: identity of the vector space (see `preparation.variant.fingerprint`), different
            for each precision.
        original_files: the files that were read, by name relative to `original_folder`; None for
            a file that did not exist.
        made_by: versions of hotstart and of the libraries that wrote the files.
        measured: measurements of a quantized artifact; None if it was not measured.
        comparable_with: fingerprint of the float32 artifact if the measured vectors are close
            enough to be compared with float32 vectors; else None.
        classifier: the outputs of a reranker; None for an embedding model.
        reads_task: see `hotstart.types.ModelInfo`.
        max_active_dims: see `hotstart.types.ModelInfo`.
        tokens: see `hotstart.types.PreparedModel`.
        tasks: see `hotstart.types.ModelInfo`.
        routes: see `hotstart.types.PreparedModel`.
        similarity_scale: see `hotstart.types.EmbeddingResult`; None until it is measured.
    """

    source: str
    origin: str
    original_folder: str
    revision: str | None
    engine: str
    precision: str
    dimension: int
    max_seq_length: int
    parameters: int
    weights_bytes: int
    pad_token_id: int
    truncate_dim: int | None
    prompts: dict[str, str]
    default_prompt_name: str | None
    fingerprint: str
    graphs: GraphFiles
    files: dict[str, FileRecord]
    original_files: dict[str, SourceRecord | None]
    made_by: dict[str, str]
    made_at: str
    measured: Measurements | None = None
    comparable_with: str | None = None
    classifier: Classifier | None = None
    reads_task: bool = False
    max_active_dims: int | None = None
    tokens: TokenSettings | None = None
    tasks: tuple[str, ...] | None = None
    routes: tuple[PreparedRoute, ...] = ()
    similarity_scale: float | None = None
    format: int = FORMAT

    @property
    def kind(self) -> str:
        """The kind of the model, a key of `hotstart.models.spec.KINDS`."""
        return "reranker" if self.classifier else KIND_OF[self.graphs.returns]

    @property
    def total_bytes(self) -> int:
        """Size of all files; hard-linked weights count, although they use no extra disk space."""
        return sum(record.bytes for record in self.files.values())

    def prepared(self, folder: str) -> PreparedModel:
        """Return the facts that an engine needs to open this artifact in `folder`."""
        return PreparedModel(
            folder=folder,
            graphs=self.graphs,
            dimension=self.dimension,
            pad_token_id=self.pad_token_id,
            precision=self.precision,
            tokens=self.tokens,
            routes=self.routes,
        )


def write_metadata(folder: str, metadata: Metadata) -> None:
    """Write metadata.json atomically."""
    content = metadata._asdict() | {
        "graphs": metadata.graphs._asdict(),
        "files": {name: record._asdict() for name, record in metadata.files.items()},
        "original_files": {
            name: record and record._asdict() for name, record in metadata.original_files.items()
        },
        "measured": metadata.measured and metadata.measured._asdict(),
        "classifier": metadata.classifier and metadata.classifier._asdict(),
        "tokens": metadata.tokens and metadata.tokens.as_json(),
        "routes": [route.as_json() for route in metadata.routes],
    }
    raw = json.dumps(content, indent=1, ensure_ascii=False)
    write_whole(os.path.join(folder, FILE_NAME), raw.encode())


def read_metadata(folder: str) -> Metadata | None:
    """Return the record of the artifact in `folder`, or None if there is no artifact.

    Raises:
        ArtifactDamaged: the record is missing, unreadable or of another format.
    """
    try:
        with open(os.path.join(folder, FILE_NAME), encoding="utf-8") as file:
            content = json.load(file)
        if content["format"] != FORMAT:
            reason = f"its format is {content['format']}, this version of hotstart reads {FORMAT}"
            raise ArtifactDamaged(folder, reason=reason)
        return _from_json(content)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.isdir(folder):
            raise ArtifactDamaged(folder, reason=f"{FILE_NAME} is missing") from None
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactDamaged(folder, reason=f"{FILE_NAME} is unreadable ({error})") from error


def _from_json(content: dict[str, Any]) -> Metadata:
    classifier = content.get("classifier")
    tokens = content.get("tokens")
    tasks = content.get("tasks")
    return Metadata(
        **content
        | {
            "graphs": GraphFiles(**content["graphs"]),
            "files": {name: FileRecord(**entry) for name, entry in content["files"].items()},
            "measured": content["measured"] and Measurements(**content["measured"]),
            "classifier": classifier
            and Classifier(tuple(classifier["labels"]), classifier["activation"]),
            "tokens": tokens and TokenSettings.from_json(tokens),
            "tasks": tasks and tuple(tasks),
            "routes": tuple(map(PreparedRoute.from_json, content.get("routes", ()))),
            "original_files": {
                name: entry and SourceRecord(**entry)
                for name, entry in content["original_files"].items()
            },
        }
    )
