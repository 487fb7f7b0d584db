"""Sessions of ONNX Runtime on the CPU: the one door to it.

An idle session uses no processor: threads that wait in a spin would take it from their neighbours.
"""

from __future__ import annotations

from typing import Any

from hotstart._lazy import require
from hotstart.config import refuse_telemetry

_ERRORS_ONLY = 3


def import_runtime() -> Any:
    """Import ONNX Runtime and return it: ahead of threads, for two that import get in each other's
    way."""
    refuse_telemetry()
    return require("onnxruntime")


def open_session(path: str, threads: int, *, optimize: bool = True, prepack: bool = True) -> Any:
    """Return the `InferenceSession` of the ONNX file at `path`.

    Args:
        path: of the file.
        threads: cores to use.
        optimize: whether its graph is to be optimised, rather than run as it is written.
        prepack: whether weights are packed for the processor's matrix units first.
    """
    ort = import_runtime()
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
