"""ONNX Runtime through its C API: sessions over plain buffers, without NumPy.

The package of ONNX Runtime brings the shared library. Its functions stand in one table, `OrtApi`;
a position in the table never changes (https://onnxruntime.ai/docs/api/c/struct_ort_api.html).
`hotstart.ort_package` runs the same graphs where the library cannot be used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from hotstart.config import refuse_telemetry

OLDEST = (1, 22)
"""The oldest version of ONNX Runtime whose library is used."""

_API_VERSION = 22
_LOG_ID = b"hotstart"
_ERRORS_ONLY = 3
_OPTIMIZE_NOTHING, _OPTIMIZE_ALL = 0, 99
_LEVELS = (10, 20, 30, 40, 50)  # of logging, by ONNX Runtime's severity

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    10: "float16",
    11: "float64",
}
_NUMBERS = {name: number for number, name in _TYPES.items()}
ITEM_BYTES = {
    "float32": 4,
    "uint8": 1,
    "int8": 1,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "float64": 8,
}
"""Bytes of an element, by type."""

_Pointer = ctypes.c_void_p
_Out = ctypes.POINTER(ctypes.c_void_p)
_Text = ctypes.c_char_p
_Path = ctypes.c_wchar_p if sys.platform == "win32" else ctypes.c_char_p
_Size = ctypes.c_size_t
_Int = ctypes.c_int
_Shape = ctypes.POINTER(ctypes.c_int64)
_Texts = ctypes.POINTER(ctypes.c_char_p)
_Logger = ctypes.CFUNCTYPE(None, _Pointer, _Int, _Text, _Text, _Text, _Text)

_POSITIONS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "GetErrorMessage": (2, (_Pointer,)),
    "CreateEnvWithCustomLogger": (4, (_Logger, _Pointer, _Int, _Text, _Out)),
    "DisableTelemetryEvents": (6, (_Pointer,)),
    "CreateSession": (7, (_Pointer, _Path, _Pointer, _Out)),
    "CreateSessionFromArray": (8, (_Pointer, _Pointer, _Size, _Pointer, _Out)),
    "Run": (9, (_Pointer, _Pointer, _Texts, _Out, _Size, _Texts, _Size, _Out)),
    "CreateSessionOptions": (10, (_Out,)),
    "SetSessionLogSeverityLevel": (22, (_Pointer, _Int)),
    "SetSessionGraphOptimizationLevel": (23, (_Pointer, _Int)),
    "SetIntraOpNumThreads": (24, (_Pointer, _Int)),
    "SetInterOpNumThreads": (25, (_Pointer, _Int)),
    "SessionGetInputCount": (30, (_Pointer, ctypes.POINTER(_Size))),
    "SessionGetOutputCount": (31, (_Pointer, ctypes.POINTER(_Size))),
    "SessionGetInputTypeInfo": (33, (_Pointer, _Size, _Out)),
    "SessionGetInputName": (36, (_Pointer, _Size, _Pointer, _Out)),
    "SessionGetOutputName": (37, (_Pointer, _Size, _Pointer, _Out)),
    "CreateRunOptions": (39, (_Out,)),
    "RunOptionsSetTerminate": (46, (_Pointer,)),
    "CreateTensorWithDataAsOrtValue": (
        49,
        (_Pointer, _Pointer, _Size, _Shape, _Size, _Int, _Out),
    ),
    "GetTensorMutableData": (51, (_Pointer, _Out)),
    "CastTypeInfoToTensorInfo": (55, (_Pointer, _Out)),
    "GetTensorElementType": (60, (_Pointer, ctypes.POINTER(_Int))),
    "GetDimensionsCount": (61, (_Pointer, ctypes.POINTER(_Size))),
    "GetDimensions": (62, (_Pointer, _Shape, _Size)),
    "GetTensorTypeAndShape": (65, (_Pointer, _Out)),
    "CreateCpuMemoryInfo": (69, (_Int, _Int, _Out)),
    "AllocatorFree": (76, (_Pointer, _Pointer)),
    "GetAllocatorWithDefaultOptions": (78, (_Out,)),
    "ReleaseStatus": (93, (_Pointer,)),
    "ReleaseSession": (95, (_Pointer,)),
    "ReleaseValue": (96, (_Pointer,)),
    "ReleaseRunOptions": (97, (_Pointer,)),
    "ReleaseTypeInfo": (98, (_Pointer,)),
    "ReleaseTensorTypeAndShapeInfo": (99, (_Pointer,)),
    "ReleaseSessionOptions": (100, (_Pointer,)),
    "AddSessionConfigEntry": (130, (_Pointer, _Text, _Text)),
}
"""The functions in use: position in the table, and types of the arguments."""

_LONG = {
    "CreateEnvWithCustomLogger",
    "CreateSession",
    "CreateSessionFromArray",
    "ReleaseSession",
    "Run",
}
"""The functions that take longer than a switch of threads."""


class LibraryUnavailable(Exception):
    """The shared library cannot be used; the message says why."""


class RuntimeFault(RuntimeError):
    """ONNX Runtime refused a graph or a run; the message is its own."""


class OrtValue(NamedTuple):
    """Numbers in a buffer.

    Attributes:
        data: a buffer; of an input, it must be writable.
        shape: the length of each axis.
        type: NumPy's name of the element type, a key of ITEM_BYTES.
    """

    data: Any
    shape: tuple[int, ...]
    type: str


class Library:
    """The functions of a loaded library, its environment, and what sessions share.

    An environment lives until the process ends: sessions may outlive every other object.

    Attributes:
        path: the file of the library.
        version: its version, such as `1.32.0`.
        seconds: how long its load took.
    """

    def __init__(self, path: str) -> None:
        began = time.perf_counter()
        refuse_telemetry()
        self.path = path
        try:
            base = _open_library(path)["OrtGetApiBase"]
        except (OSError, AttributeError) as error:
            raise LibraryUnavailable(f"{path} cannot be loaded ({error})") from error
        base.restype = ctypes.POINTER(_Pointer)
        functions = base()
        get_version = ctypes.CFUNCTYPE(_Text)(functions[1])
        self.version = (get_version() or b"").decode()
        self._check_version()
        table = ctypes.CFUNCTYPE(_Pointer, ctypes.c_uint32)(functions[0])(_API_VERSION)
        if not table:
            raise LibraryUnavailable(f"{path} has no API of version {_API_VERSION}")
        self._table = ctypes.cast(table, ctypes.POINTER(_Pointer))
        self._functions: dict[str, Any] = {}
        self._logger = _Logger(_log)  # must live as long as the environment
        self.environment = self.made(
            "CreateEnvWithCustomLogger", self._logger, None, _ERRORS_ONLY, _LOG_ID
        )
        self.call("DisableTelemetryEvents", self.environment)
        self.memory = self.made("CreateCpuMemoryInfo", 1, 0)
        self.allocator = self.made("GetAllocatorWithDefaultOptions")
        self.seconds = time.perf_counter() - began

    def _check_version(self) -> None:
        numbers = self.version.split(".")
        if tuple(map(int, numbers[:2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise LibraryUnavailable(f"ONNX Runtime {self.version} is older than {oldest}")

    def function(self, name: str) -> Any:
        """Return the function `name`, which returns a status, or nothing if it releases."""
        function = self._functions.get(name)
        if function is None:
            position, types = _POSITIONS[name]
            result: Any = None if name.startswith("Release") else _Pointer
            if name == "GetErrorMessage":
                result = _Text
            # Short calls keep the interpreter: whoever lets it go may wait long to get it back.
            kind = ctypes.CFUNCTYPE if name in _LONG else ctypes.PYFUNCTYPE
            function = kind(result, *types)(self._table[position])
            self._functions[name] = function
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Call the function `name`. Raises RuntimeFault."""
        status = self.function(name)(*arguments)
        if status:
            message = self.function("GetErrorMessage")(status).decode(errors="replace")
            self.function("ReleaseStatus")(status)
            raise RuntimeFault(message)

    def made(self, name: str, *arguments: Any) -> _Pointer:
        """Return the object that the function `name` puts into its last argument."""
        made = _Pointer()
        self.call(name, *arguments, ctypes.byref(made))
        return made

    def number(self, name: str, *arguments: Any) -> int:
        """Return the number that the function `name` puts into its last argument."""
        number = _POSITIONS[name][1][-1]._type_()
        self.call(name, *arguments, ctypes.byref(number))
        return int(number.value)

    def text(self, name: str, *arguments: Any) -> str:
        """Return the text that the function `name` allocates."""
        allocated = self.made(name, *arguments, self.allocator)
        try:
            return (ctypes.cast(allocated, _Text).value or b"").decode()
        finally:
            self.call("AllocatorFree", self.allocator, allocated)


