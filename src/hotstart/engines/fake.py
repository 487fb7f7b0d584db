"""A deterministic engine without a model, for tests."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart.errors import InvalidInput
from hotstart.types import EngineOutput, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.telemetry import Metric

PREFIX = "fake:"


class FakeSettings(NamedTuple):
    """The behaviour of a `FakeEngine`.

    Attributes:
        name: engines with one name share a `FakeControl`.
        dimension: length of a vector.
        load_seconds: duration of the constructor.
        fail_loads: number of failing loads of this name before the first success. A load fails
            after `load_seconds`, like a real load.
        fail_message: message of the failures.
        hang_load: whether the constructor waits for `fake_control(name).release()`.
        hang_encode: whether `embed` waits for `fake_control(name).release()`.
        encode_seconds: duration of a call of `embed`.
        fail_texts: texts for which `embed` fails.
    """

    name: str = "fake"
    dimension: int = 8
    load_seconds: float = 0.0
    fail_loads: int = 0
    fail_message: str = "this load was set to fail"
    hang_load: bool = False
    hang_encode: bool = False
    encode_seconds: float = 0.0
    fail_texts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, source: str) -> FakeSettings:
        """Parse `fake:dimension=8,load_seconds=0.5`; `fake:` alone gives the defaults.

        `hang_load` and `hang_encode` are `true` or `false`. Bars separate `fail_texts` (`a|b`). A
        value cannot contain a comma.

        Raises:
            InvalidInput: a key is unknown, or a value is invalid.
        """
        settings: dict[str, Any] = {}
        for part in filter(None, source.removeprefix(PREFIX).split(",")):
            key, _, value = part.partition("=")
            key = key.strip()
            if key not in _READERS:
                known = ", ".join(_READERS)
                raise InvalidInput("fake setting", got=key, expected=f"one of {known}")
            settings[key] = _read(key, value)
        return cls(**settings)


class _Kind(NamedTuple):
    """The parser of a setting, and the description of valid values."""

    read: Callable[[str], Any]
    expected: str


def _number(text: str, least: int = 0) -> int:
    if (number := int(text)) < least:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < threading.TIMEOUT_MAX:
        raise ValueError(text)
    return seconds


_TEXT = _Kind(str, "a text without a comma")
_SECONDS = _Kind(_seconds, "seconds, 0 or more")
_FLAG = _Kind(lambda text: {"true": True, "false": False}[text], "true or false")
_READERS: Mapping[str, _Kind] = {
    "name": _TEXT,
    "dimension": _Kind(lambda text: _number(text, 1), "a number, 1 or more"),
    "load_seconds": _SECONDS,
    "fail_loads": _Kind(_number, "a number, 0 or more"),
    "fail_message": _TEXT,
    "hang_load": _FLAG,
    "hang_encode": _FLAG,
    "encode_seconds": _SECONDS,
    "fail_texts": _Kind(lambda text: tuple(text.split("|")), "texts separated by |"),
}


def _read(key: str, value: str) -> Any:
    kind = _READERS[key]
    try:
        return kind.read(value)
    except (ValueError, KeyError):
        raise InvalidInput(f"fake setting {key}", got=value, expected=kind.expected) from None


class FakeControl:
    """The shared state of fake engines with one name: load count and release.

    Attributes:
        loads: number of started loads.
        failures: number of loads that failed because of `fail_loads`.
        embedded: number of times each text was embedded.
    """

    def __init__(self) -> None:
        self.loads = 0
        self.failures = 0
        self.embedded: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._released = threading.Event()

    def release(self) -> None:
        """Release hanging constructors and calls, including later ones."""
        self._released.set()

    def wait(self) -> None:
        """Wait for `release`."""
        self._released.wait()

    def note(self, texts: Sequence[str]) -> None:
        """Count embedded texts."""
        with self._lock:
            self.embedded.update(texts)

    def load(self, settings: FakeSettings) -> None:
        """Sleep for `settings.load_seconds`, then return or raise."""
        with self._lock:
            self.loads += 1
        if settings.hang_load:
            self.wait()
        _sleep(settings.load_seconds)
        with self._lock:
            failing = self.failures < settings.fail_loads
            self.failures += failing
        if failing:
            raise RuntimeError(settings.fail_message)


_controls: defaultdict[str, FakeControl] = defaultdict(FakeControl)
_controls_lock = threading.Lock()


def fake_control(name: str = "fake") -> FakeControl:
    """Return the control of the fake engines called `name`."""
    with _controls_lock:
        return _controls[name]


def forget_fake_control(name: str = "fake") -> None:
    """Release hanging loads of `name` and reset its counts."""
    with _controls_lock:
        control = _controls.pop(name, None)
    if control is not None:
        control.release()


class FakeEngine:
    """Computes vectors from a hash of the text.

    A vector has norm 1 and depends only on the text and the dimension, so it is equal in every
    process and on every machine. Vectors of different texts are unrelated.
    """

    name = "fake"

    def __init__(self, settings: FakeSettings | None = None) -> None:
        settings = settings or FakeSettings()
        fake_control(settings.name).load(settings)
        self.dimension = settings.dimension
        self._settings: FakeSettings | None = settings

    def embed(
        self,
        texts: Sequence[str],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        assert self._settings is not None, "embed after close"
        control = fake_control(self._settings.name)
        control.note(texts)
        if self._settings.hang_encode:
            control.wait()
        _sleep(self._settings.encode_seconds)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            if text in self._settings.fail_texts:
                raise RuntimeError(f"this text was set to fail: {text!r}")
            vectors[row] = _vector(text, self.dimension)
        return EngineOutput(Matrix.of(vectors), self.count(texts))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text."""
        return [len(text.split()) for text in texts]

    def metrics(self) -> tuple[Metric, ...]:
        """Return no metrics."""
        return ()

    def close(self) -> None:
        """Make later calls of `embed` fail."""
        self._settings = None


def _vector(text: str, dimension: int) -> NDArray[np.float32]:
    digest = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(4 * dimension)
    # Odd numbers divided by a power of two are within (-1, 1) and never zero.
    spread = (np.frombuffer(digest, "<u4") + 0.5) / 2**31 - 1
    vector: NDArray[np.float32] = (spread / np.linalg.norm(spread)).astype(np.float32)
    return vector


def _sleep(seconds: float) -> None:
    if seconds:
        threading.Event().wait(seconds)
