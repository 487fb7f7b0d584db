"""Sessions of ONNX Runtime; the only file that imports it."""

from __future__ import annotations

from typing import Any

from hotstart._lazy import require
from hotstart.config import refuse_telemetry

_ERRORS_ONLY = 3
_FAULTS = (
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile"),
    *("NotImplemented", "RuntimeException"),
)


def import_runtime() -> Any:
    """Import and return ONNX Runtime with its telemetry disabled."""
    refuse_telemetry()
    return require("onnxruntime")


def session_options(threads: int, *, packed: bool = True) -> Any:
    """Return options for sessions that use `threads` cores and none of them when idle.

    With `packed` false the session uses the weights as the file stores them: it opens earlier and
    runs slower.
    """
    options = import_runtime().SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would keep an idle process busy and take cores from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def open_session(path: str, options: Any, *, optimize: bool) -> Any:
    """Open the ONNX file `path` on the CPU, optimised at load or run as it is.

    Raises:
        session_faults(): the file cannot be run.
    """
    runtime = import_runtime()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def session_faults() -> tuple[type[Exception], ...]:
    """Return the error classes of ONNX Runtime, whose only base class is Exception."""
    import_runtime()
    binding = require("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(binding, name) for name in _FAULTS if hasattr(binding, name))


def input_types(session: Any) -> dict[str, str]:
    """Return the NumPy type name of each input of a session, by input name."""
    return {entry.name: element_type(entry) for entry in session.get_inputs()}


def element_type(entry: Any) -> str:
    """Return the NumPy type name of an ONNX type such as `tensor(int64)`."""
    return str(entry.type).removeprefix("tensor(").removesuffix(")")
