"""Fork-safe locks, threads, deadlines, the work that an exit waits for, the circuit breaker.

A forked child has the memory of all threads of its parent and runs only one of them. A lock that
another thread held stays locked in the child, and the data that it guards is half changed.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from hotstart.errors import InvalidInput


class Settling(Protocol):
    """An object whose changes a fork must not interrupt."""

    def settle(self) -> None:
        """Block until no thread is changing the object, and keep others from starting a change."""

    def resume(self) -> None:
        """Resume after a fork, in the parent and in the child, in the thread that forked."""


class Condition(threading.Condition):
    """A condition that Ctrl-C cannot leave locked.

    `threading.Condition` is entered by Python code: a signal handler that raises in that code,
    after the lock was acquired, leaves the lock acquired for ever. The methods of the lock itself
    are called without Python code in between.
    """

    __enter__ = property(lambda self: self._lock.__enter__)
    __exit__ = property(lambda self: self._lock.__exit__)


class ForkLock:
    """A lock that no other thread holds in a forked child. Ctrl-C cannot leave it locked.

    Code that holds it must not take another ForkLock: a fork takes all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        settle_at_fork(self)

    def settle(self) -> None:
        """Acquire the lock before a fork."""
        self._lock.acquire()

    def resume(self) -> None:
        """Resume after a fork, in the parent and in the child, in the thread that forked."""
        self._lock.release()

    if TYPE_CHECKING:

        def __enter__(self) -> bool: ...

        def __exit__(self, *_: object) -> None: ...

    else:  # see Condition
        __enter__ = property(lambda self: self._lock.__enter__)
        __exit__ = property(lambda self: self._lock.__exit__)


_registering = threading.Lock()
_living: weakref.WeakSet[Settling] = weakref.WeakSet()
_settled: list[Settling] = []


def settle_at_fork(thing: Settling) -> None:
    """Call `thing.settle` before each fork of this process while `thing` exists."""
    with _registering:
        _living.add(thing)


def _settle_all() -> None:
    _registering.acquire()
    for thing in list(_living):
        thing.settle()
        _settled.append(thing)


def _resume_all() -> None:
    while _settled:
        _settled.pop().resume()
    _registering.release()


class Resettable(Protocol):
    """An object with locks and threads that a forked child must not use."""

    def reset_after_fork(self) -> None:
        """Replace locks and threads in the child; the threads exist in the parent only."""


_resettable: weakref.WeakSet[Resettable] = weakref.WeakSet()


def reset_after_fork(thing: Resettable) -> None:
    """Call `thing.reset_after_fork` in each forked child while `thing` exists."""
    with _registering:
        _resettable.add(thing)


def _reset_all() -> None:
    _resume_all()
    for thing in list(_resettable):
        thing.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle_all, after_in_parent=_resume_all, after_in_child=_reset_all)


class IdleThreads:
    """Up to `most` daemon threads that start on demand and end after `idle_seconds` without work.

    The caller of each method holds `changed`.

    Attributes:
        changed: guards the work of the owner; notified when there is more work.
    """

    def __init__(self, name: str, most: int, idle_seconds: float = 10.0) -> None:
        self.changed = Condition()
        self._name = name
        self._most = most
        self._idle_seconds = idle_seconds
        self._threads = 0
        self._idle = 0
        self._woken = 0  # notified threads that have not woken yet

    def wake(self, run: Callable[[], object]) -> None:
        """Wake an idle thread, or start one that calls `run`, unless `most` are at work.

        Call this before the work is queued.

        Raises:
            RuntimeError: no thread runs and the system cannot start one.
        """
        if self._idle > self._woken:
            self._woken += 1
            self.changed.notify()
        elif self._threads < self._most:
            self._threads += 1
            try:
                threading.Thread(target=run, name=self._name, daemon=True).start()
            except RuntimeError:  # the system cannot start another thread
                self._threads -= 1
                if not self._threads:
                    raise

    def wait_for_work(self, has_work: Callable[[], object]) -> bool:
        """Wait for work; return false if the calling thread must end."""
        while not has_work():
            self._idle += 1
            notified = self.changed.wait(self._idle_seconds)
            self._idle -= 1
            self._woken = max(0, self._woken - notified)
            if not notified and not has_work():
                self._threads -= 1
                return False
        return True