def _open_library(path: str) -> ctypes.CDLL:
    """Return the library at `path`.

    ctypes holds the interpreter while it opens a library, 25 ms for this one. A call of dlopen
    through ctypes does not.
    """
    if sys.platform == "win32":
        return ctypes.CDLL(path)
    system = ctypes.CDLL(None)
    system.dlopen.restype = _Pointer
    system.dlopen.argtypes = (_Text, _Int)
    handle = system.dlopen(os.fsencode(path), os.RTLD_NOW)
    return ctypes.CDLL(path, handle=handle or None)  # without a handle: opened again, for its error


def _log(_: Any, severity: int, category: bytes, log_id: bytes, place: bytes, text: bytes) -> None:
    import logging  # 4 ms, and only a fault needs it

    level = _LEVELS[min(max(severity, 0), len(_LEVELS) - 1)]
    logging.getLogger(__name__).log(level, "%s", text.decode(errors="replace"))


def find_library() -> str:
    """Return the path of the shared library in the installed package, without importing it.

    Raises:
        LibraryUnavailable: the package is not installed, or brings no library.
    """
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise LibraryUnavailable("onnxruntime is not installed")
    folder = os.path.join(next(iter(spec.submodule_search_locations)), "capi")
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise LibraryUnavailable(f"{folder} cannot be read ({error.strerror})") from error
    for name in names:
        if name == "onnxruntime.dll" or name.startswith(("libonnxruntime.so", "libonnxruntime.1")):
            return os.path.join(folder, name)
    raise LibraryUnavailable(f"{folder} has no library of ONNX Runtime")


