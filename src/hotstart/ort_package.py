"""Sessions of ONNX Runtime's Python package; the only file that imports it.

The package takes 25 ms to import beside NumPy. It runs what `hotstart.ort` does not: arrays of
any type, and prepared models where the shared library cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hotstart._lazy import require
from hotstart.config import refuse_telemetry
from hotstart.ort import LibraryUnavailable, OrtValue, RunOptions, Session, load_library

_ERRORS_ONLY = 3
_FAULTS = (
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile"),
    *("NotImplemented", "RuntimeException"),
)


def import_runtime() -> Any:
    """Import and return ONNX Runtime with its telemetry disabled."""
    refuse_telemetry()
    return require("onnxruntime")


def open_session(path: str, *, threads: int, packed: bool = True, optimize: bool = False) -> Any:
    """Open the ONNX file `path` on the CPU as an InferenceSession; see `hotstart.ort.Session`.

    Raises:
        session_faults(): the file cannot be run.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def session_faults() -> tuple[type[Exception], ...]:
    """Return the error classes of ONNX Runtime, whose only base class is Exception."""
    import_runtime()
    binding = require("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(binding, name) for name in _FAULTS if hasattr(binding, name))


def element_type(entry: Any) -> str:
    """Return the NumPy type name of an ONNX type such as `tensor(int64)`."""
    return str(entry.type).removeprefix("tensor(").removesuffix(")")


def session_class() -> type[Session | PackageSession]:
    """Return the class of sessions: of the library, or of the package where it must be."""
    try:
        load_library()
    except LibraryUnavailable:
        return PackageSession
    return Session


class PackageSession:
    """A prepared graph, run by the package. See `hotstart.ort.Session`."""

    def __init__(
        self, path: str, *, threads: int, packed: bool = True, optimize: bool = False
    ) -> None:
        self._session = open_session(path, threads=threads, packed=packed, optimize=optimize)
        names = {"float": "float32", "double": "float64"}
        types = {entry.name: element_type(entry) for entry in self._session.get_inputs()}
        self.inputs = {name: names.get(kind, kind) for name, kind in types.items()}
        self.outputs = [entry.name for entry in self._session.get_outputs()]

    def run(
        self,
        outputs: Sequence[str],
        inputs: Mapping[str, OrtValue],
        options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """Return the tensors of `outputs` for `inputs`; `options` are of the library alone."""
        import numpy as np

        arrays = {
            name: np.frombuffer(tensor.data, tensor.type).reshape(tensor.shape)
            for name, tensor in inputs.items()
        }
        return [
            OrtValue(bytearray(result.tobytes()), result.shape, str(result.dtype))
            for result in self._session.run(list(outputs), arrays)
        ]

    def close(self) -> None:
        """Release the graph, its weights and its memory."""
        self._session = None