class ActiveWork:
    """The work of this process that may be in native code. Thread-safe.

    Before Python 3.14, a thread that returns from native code to a finalized interpreter aborts the
    process. An exit therefore waits for the work, and asks it to stop early.

    Use the object as a context manager around each piece of work.

    Attributes:
        is_stopping: whether the process ends.
    """

    def __init__(self) -> None:
        self.is_stopping = False
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the work of other threads goes on in the parent only."""
        self._changed = Condition(threading.Lock())
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count = max(0, self._count - 1)  # 0 in a child that was forked by this thread
            if self.is_stopping:
                self._changed.notify_all()

    def stop(self, timeout: float) -> bool:
        """Ask the work to stop; return whether it has ended within `timeout` seconds."""
        with self._changed:
            self.is_stopping = True
            return self._changed.wait_for(lambda: self._count == 0, timeout)

    def check(self) -> None:
        """End the calling thread if the process ends. The thread that ends the process goes on."""
        if self.is_stopping and threading.current_thread() is not threading.main_thread():
            raise SystemExit  # a thread that ends so prints nothing


active_work = ActiveWork()

_PATIENCE = 3.0  # seconds that an exit waits for active work


def _end_active_work() -> None:
    """Wait for active work at exit. After that, work may still be in a native call that hangs."""
    if not active_work.stop(_PATIENCE) and sys.version_info < (3, 14):
        _hang_late_threads()


def _hang_late_threads() -> None:
    """Make a thread hang that would abort the process during its end; Python 3.14 does so itself.

    When Python ends a thread below frames of C++, C++ calls the terminate handler, which aborts.
    """
    import ctypes

    try:
        runtime = ctypes.CDLL("libstdc++.so.6", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        set_terminate = runtime["_ZSt13set_terminatePFvvE"]
        pause = ctypes.CDLL(None)["pause"]
    except (OSError, AttributeError):  # no C++ runtime is loaded, or another than GNU's
        return
    set_terminate.argtypes = [ctypes.c_void_p]
    set_terminate.restype = ctypes.c_void_p
    set_terminate(ctypes.cast(pause, ctypes.c_void_p))


atexit.register(_end_active_work)


_LONGEST = threading.TIMEOUT_MAX / 2  # in seconds; locks refuse more than TIMEOUT_MAX


class Deadline:
    """The end of `timeout` seconds from now; None for no end.

    Raises:
        InvalidInput: `timeout` is no number of seconds.
    """

    def __init__(self, timeout: float | None) -> None:
        self.seconds = timeout
        self._end = None if timeout is None else self._end_of(timeout)

    @staticmethod
    def _end_of(timeout: float) -> float:
        with contextlib.suppress(TypeError):
            end = time.monotonic() + float(min(timeout, _LONGEST))
            if not math.isnan(end):
                return end
        raise InvalidInput("timeout", got=timeout, expected="a number of seconds or None")

    @property
    def left(self) -> float | None:
        """Seconds left, never below 0; None for no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left == 0.0


CircuitState = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Decides whether a failing service may be called. Thread-safe; never blocks.

    Args:
        threshold: consecutive failures that open the circuit.
        cooldown: seconds until the first trial.
        longest: upper bound in seconds of the cool-down, which doubles with each failed trial.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        threshold: int = 5,
        cooldown: float = 1.0,
        longest: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._first = cooldown
        self._longest = longest
        self._clock = clock
        self._lock = ForkLock()
        self._failures = 0
        self._cooldown = cooldown
        self._open_until: float | None = None
        self._trial_until: float | None = None

    @property
    def state(self) -> CircuitState:
        """`closed`: all calls pass; `open`: none passes; `half-open`: one trial passes."""
        with self._lock:
            if self._open_until is None:
                return "closed"
            return "open" if self._clock() < self._open_until else "half-open"

    def allows(self) -> bool:
        """Return whether a call may be made now. In `half-open` the first caller gets the one
        trial.

        A trial without a reported outcome expires after a cool-down.
        """
        with self._lock:
            now = self._clock()
            if self._open_until is None:
                return True
            under_trial = self._trial_until is not None and now < self._trial_until
            if now < self._open_until or under_trial:
                return False
            self._trial_until = now + self._cooldown
            return True

    def retry_in(self) -> float:
        """Return the seconds until a call is allowed, 0 if it is allowed now."""
        with self._lock:
            ends = [end for end in (self._open_until, self._trial_until) if end is not None]
            return max(0.0, max(ends, default=0.0) - self._clock()) if ends else 0.0

    def succeeded(self) -> None:
        """Record a success, which closes the circuit."""
        with self._lock:
            self._failures = 0
            self._cooldown = self._first
            self._open_until = self._trial_until = None

    def failed(self) -> None:
        """Record a failure; a failed trial, or `threshold` of them in a row, opens the circuit."""
        with self._lock:
            now = self._clock()
            self._failures += 1
            was_trial = self._open_until is not None and now >= self._open_until
            if was_trial:
                self._cooldown = min(self._longest, 2 * self._cooldown)
            if was_trial or (self._open_until is None and self._failures >= self._threshold):
                self._open_until = now + self._cooldown
                self._trial_until = None
