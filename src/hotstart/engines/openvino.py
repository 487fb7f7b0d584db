"""The engine for bulk work: OpenVINO, with the same graph as ONNX Runtime.

OpenVINO's ONNX reader supports the fused `com.microsoft` operators that `preparation.graph` writes,
and reads the weights in place. Compiled models are cached on disk by content.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart._lazy import require
from hotstart.engines.graph import GraphEngine, feed
from hotstart.errors import InvalidInput
from hotstart.files import exclusive
from hotstart.integrity import record_folder, remove_damaged
from hotstart.ort import OrtValue
from hotstart.system import BF16_FLAGS, cpu_flags, yield_processor
from hotstart.types import PreparedModel, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.engines.graph import Batch, Run


class OpenVinoEngine(GraphEngine):
    """Runs a prepared model with OpenVINO on the CPU.

    At the stage `fast_start` one batch uses all `threads`. At the other stages OpenVINO chooses the
    number of concurrent batches, each with fewer threads, which uses many cores better. A single
    text then has the threads of one batch: 4.7 ms instead of 3.1 on two cores, where bulk work is
    little faster. At `throughput`, for bulk work only, the threads have a lower priority.

    Matrix products are computed in float32, also those of an 8-bit model: with both roundings the
    cosine of all-MiniLM-L6-v2 falls to 0.99898, below the documented 0.999. A model of precision
    `bfloat16` is several times faster on a CPU with bf16 units.
    """

    name = "openvino"

    def __init__(
        self,
        prepared: PreparedModel,
        stage: Stage,
        threads: int,
        *,
        cache_folder: str | None,
        beside: GraphEngine | None = None,
    ) -> None:
        """Read and compile the model; cache the compiled model in `cache_folder`, unless None.

        Raises:
            InvalidInput: the model's precision is bfloat16, and the CPU has no bf16 units.
        """
        in_bf16 = prepared.precision == "bfloat16"
        if in_bf16 and BF16_FLAGS.isdisjoint(cpu_flags()):
            # OpenVINO would compute in float32, under the fingerprint of bfloat16.
            expected = "float32 or int8 on a CPU without AMX and AVX512-BF16"
            raise InvalidInput("precision", got=prepared.precision, expected=expected)
        config = {
            "PERFORMANCE_HINT": "LATENCY" if stage == "fast_start" else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            # Pinned threads would compete with other processes pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
            # Multiply 8-bit weights in 8 bits: inputs are rounded in groups of this size.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": prepared.graphs.block or 0,
        }
        open_run: Callable[[], Run] = partial(_open, prepared, config, cache_folder)
        if stage == "throughput":
            open_run = _with_low_priority(open_run)
        super().__init__(prepared, open_run, beside)


def _with_low_priority(open_run: Callable[[], Run]) -> Callable[[], Run]:
    """Return `open_run` with threads at lower priority; new threads inherit niceness."""

    def open_() -> Run:
        yield_processor()
        return open_run()

    return open_


def _open(prepared: PreparedModel, config: dict[str, Any], cache_folder: str | None) -> Run:
    """Compile the graph and return the function from batches to vectors."""
    compiled, output = _compile(prepared, config, cache_folder)
    inputs = {
        entry.get_any_name(): str(entry.get_element_type().to_dtype()) for entry in compiled.inputs
    }
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")):
        idle.put(compiled.create_infer_request())

    def finish(running: deque[Any]) -> bytes:
        """Wait for the oldest batch, return its vectors and release its request."""
        request = running.popleft()
        try:
            request.wait()
            # Copy the vectors, because the request overwrites them with its next batch.
            vectors: bytes = request.get_tensor(output).data.tobytes()
        finally:
            idle.put(request)
        return vectors

    def run(batches: Iterable[Batch]) -> Iterator[bytes]:
        # A thread waits for an idle request only if it holds none, so threads cannot deadlock.
        running: deque[Any] = deque()
        try:
            for batch in batches:
                while (request := _take(idle, wait=not running)) is None:
                    yield finish(running)
                running.append(request)
                request.start_async(_arrays(feed(inputs, batch)))
            while running:
                yield finish(running)
        finally:
            while running:  # a batch failed while others are still running
                finish(running)

    return run


def _arrays(tensors: dict[str, OrtValue]) -> dict[str, NDArray[Any]]:
    return {
        name: np.frombuffer(tensor.data, tensor.type).reshape(tensor.shape)
        for name, tensor in tensors.items()
    }


def _take(idle: SimpleQueue[Any], *, wait: bool) -> Any:
    """Return the next idle request; None if there is none and `wait` is false."""
    try:
        return idle.get(block=wait)
    except Empty:
        return None


def _compile(
    prepared: PreparedModel, config: dict[str, Any], cache_folder: str | None
) -> tuple[Any, str]:
    """Return the compiled graph and the name of its output.

    The cache key is the content of graph and weights, so a changed model is compiled again.
    OpenVINO does not check its files: those that differ from their record are removed first. One
    process at a time uses the cache. A concurrent load, or a process without write access, compiles
    without the cache.
    """
    openvino = _import_openvino()
    core = openvino.Core()
    model, output = _read(openvino, core, prepared)
    if cache_folder is not None:
        try:
            with exclusive(os.path.join(cache_folder, "lock"), wait=False) as is_locked:
                if is_locked:
                    remove_damaged(cache_folder)
                    cached = config | {"CACHE_DIR": cache_folder}
                    compiled = core.compile_model(model, "CPU", cached)
                    record_folder(cache_folder)
                    return compiled, output
        except OSError:
            pass
    return core.compile_model(model, "CPU", config), output


def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every import to Intel.

    Without the telemetry package OpenVINO uses a stub. The entry stays in sys.modules for the life
    of the process, because OpenVINO would mix stub and package if the package became importable.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return require("openvino", extra="openvino")


def _read(openvino: Any, core: Any, prepared: PreparedModel) -> tuple[Any, str]:
    """Return the graph, with its head joined to the encoder, and the name of its output."""
    graphs = prepared.graphs
    encoder = core.read_model(os.path.join(prepared.folder, graphs.encoder))
    if graphs.head is None:
        return encoder, graphs.output
    head = core.read_model(os.path.join(prepared.folder, graphs.head))
    joints = {entry.get_any_name(): entry.get_node() for entry in head.inputs}
    tokens = joints.pop("tokens")
    parameters = {entry.get_any_name(): entry.get_node() for entry in encoder.inputs}
    _replace(tokens, encoder.output(graphs.output).get_node().input_value(0))
    mask = joints.pop("attention_mask", None)
    if mask is not None:
        converted = openvino.opset13.convert(parameters["attention_mask"], "i32")
        _replace(mask, converted.output(0))
    joined = openvino.Model(head.get_results(), [*parameters.values(), *joints.values()])
    return joined, head.output(0).get_any_name()


def _replace(parameter: Any, value: Any) -> None:
    """Connect all readers of `parameter` to `value`."""
    for reader in parameter.output(0).get_target_inputs():
        reader.replace_source_output(value)