_loading = threading.Lock()
_loaded: list[Library | LibraryUnavailable] = []


def load_library() -> Library:
    """Return the library of the process, loaded once.

    Raises:
        LibraryUnavailable: it cannot be used.
    """
    if not _loaded:
        with _loading:
            if not _loaded:
                try:
                    _loaded.append(Library(find_library()))
                except LibraryUnavailable as error:
                    _loaded.append(error)
    found = _loaded[0]
    if isinstance(found, LibraryUnavailable):
        raise found
    return found


def _address(data: Any) -> int:
    """Return the address of a writable buffer; 0 for an empty one."""
    if not memoryview(data).nbytes:
        return 0
    return ctypes.addressof(ctypes.c_char.from_buffer(data))


def start_loading_library() -> None:
    """Start to load the library in a thread; return at once."""
    if not _loaded:
        threading.Thread(target=_load_beside, name="hotstart-library", daemon=True).start()


def _load_beside() -> None:
    with contextlib.suppress(LibraryUnavailable):  # the load of the model falls back
        load_library()


class _Handle:
    """An object of the library, released when nothing refers to it any more."""

    def __init__(self, library: Library, pointer: _Pointer, release: str) -> None:
        self.pointer = pointer
        self._release = library.function(release)

    def __del__(self) -> None:
        if not sys.is_finalizing():  # its threads may be in native code
            self._release(self.pointer)


class RunOptions:
    """What can end a run early. Thread-safe."""

    def __init__(self) -> None:
        self._library = load_library()
        pointer = self._library.made("CreateRunOptions")
        self.handle = _Handle(self._library, pointer, "ReleaseRunOptions")

    def terminate(self) -> None:
        """Make the runs with these options raise RuntimeFault at their next operator."""
        self._library.call("RunOptionsSetTerminate", self.handle.pointer)


