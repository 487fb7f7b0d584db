"""What the user named: the model to run and when to load it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from hotstart.errors import InvalidInput

KINDS = {"embedding": ("float32", "int8"), "reranker": ("float32",)}
"""What a model can be for, and at which precisions each can be had.

Nothing measures yet what 8 bits cost a reranker.
"""


@dataclass(frozen=True)
class ModelSpec:
    """A model as the user named it.

    Two specs are equal when they need the same loaded model; the strategy says only when it is
    loaded and takes no part in that.

    Attributes:
        source: a folder, a name of the catalog, or a repository of the hub (`owner/name`).
        revision: commit, tag or branch of a hub repository; None for the catalog's pinned commit,
            else for the branch `main` as it stood when it was pulled.
        allow_download: whether a load may fetch what is missing from the hub.
        strategy: a key of `hotstart.pool.strategies.STRATEGIES`.
        engine: what runs it, a key of `hotstart.engines.ENGINES`.
        precision: of the weights as they are run, one of those in KINDS.
        device: where the engine torch runs it; None for the best there is.
        trust_remote_code: let the engine torch run code that the repository brings.
        kind: what it is for, a key of KINDS.
    """

    source: str
    revision: str | None = None
    allow_download: bool = False
    strategy: str = field(default="lazy", compare=False)
    engine: str = "onnx"
    precision: str = "float32"
    device: str | None = None
    trust_remote_code: bool = False
    kind: str = "embedding"

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source.strip() or "\0" in self.source:
            raise InvalidInput("source", got=self.source, expected="a folder or a model's name")
        # It becomes part of a path.
        if self.revision is not None and not re.fullmatch(r"(?!.*\.\.)\w[\w./-]*", self.revision):
            raise InvalidInput("revision", got=self.revision, expected="a commit, tag or branch")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.engine):  # and so does this
            raise InvalidInput("engine", got=self.engine, expected="the name of an engine")
        if self.kind not in KINDS:  # it too
            raise InvalidInput("kind", got=self.kind, expected=f"one of {', '.join(KINDS)}")
        if self.precision not in KINDS[self.kind]:
            expected = f"one of {', '.join(KINDS[self.kind])}, for a model of kind {self.kind}"
            raise InvalidInput("precision", got=self.precision, expected=expected)

    @property
    def names_folder(self) -> bool:
        """Whether the source can only be a folder, or is one on this machine."""
        return self.source.startswith((".", "/", "~")) or os.path.isfile(
            os.path.join(self.source, "config.json")
        )

    @property
    def folder(self) -> str:
        """The source as an absolute path."""
        return os.path.abspath(os.path.expanduser(self.source))
