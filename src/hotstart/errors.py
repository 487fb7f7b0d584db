"""The error tree. Each message states the facts and the remedy.

HotstartError
├── InvalidInput (ValueError)        what the caller passed cannot be used
│   ├── ConfigNotNamed               a file that was not named would run code or take a key
│   └── InvalidText                  one text of a batch cannot be embedded
├── MissingExtra (ImportError)       an optional dependency is not installed
├── ModelError                       a model as it lies on disk or on the hub
│   ├── ModelNotFound                no model of that name is on this machine
│   │   ├── ModelFileMissing         the source file of a model does not exist
│   │   └── FunctionMissing          the function that builds a model does not exist
│   ├── ModelIncomplete              some of its files are missing
│   ├── ModelDamaged                 a file exists and its content is invalid
│   ├── UnsupportedModel             no installed engine can run it
│   │   └── WrongKind                it gives something else than was asked for
│   ├── DownloadFailed               the hub did not deliver it
│   ├── ArtifactMissing              it was not prepared yet
│   ├── ArtifactDamaged              the prepared files do not match their record
│   ├── CacheUnwritable              the cache folder is full or cannot be written
│   ├── PickleRefused                loading the file would run code
│   └── TypesRefused                 a skops file with types that are not trusted
├── ReadinessError                   the readiness of a model
│   ├── NotReady (TimeoutError)      the model was not ready in time
│   ├── StillComputing (TimeoutError)  the vectors were not ready in time
│   ├── PredictionTimeout (TimeoutError)  the model did not answer in time
│   ├── PredictionFailed             the model raised an error that no caller can be given
│   ├── Overloaded                   too many requests wait for the model
│   ├── LoadFailed                   the load failed; its cause is chained
│   ├── LoadTimeout                  the load exceeded load_timeout
│   ├── CheckFailed                  the loaded model answered its check wrongly
│   └── InsufficientMemory           the model does not fit into memory
├── RegistryError                    a registry of models
│   ├── UnknownModel (KeyError)      no model has that name
│   └── UnknownVersion (KeyError)    the model has no version of that name
├── RemoteError                      a remote server that computes vectors
│   ├── RemoteUnavailable            the server is down, overloaded, or fails repeatedly
│   ├── RemoteTimeout (TimeoutError)  the server did not answer in time
│   ├── RemoteRefused                the server refused the request
│   └── RemoteAnswerInvalid          the server's response is invalid
└── SearchError                      a search index
    ├── IndexMissing                 the folder is not indexed
    ├── IndexBusy                    another process is writing it
    └── IndexDamaged                 the database cannot be read

Each class composes its message from the arguments of its constructor, so that all messages of
one kind read alike. The tree is in one file, so that messages are read, and kept plain, together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class HotstartError(Exception):
    """Base of every error raised by hotstart.

    Attributes:
        facts: what happened, without the final period.
        remedy: what to do, an imperative sentence without the final period; empty if the facts
            tell it.
    """

    def __init__(self, facts: str, remedy: str) -> None:
        self.facts = facts
        self.remedy = remedy
        super().__init__(message(facts, remedy))

    def again(self) -> HotstartError:
        """Return a copy to raise in another thread: a traceback belongs to one `raise`."""
        return _rebuild(type(self), self.__dict__ | {"args": self.args})

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take named facts, so the default reduction (cls, self.args) cannot rebuild them
        # in another process.
        return _rebuild, (type(self), self.__dict__ | {"args": self.args})


def message(facts: str, remedy: str) -> str:
    """Return `facts` and `remedy` as sentences."""
    return f"{facts}. {remedy}." if remedy else f"{facts}."


def described(error: BaseException) -> str:
    """Return the type and the message of `error`, even if the message cannot be formatted."""
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - code of a model
        text = "its message cannot be formatted"
    return f"{type(error).__name__}: {text or 'no message'}"


def _rebuild(cls: type[HotstartError], state: dict[str, Any]) -> HotstartError:
    error = cls.__new__(cls)
    error.args = state.pop("args")
    error.__dict__.update(state)
    return error


_LONGEST_VALUE = 400  # characters of a wrong value in a message


class InvalidInput(HotstartError, ValueError):
    """The argument `name` must be `expected` and is `got`."""

    def __init__(self, name: str, *, got: object, expected: str) -> None:
        super().__init__(f"{name} must be {expected}, got {_shortened(got)}", "")


def _shortened(value: object) -> str:
    """Return the repr of `value`, its middle left out if it is long."""
    text = repr(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    half = _LONGEST_VALUE // 2
    return f"{text[:half]}...{text[-half:]} ({len(text)} characters)"


def check_count(name: str, value: object, *, optional: bool = False) -> None:
    """Raise InvalidInput unless `value` is an integer from 1 on; `optional` allows None too."""
    if value is None and optional:
        return
    if hasattr(value, "__index__") and value.__index__() >= 1 and value is not True:
        return
    expected = "a positive integer or None" if optional else "a positive integer"
    raise InvalidInput(name, got=value, expected=expected)


def check_seconds(name: str, value: object) -> None:
    """Raise InvalidInput unless `value` is None or a number from 0 on."""
    if value is None or (isinstance(value, (int, float)) and value >= 0):
        return
    raise InvalidInput(name, got=value, expected="a number of seconds from 0 on or None")


class ConfigNotNamed(InvalidInput):
    """The value `got` of `name` in a file that nobody named has a `risk`."""

    def __init__(self, name: str, *, got: object, risk: str, remedy: str) -> None:
        facts = f"The file ./hotstart.toml, which was not named, sets {name} to {got!r}: {risk}"
        HotstartError.__init__(self, facts, remedy)


class InvalidText(InvalidInput):
    """The text at `position` of a batch cannot be embedded, because of `reason`."""

    def __init__(self, position: int, *, reason: str, remedy: str) -> None:
        self.position = position
        HotstartError.__init__(self, f"Text {position} cannot be embedded: {reason}", remedy)


class MissingExtra(HotstartError, ImportError):
    """`module` is not installed; the extra `extra` installs it."""

    def __init__(self, module: str, *, extra: str | None) -> None:
        wanted = f"hotstart[{extra}]" if extra else "hotstart"
        super().__init__(f"{module} is not installed", f"Run: pip install '{wanted}'")


class ModelError(HotstartError):
    """A model on disk or on the hub cannot be used."""


class ModelNotFound(ModelError):
    """The model `source` is in none of the places `looked`.

    Args:
        on_hub: whether the hub may have it.
        arguments: those of `hotstart models`, by default the source alone.
        is_folder: whether the current folder has a folder of that name.
        near: names of known models that may have been meant.
    """

    def __init__(
        self,
        source: str,
        *,
        looked: Sequence[str],
        on_hub: bool,
        arguments: str | None = None,
        is_folder: bool = False,
        near: Sequence[str] = (),
    ) -> None:
        if is_folder:
            remedy = f"If you mean the folder, write ./{source}"
        elif on_hub:
            run = f"Did you mean {' or '.join(near)}? Otherwise run" if near else "Run"
            pull = f"hotstart models pull {arguments or source}"
            remedy = f"{run}: {pull} (or pass allow_download=True)"
        else:
            remedy = "Pass the folder with its config.json, or the name of a model"
        facts = f"Model {source!r} is not on this machine (looked in {'; '.join(looked)})"
        super().__init__(facts, remedy)


class ModelFileMissing(ModelNotFound):
    """The file `path`, the source of the model `name`, does not exist."""

    def __init__(self, name: str, *, path: str) -> None:
        HotstartError.__init__(
            self, f"Model {name!r} does not exist: {path} is not a file", "Set the path of its file"
        )


class FunctionMissing(ModelNotFound):
    """The function `source`, which builds the model `name`, lacks `missing`."""

    def __init__(self, name: str, *, source: str, missing: str) -> None:
        HotstartError.__init__(
            self,
            f"Model {name!r} is built by {source}, and {missing} does not exist",
            "Name an importable function, as package.module:function",
        )


class ModelIncomplete(ModelError):
    """The model in `folder` lacks the files `missing`.

    Args:
        on_hub: whether the hub may have them.
        arguments: see `ModelNotFound`.
        is_pulled: whether all that its repository has was downloaded.
    """

    def __init__(
        self,
        source: str,
        *,
        folder: str,
        missing: Sequence[str],
        on_hub: bool,
        arguments: str | None = None,
        is_pulled: bool = False,
    ) -> None:
        self.missing = tuple(missing)
        remedy = "Copy the missing files into that folder"
        if is_pulled:
            remedy = "Its repository does not have them: use engine='torch', or another model"
        elif on_hub:
            pull = f"hotstart models pull {arguments or source}"
            remedy = f"Run: {pull} (or pass allow_download=True)"
        super().__init__(
            f"Model {source!r} in {folder} is incomplete: missing {', '.join(missing)}", remedy
        )


class ModelDamaged(ModelError):
    """The content of the model file `path` is invalid, because of `reason`."""

    def __init__(self, path: str, *, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}", "Download the model again")


class UnsupportedModel(ModelError):
    """The `feature` of a model is `got`; hotstart supports `supported` without torch."""

    def __init__(
        self,
        folder: str,
        *,
        feature: str,
        got: object,
        supported: Sequence[str],
        kind: str = "embedding",
        remedy: str | None = None,
    ) -> None:
        usual = {
            "sparse": "Run it with sentence-transformers' SparseEncoder, or use another model",
            "multi_vector": (
                "Run it with sentence-transformers' MultiVectorEncoder, or use another model"
            ),
        }
        super().__init__(
            f"The model in {folder} has {feature} {_shortened(got)}; supported: {_few(supported)}",
            remedy
            or usual.get(kind)
            or "Run it with engine='torch' (pip install 'hotstart[torch]'), or export it to ONNX",
        )


def _few(names: Sequence[str]) -> str:
    """Return the first of `names`, and the number of the others."""
    shown = ", ".join(names[:_MOST_NAMES])
    others = len(names) - _MOST_NAMES
    return f"{shown} and {others} more" if others > 0 else shown


_MOST_NAMES = 8

_OF_KIND = {
    "embedding": ("an embedding model", "dense vectors", "Use Embedder.encode"),
    "static": ("a static embedding model", "dense vectors", "Use Embedder.encode"),
    "reranker": ("a reranker", "scores", 'Use Reranker, or kind = "reranker" in hotstart.toml'),
    "sparse": (
        "a sparse model",
        "sparse embeddings",
        "Use Embedder.encode_sparse, or hotstart embed --kind sparse",
    ),
    "multi_vector": (
        "a multi-vector model",
        "vectors of tokens",
        "Use Embedder.encode_multi_vector, or hotstart embed --kind multi_vector",
    ),
}
"""What a model of each kind is called, what it gives, and how to get that."""


class WrongKind(UnsupportedModel):
    """The model `source` is of another kind than `wanted`."""

    def __init__(self, source: str, *, kind: str, wanted: str) -> None:
        name, _, remedy = _OF_KIND[kind]
        facts = f"The model {source} is {name}: it gives no {_OF_KIND[wanted][1]}"
        HotstartError.__init__(self, facts, remedy)


class DownloadFailed(ModelError):
    """The download of `source` failed, because of `reason`."""

    def __init__(self, source: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            f"Model {source!r} could not be downloaded: {reason}",
            remedy or "Check the name, the network and HF_TOKEN, then pull again",
        )


class ArtifactMissing(ModelError):
    """The folder `folder` has no artifact of the model `source`; `arguments`: `ModelNotFound`."""

    def __init__(self, source: str, *, folder: str, arguments: str | None = None) -> None:
        super().__init__(
            f"Model {source!r} is not prepared: {folder} is missing",
            f"Run: hotstart models prepare {arguments or source}",
        )


class ArtifactDamaged(ModelError):
    """The artifact in `folder` does not match its record, because of `reason`.

    `arguments`: see `ModelNotFound`; None where nothing tells the model.
    """

    def __init__(self, folder: str, *, reason: str, arguments: str | None = None) -> None:
        self.reason = reason
        super().__init__(
            f"The prepared model in {folder} is damaged: {reason}",
            f"Run: hotstart models prepare {arguments or 'MODEL'}",
        )


class PickleRefused(ModelError):
    """`path` is a pickle without a matching sha256; loading a pickle runs code."""

    def __init__(self, path: str, *, got: str | None = None, expected: str | None = None) -> None:
        facts = (
            f"{path} must have the SHA-256 {expected}, got {got}"
            if expected
            else f"{path} is a pickle, which runs code when it is loaded"
        )
        super().__init__(
            facts,
            "Load it where you trust it and save it with skops.io.dump(model, 'model.skops'); or "
            "set its sha256 in the configuration if you wrote the file",
        )


class TypesRefused(ModelError):
    """The skops file `path` contains `types` that are not trusted."""

    def __init__(self, path: str, *, types: Sequence[str]) -> None:
        self.types = tuple(types)
        super().__init__(
            f"{path} contains types that are not trusted: {', '.join(types)}",
            "Add the types that you trust to trusted = [...] in the model's configuration",
        )


class ReadinessError(HotstartError):
    """A model is not ready for the call."""


class NotReady(ReadinessError, TimeoutError):
    """The model was not ready within the timeout of the call; its load continues.

    Attributes:
        state: state of the instance at the timeout.
        stage: stage of the load.
        elapsed: seconds since the load began.
        expected: seconds that the last load took; None before the first has ended.
    """

    def __init__(
        self, source: str, *, state: str, stage: str, elapsed: float, expected: float | None
    ) -> None:
        self.state = state
        self.stage = stage
        self.elapsed = elapsed
        self.expected = expected
        estimate = "" if expected is None else f" of about {expected:.2f} s"
        super().__init__(
            f"Model {source!r} is {state} (stage {stage}, {elapsed:.2f} s{estimate})",
            "Retry, or set a longer timeout",
        )


class StillComputing(ReadinessError, TimeoutError):
    """The vectors of `texts` texts were not ready after `after` seconds.

    `kept` tells whether they are cached once they are computed.
    """

    def __init__(self, texts: int, *, after: float | None, kept: bool = True) -> None:
        super().__init__(
            f"The vectors of {texts} texts were not computed within {after or 0.0:g} s",
            "Retry: they are cached once computed; or set a longer timeout"
            if kept
            else "Set a longer timeout, or pass fewer texts",
        )


class PredictionTimeout(ReadinessError, TimeoutError):
    """The model did not answer within `after` seconds; its thread ends when the model returns."""

    def __init__(self, source: str, *, after: float) -> None:
        super().__init__(
            f"Model {source!r} did not answer within {after:g} s",
            "Set a longer timeout, or make the model faster",
        )


class PredictionFailed(ReadinessError):
    """The model raised `error`, which no caller can be given: it would end a loop or a program."""

    def __init__(self, source: str, *, error: BaseException) -> None:
        super().__init__(
            f"Model {source!r} raised {described(error)}",
            "Fix the model: it must raise a subclass of Exception other than StopIteration",
        )


class Overloaded(ReadinessError):
    """The queue of a `lane` is full: `tokens` wait in it.

    Attributes:
        retry_after: estimated seconds until the waiting texts are computed.
    """

    def __init__(self, source: str, *, lane: str, tokens: int, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(
            f"Model {source!r} has about {tokens} tokens waiting in its {lane} lane",
            f"Retry in {retry_after:.0f} s, or add a replica",
        )


class LoadFailed(ReadinessError):
    """The load of a model failed with `error`; calls after `retry_in` seconds retry it."""

    def __init__(self, source: str, *, error: BaseException, retry_in: float) -> None:
        self.retry_in = retry_in
        super().__init__(
            f"Model {source!r} could not be loaded: {described(error)}",
            f"Fix the cause; hotstart retries on the next call after {retry_in:g} s",
        )


class LoadTimeout(ReadinessError):
    """The load of a model was at `stage` after `after` seconds, its limit."""

    def __init__(self, source: str, *, stage: str, after: float) -> None:
        super().__init__(
            f"Model {source!r} was still loading after {after:g} s (stage {stage})",
            "Set a longer load_timeout, or run with hotstart --debug to see where it stalls",
        )


class CheckFailed(ReadinessError):
    """The loaded model answered the check `question` wrongly, so it does not serve."""

    def __init__(self, source: str, *, question: object, reason: str) -> None:
        shown = repr(question)
        if len(shown) > 80:
            shown = f"{shown[:77]}..."
        super().__init__(
            f"Model {source!r} failed its check: for the input {shown}, {reason}",
            "Check the file of the model, or correct the check in the configuration",
        )


class InsufficientMemory(ReadinessError):
    """A model needs `needed` bytes, and `limit` leaves `available` bytes."""

    def __init__(self, source: str, *, needed: int, available: int, limit: str) -> None:
        super().__init__(
            f"Model {source!r} needs about {needed / 1e6:.0f} MB and {limit} leaves "
            f"{available / 1e6:.0f} MB",
            "Raise the limit, unload another model, or use strategy='quantized'",
        )


class RegistryError(HotstartError):
    """A name is not in the registry."""


class UnknownModel(RegistryError, KeyError):
    """The registry has no model `name`; it has `known`."""

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        listed = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        super().__init__(
            f"The registry has no model {name!r}; it has: {listed or 'none'}",
            "Use one of these names, or add the model",
        )

    __str__ = Exception.__str__  # KeyError quotes its message


class UnknownVersion(RegistryError, KeyError):
    """The model `name` has no `version`; it has `known`."""

    def __init__(self, name: str, version: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"Model {name!r} has no version {version!r}; it has {', '.join(known) or 'none'}",
            "Use one of these versions, or add it",
        )

    __str__ = Exception.__str__


class RemoteError(HotstartError):
    """The server at `place`, an address without its secrets, returned no vectors.

    Attributes:
        retry_after: seconds of its Retry-After header, 0 without one.
    """

    retry_after: float = 0.0


class RemoteUnavailable(RemoteError):
    """The server cannot be reached or cannot answer; calls after `retry_in` seconds retry it."""

    def __init__(
        self, place: str, *, reason: str, retry_after: float = 0.0, retry_in: float | None = None
    ) -> None:
        self.retry_after = retry_after
        self.retry_in = retry_in
        remedy = "Check that the server is running"
        if retry_in is not None:
            remedy = f"Retry in {retry_in:.1f} s"
        super().__init__(
            f"Model {place} returned no vectors: {reason}",
            f"{remedy}, or set a fallback",
        )


class RemoteTimeout(RemoteError, TimeoutError):
    """The server did not answer within `after` seconds, the timeout of the call."""

    def __init__(self, place: str, *, after: float) -> None:
        super().__init__(
            f"Model {place} did not answer within {after:.3g} s",
            "Set a longer timeout, or a fallback",
        )


class RemoteRefused(RemoteError):
    """The server refused the request with HTTP `status` and `message`."""

    def __init__(self, place: str, *, status: int, message: str) -> None:
        self.status = status
        remedies = {
            401: "Set the key of the service in the environment, for example OPENAI_API_KEY",
            403: "Check that the key may use this model",
            404: "Check the name of the model and the address; for OpenAI its path ends in /v1",
        }
        super().__init__(
            f"Model {place} refused with HTTP {status}: {message or 'no reason given'}",
            remedies.get(status, "Correct the request as the server says"),
        )


class RemoteAnswerInvalid(RemoteError):
    """The response of the server is invalid, because of `reason`; it is discarded."""

    def __init__(self, place: str, *, reason: str) -> None:
        super().__init__(
            f"The response of model {place} is invalid: {reason}",
            "Check the server: its response violates the protocol",
        )


class CacheUnwritable(ModelError):
    """The cache folder `folder` cannot be written, because of `reason`.

    Args:
        needed: the bytes of the model, if they are what does not fit.
    """

    def __init__(self, folder: str, *, reason: str, needed: int | None = None) -> None:
        remedy = "Set HOTSTART_CACHE_DIR to a folder that can be written"
        if needed is not None:
            megabytes = max(1, round(needed / 1e6))
            remedy = f"Free {megabytes} MB, or set HOTSTART_CACHE_DIR to a folder with more space"
        super().__init__(f"The cache folder {folder} cannot be written: {reason}", remedy)


class SearchError(HotstartError):
    """A search index cannot be used."""


class IndexMissing(SearchError):
    """Neither `folder` nor a parent of it has an index; None if no folder is configured."""

    def __init__(self, folder: str | None, *, is_store: bool = False) -> None:
        if is_store:
            facts = f"There is no index in {folder}"
            super().__init__(facts, f"Run: hotstart index PATH --store {folder}")
        elif folder is None:
            super().__init__("The server has no search index", "Start it with --index FOLDER")
        else:
            facts = f"Neither {folder} nor a parent folder is indexed"
            super().__init__(facts, f"Run: hotstart index {folder}")


class IndexBusy(SearchError):
    """Another process is writing the index of `folder`."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"The index of {folder} is being written by another process",
            "Wait for that process to end, then retry",
        )


class IndexDamaged(SearchError):
    """The index database `path` cannot be used, because of `reason`."""

    def __init__(self, path: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            f"The index {path} cannot be used: {reason}",
            remedy or "Delete it and run hotstart index again: it contains derived data only",
        )