class Session:
    """A graph, ready to run on the CPU. Thread-safe.

    Args:
        graph: the path of an ONNX file, or the bytes of one without external data.
        threads: cores to use; none of them is busy between runs.
        packed: whether weights are packed for the processor. Without, the session uses them as
            the file stores them: it opens earlier and runs slower.
        optimize: whether the graph is optimised, or run as it is.

    Attributes:
        inputs: the element type of each input, by name; empty for a type without buffer.
        outputs: the names of the outputs.

    Raises:
        LibraryUnavailable: the library cannot be used.
        RuntimeFault: the graph cannot be run.
    """

    def __init__(
        self, graph: str | bytes, *, threads: int, packed: bool = True, optimize: bool = False
    ) -> None:
        self._library = load_library()
        options = self._options(threads, packed, optimize)
        pointer = self._create(graph, options)
        self._handle: _Handle | None = _Handle(self._library, pointer, "ReleaseSession")
        self.inputs = {
            self._library.text("SessionGetInputName", pointer, position): self._type(position)
            for position in range(self._library.number("SessionGetInputCount", pointer))
        }
        self.outputs = [
            self._library.text("SessionGetOutputName", pointer, position)
            for position in range(self._library.number("SessionGetOutputCount", pointer))
        ]

    def _options(self, threads: int, packed: bool, optimize: bool) -> _Handle:
        library = self._library
        pointer = library.made("CreateSessionOptions")
        handle = _Handle(library, pointer, "ReleaseSessionOptions")
        level = _OPTIMIZE_ALL if optimize else _OPTIMIZE_NOTHING
        library.call("SetSessionGraphOptimizationLevel", pointer, level)
        library.call("SetSessionLogSeverityLevel", pointer, _ERRORS_ONLY)
        library.call("SetIntraOpNumThreads", pointer, threads)
        library.call("SetInterOpNumThreads", pointer, 1)
        # Spinning threads would keep an idle process busy and take cores from other processes.
        library.call("AddSessionConfigEntry", pointer, b"session.intra_op.allow_spinning", b"0")
        if not packed:
            library.call("AddSessionConfigEntry", pointer, b"session.disable_prepacking", b"1")
        return handle

    def _create(self, graph: str | bytes, options: _Handle) -> _Pointer:
        library = self._library
        if isinstance(graph, bytes):
            return library.made(
                "CreateSessionFromArray", library.environment, graph, len(graph), options.pointer
            )
        path = graph if sys.platform == "win32" else os.fsencode(graph)
        return library.made("CreateSession", library.environment, path, options.pointer)

    def _type(self, position: int) -> str:
        library = self._library
        assert self._handle is not None
        info = library.made("SessionGetInputTypeInfo", self._handle.pointer, position)
        try:
            tensor = library.made("CastTypeInfoToTensorInfo", info)  # owned by `info`
            number = library.number("GetTensorElementType", tensor) if tensor else 0
            return _TYPES.get(number, "")
        finally:
            library.function("ReleaseTypeInfo")(info)

    def run(
        self,
        outputs: Sequence[str],
        inputs: Mapping[str, OrtValue],
        options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """Return the tensors of `outputs` for `inputs`.

        Raises:
            RuntimeFault: the graph cannot be run with these inputs, or `options` terminated it.
        """
        handle = self._handle
        assert handle is not None, "run after close"
        library = self._library
        names = (_Text * len(inputs))(*[name.encode() for name in inputs])
        wanted = (_Text * len(outputs))(*[name.encode() for name in outputs])
        results = (_Pointer * len(outputs))()
        with self._values(inputs) as values:
            try:
                library.call(
                    "Run",
                    handle.pointer,
                    None if options is None else options.handle.pointer,
                    names,
                    values,
                    len(inputs),
                    wanted,
                    len(outputs),
                    results,
                )
                return [self._tensor(result or 0) for result in results]
            finally:
                for result in results:
                    if result:
                        library.function("ReleaseValue")(result)

    @contextmanager
    def _values(self, inputs: Mapping[str, OrtValue]) -> Iterator[Any]:
        """Yield the values of `inputs`, which use their buffers without a copy."""
        library = self._library
        values = (_Pointer * len(inputs))()
        given = {name: tensor.type for name, tensor in inputs.items()}
        if given != self.inputs:
            raise RuntimeFault(f"inputs must be {self.inputs}, got {given}")
        try:
            for place, tensor in enumerate(inputs.values()):
                shape = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
                values[place] = library.made(
                    "CreateTensorWithDataAsOrtValue",
                    library.memory,
                    _address(tensor.data),
                    memoryview(tensor.data).nbytes,
                    shape,
                    len(shape),
                    _NUMBERS[tensor.type],
                ).value
            yield values
        finally:
            for value in values:
                if value:
                    library.function("ReleaseValue")(value)

    def _tensor(self, value: int) -> OrtValue:
        """Return a copy of the numbers of `value`."""
        library = self._library
        info = library.made("GetTensorTypeAndShape", value)
        try:
            kind = _TYPES.get(library.number("GetTensorElementType", info), "")
            axes = library.number("GetDimensionsCount", info)
            lengths = (ctypes.c_int64 * axes)()
            library.call("GetDimensions", info, lengths, axes)
        finally:
            library.function("ReleaseTensorTypeAndShapeInfo")(info)
        if not kind:
            raise RuntimeFault("an output has a type without buffer")
        shape = tuple(lengths)
        size = ITEM_BYTES[kind]
        for length in shape:
            size *= length
        data = bytearray(size)
        if size:
            numbers = library.made("GetTensorMutableData", value)
            ctypes.memmove(_address(data), numbers, size)
        return OrtValue(data, shape, kind)

    def close(self) -> None:
        """Release the graph, its weights and its memory, once no run uses them."""
        self._handle = None
