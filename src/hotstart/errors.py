"""Every error hotstart raises, as one tree. Each message states the facts and the remedy.

HotstartError
├── InvalidInput (ValueError)        what the caller passed cannot be used
│   └── InvalidText                  one text of a batch cannot be embedded
├── MissingExtra (ImportError)       an optional dependency is not installed
├── ModelError                       a model as it lies on disk or on the hub
│   ├── ModelNotFound                nothing by that name is on this machine
│   │   ├── ModelFileMissing         the file that a model is made from is not there
│   │   └── FunctionMissing          the function that makes a model is not there
│   ├── ModelIncomplete              some of its files are missing
│   ├── ModelDamaged                 a file is there and cannot be right
│   ├── UnsupportedModel             no engine here can run it
│   ├── DownloadFailed               the hub could not give it
│   ├── ArtifactMissing              nothing was prepared from it yet
│   ├── ArtifactDamaged              what was prepared from it no longer matches its record
│   ├── PickleRefused                a file that would run code when it is loaded
│   └── TypesRefused                 a skops file with types that nobody said to trust
├── ReadinessError                   a model on its way into memory
│   ├── NotReady (TimeoutError)      not within the caller's deadline
│   ├── StillComputing (TimeoutError)  nor were the vectors
│   ├── Overloaded                   more waits for the model than may
│   ├── LoadFailed                   the load itself failed; its cause is chained
│   ├── LoadTimeout                  the load took longer than it may
│   ├── CheckFailed                  it was loaded and answers wrongly
│   └── InsufficientMemory           the model does not fit into what this process may use
├── RegistryError                    the models of a registry, by name
│   ├── UnknownModel (KeyError)      there is none of that name
│   └── UnknownVersion (KeyError)    the model has no version of that name
├── RemoteError                      another machine that computes vectors
│   ├── RemoteUnavailable            it is down, overloaded, or failed again and again
│   ├── RemoteTimeout (TimeoutError)  it did not answer in time
│   ├── RemoteRefused                it does not take what was sent
│   └── RemoteAnswerInvalid          it answered what cannot be used
└── SearchError                      an index of documents
    ├── IndexMissing                 the folder was never indexed
    ├── IndexBusy                    another process is writing it
    └── IndexDamaged                 the database cannot be read

A message is composed here, by the class, from the facts the raiser hands over: no caller
formats prose, and every message of one kind reads alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class HotstartError(Exception):
    """Base of every error raised by hotstart.

    Attributes:
        facts: what happened, without a closing full stop.
        remedy: what to do about it, an imperative sentence without its full stop.
    """

    def __init__(self, facts: str, remedy: str) -> None:
        self.facts = facts
        self.remedy = remedy
        super().__init__(f"{facts}. {remedy}.")

    def again(self) -> HotstartError:
        """Return a copy to be raised in another thread: a traceback belongs to one raising."""
        return _rebuild(type(self), self.__dict__ | {"args": self.args})

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take named facts, so the default reduction (cls, self.args) cannot rebuild them
        # in another process.
        return _rebuild, (type(self), self.__dict__ | {"args": self.args})


def _rebuild(cls: type[HotstartError], state: dict[str, Any]) -> HotstartError:
    error = cls.__new__(cls)
    error.args = state.pop("args")
    error.__dict__.update(state)
    return error


class InvalidInput(HotstartError, ValueError):
    """An argument cannot be used: `name` had `got`, where `expected` is needed."""

    def __init__(self, name: str, *, got: object, expected: str) -> None:
        super().__init__(f"{name} is {got!r}", f"Give {expected}")


class InvalidText(InvalidInput):
    """The text at `position` of a batch cannot be embedded, because of `reason`."""

    def __init__(self, position: int, *, reason: str, remedy: str) -> None:
        self.position = position
        HotstartError.__init__(self, f"Text {position} cannot be embedded: {reason}", remedy)


class MissingExtra(HotstartError, ImportError):
    """`module` is not installed; the extra `extra` brings it."""

    def __init__(self, module: str, *, extra: str | None) -> None:
        wanted = f"hotstart[{extra}]" if extra else "hotstart"
        super().__init__(f"{module} is not installed", f"Run: pip install '{wanted}'")


class ModelError(HotstartError):
    """Something is the matter with a model as it lies on disk or on the hub."""


class ModelNotFound(ModelError):
    """No model called `source` was found in any of the places `looked`."""

    def __init__(self, source: str, *, looked: Sequence[str], on_hub: bool) -> None:
        super().__init__(
            f"Model {source!r} is not on this machine (looked in {'; '.join(looked)})",
            f"Run: hotstart models pull {source} (or pass allow_download=True)"
            if on_hub
            else "Give the folder that holds its config.json, or the name of a model",
        )


class ModelFileMissing(ModelNotFound):
    """The model `name` is made from the file `path`, and no file is there."""

    def __init__(self, name: str, *, path: str) -> None:
        HotstartError.__init__(
            self, f"Model {name!r} is not there: {path} is no file", "Give the path of its file"
        )


class FunctionMissing(ModelNotFound):
    """The model `name` is made by the function `source`, in which `missing` does not exist."""

    def __init__(self, name: str, *, source: str, missing: str) -> None:
        HotstartError.__init__(
            self,
            f"Model {name!r} is made by {source}, and there is no {missing}",
            "Give a function that can be imported, as package.module:function",
        )


class ModelIncomplete(ModelError):
    """The model in `folder` lacks the files `missing`."""

    def __init__(self, source: str, *, folder: str, missing: Sequence[str], on_hub: bool) -> None:
        super().__init__(
            f"Model {source!r} is only partly in {folder}: missing {', '.join(missing)}",
            f"Run: hotstart models pull {source} (or pass allow_download=True)"
            if on_hub
            else "Copy the missing files into that folder",
        )


class ModelDamaged(ModelError):
    """The model file `path` cannot be right, because of `reason`."""

    def __init__(self, path: str, *, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}", "Fetch the model again")


class UnsupportedModel(ModelError):
    """`feature` of a model is `got`; the graph builder knows `supported`."""

    def __init__(
        self,
        folder: str,
        *,
        feature: str,
        got: object,
        supported: Sequence[str],
        kind: str = "embedding",
    ) -> None:
        also, remedy = {
            "embedding": (
                ", and repositories that ship onnx/model.onnx",
                "Run it with engine='torch' (pip install 'hotstart[torch]'), or export it to ONNX",
            ),
            "reranker": ("", "Run it with sentence-transformers' CrossEncoder, or take another"),
        }[kind]
        super().__init__(
            f"The model in {folder} has {feature} {got!r}; without torch hotstart runs "
            f"{', '.join(supported)}{also}",
            remedy,
        )


class DownloadFailed(ModelError):
    """The hub could not give `source`, because of `reason`."""

    def __init__(self, source: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            f"Model {source!r} could not be downloaded: {reason}",
            remedy or "Check the name, the network and HF_TOKEN, then pull again",
        )


class ArtifactMissing(ModelError):
    """No artifact of `source`, a model of that `kind`, is in `folder`."""

    def __init__(self, source: str, *, folder: str, kind: str = "embedding") -> None:
        option = "" if kind == "embedding" else f" --kind {kind}"
        super().__init__(
            f"Model {source!r} is not prepared (nothing in {folder})",
            f"Run: hotstart models prepare {source}{option}",
        )


class ArtifactDamaged(ModelError):
    """The prepared artifact in `folder` does not match its own record, because of `reason`."""

    def __init__(self, folder: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The prepared model in {folder} is damaged: {reason}",
            "Run: hotstart models prepare MODEL",
        )


class PickleRefused(ModelError):
    """`path` is a pickle, or not the one that was named: loading it would run whatever it holds."""

    def __init__(self, path: str, *, got: str | None = None, expected: str | None = None) -> None:
        facts = (
            f"{path} has the SHA-256 {got}, configuration names {expected}"
            if expected
            else f"{path} is a pickle, which runs code when it is loaded"
        )
        super().__init__(
            facts,
            "Load it where you trust it and save it with skops.io.dump(model, 'model.skops'); or "
            "name its sha256 in the configuration if you made it yourself",
        )


class TypesRefused(ModelError):
    """The skops file `path` holds the `types`, which nobody said to trust."""

    def __init__(self, path: str, *, types: Sequence[str]) -> None:
        self.types = tuple(types)
        super().__init__(
            f"{path} holds types that are not trusted: {', '.join(types)}",
            "List those you trust as trusted = [...] in the model's configuration",
        )


class ReadinessError(HotstartError):
    """A model is not in memory as the call needs it."""


class NotReady(ReadinessError, TimeoutError):
    """The model was not ready within the caller's deadline; its load goes on.

    Attributes:
        state: the instance's state when the deadline passed.
        stage: what its load was doing.
        elapsed: seconds since that load began.
        expected: seconds the last load took, None when none has ended yet.
    """

    def __init__(
        self, source: str, *, state: str, stage: str, elapsed: float, expected: float | None
    ) -> None:
        self.state, self.stage = state, stage
        self.elapsed, self.expected = elapsed, expected
        estimate = "" if expected is None else f" of about {expected:.2f} s"
        super().__init__(
            f"Model {source!r} is {state} (stage {stage}, {elapsed:.2f} s{estimate})",
            "Ask again, or give a longer timeout",
        )


class StillComputing(ReadinessError, TimeoutError):
    """The vectors of `texts` texts were not there `after` seconds; `kept` when they are done."""

    def __init__(self, texts: int, *, after: float | None, kept: bool = True) -> None:
        super().__init__(
            f"The vectors of {texts} texts were not computed within {after or 0.0:g} s",
            "Ask again: they are kept when they are done; or give a longer timeout"
            if kept
            else "Give a longer timeout, or ask for fewer at a time",
        )


class Overloaded(ReadinessError):
    """So many `tokens` wait in a `lane` of the model that no more are taken.

    Attributes:
        retry_after: seconds in which what waits will have been computed, about.
    """

    def __init__(self, source: str, *, lane: str, tokens: int, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(
            f"Model {source!r} has about {tokens} tokens waiting in its {lane} lane",
            f"Ask again in {retry_after:.0f} s, or add a replica",
        )


class LoadFailed(ReadinessError):
    """The load of a model failed with `error`, which is chained; an ask in `retry_in` s retries."""

    def __init__(self, source: str, *, error: BaseException, retry_in: float) -> None:
        self.retry_in = retry_in
        reason = str(error).strip() or "no message"
        super().__init__(
            f"Model {source!r} could not be loaded: {type(error).__name__}: {reason}",
            f"Mend the cause; the next ask after {retry_in:g} s tries again",
        )


class LoadTimeout(ReadinessError):
    """The load of a model was still at `stage` after the `after` seconds it may take."""

    def __init__(self, source: str, *, stage: str, after: float) -> None:
        super().__init__(
            f"Model {source!r} was still loading after {after:g} s (stage {stage})",
            "Give a longer load_timeout, or look what holds it up with hotstart --debug",
        )


class CheckFailed(ReadinessError):
    """The model was loaded, and its answer to `question` is wrong for `reason`; it never serves."""

    def __init__(self, source: str, *, question: object, reason: str) -> None:
        asked = repr(question)
        asked = asked if len(asked) <= 80 else f"{asked[:77]}..."
        super().__init__(
            f"Model {source!r} was loaded and failed its check: asked {asked}, {reason}",
            "Look at the file it was loaded from, or mend the check in the configuration",
        )


class InsufficientMemory(ReadinessError):
    """A model that needs `needed` bytes does not fit into the `available` that `limit` leaves."""

    def __init__(self, source: str, *, needed: int, available: int, limit: str) -> None:
        super().__init__(
            f"Model {source!r} needs about {needed / 1e6:.0f} MB and {limit} leaves "
            f"{available / 1e6:.0f} MB",
            "Raise the limit, unload another model, or use strategy='quantized'",
        )


class RegistryError(HotstartError):
    """Something was asked of a registry that it does not hold."""


class UnknownModel(RegistryError, KeyError):
    """The registry holds no model called `name`; it holds `known`."""

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        listed = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        super().__init__(
            f"No model is called {name!r}; there are: {listed or 'none'}",
            "Name one of these, or add it with set_model or in the configuration",
        )

    __str__ = Exception.__str__  # KeyError's would put the message in quotes


class UnknownVersion(RegistryError, KeyError):
    """The model `name` has no `version`; it has `known`."""

    def __init__(self, name: str, version: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"Model {name!r} has no version {version!r}; it has {', '.join(known) or 'none'}",
            "Name one of these, or add it",
        )

    __str__ = Exception.__str__


class RemoteError(HotstartError):
    """The machine at `place`, a model's address without its secrets, gave no vectors.

    Attributes:
        retry_after: seconds that the server asked to be left alone, 0 where it did not.
    """

    retry_after: float = 0.0


class RemoteUnavailable(RemoteError):
    """It cannot be reached or cannot answer now; `retry_in` seconds from now it is tried again."""

    def __init__(
        self, place: str, *, reason: str, retry_after: float = 0.0, retry_in: float | None = None
    ) -> None:
        self.retry_after, self.retry_in = retry_after, retry_in
        when = "Look whether it runs" if retry_in is None else f"Ask again in {retry_in:.1f} s"
        super().__init__(
            f"Model {place} gave no vectors: {reason}",
            f"{when}, or give a fallback to answer meanwhile",
        )


class RemoteTimeout(RemoteError, TimeoutError):
    """It had not answered after the `after` seconds of the call."""

    def __init__(self, place: str, *, after: float) -> None:
        super().__init__(
            f"Model {place} had not answered after {after:.3g} s",
            "Give a longer timeout, or a fallback to answer meanwhile",
        )


class RemoteRefused(RemoteError):
    """It refused the request with HTTP `status`, and `said` why."""

    def __init__(self, place: str, *, status: int, said: str) -> None:
        self.status = status
        remedies = {
            401: "Set the key of the service in the environment, e.g. OPENAI_API_KEY",
            403: "Look whether the key may use this model",
            404: "Look at the model's name and at the address, whose path ends in /v1 for OpenAI's",
        }
        super().__init__(
            f"Model {place} refused with HTTP {status}: {said or 'no reason given'}",
            remedies.get(status, "Look at what it says of the request"),
        )


class RemoteAnswerInvalid(RemoteError):
    """Its answer cannot be used, because of `reason`; none of its vectors was taken."""

    def __init__(self, place: str, *, reason: str) -> None:
        super().__init__(
            f"Model {place} answered what cannot be used: {reason}",
            "Look at the server: its answer breaks the protocol",
        )


class SearchError(HotstartError):
    """Something is the matter with an index of documents."""


class IndexMissing(SearchError):
    """Neither `folder` nor a folder above it holds an index; None: no folder was named at all."""

    def __init__(self, folder: str | None) -> None:
        if folder is None:
            super().__init__("No folder is searched here", "Start it with --index FOLDER")
        else:
            facts = f"{folder} is not indexed, and no folder above it is"
            super().__init__(facts, f"Run: hotstart index {folder}")


class IndexBusy(SearchError):
    """Another process is writing the index of `folder`."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"The index of {folder} is being written by another process",
            "Wait for it to end, then run this again",
        )


class IndexDamaged(SearchError):
    """The index database `path` cannot be used, because of `reason`."""

    def __init__(self, path: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            f"The index {path} cannot be used: {reason}",
            remedy or "Delete it and run hotstart index again: it holds nothing but derived data",
        )
