"""The engine for bulk work: OpenVINO over the graph that ONNX Runtime reads.

The ONNX reader of OpenVINO supports the fused `com.microsoft` operators of `preparation/graph` and
maps the weights. Compiled models are stored on disk and found by content.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart._lazy import require
from hotstart.engines.graph import GraphEngine, feed
from hotstart.files import exclusive
from hotstart.system import BF16_FLAGS, cpu_flags, yield_processor
from hotstart.types import PreparedModel, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.engines.graph import Batch, Run


class OpenVinoEngine(GraphEngine):
    """Runs a prepared model with OpenVINO on the CPU.

    At the stage `fast_start` one batch uses all `threads`. At the other stages OpenVINO computes
    several batches concurrently with fewer threads each; a single text then takes 4.7 ms instead of
    3.1 on two cores. At `throughput`, the stage for bulk work, the threads have a lower priority.

    Attributes:
        precision: precision of the matrix products, see `inference_precision`; `bf16` makes this
            engine several times faster than ONNX Runtime.
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
        """Read and compile the graph; store it in `cache_folder` unless that is None."""
        self.precision = inference_precision(cpu_flags(), quantized=bool(prepared.graphs.block))
        config = {
            "PERFORMANCE_HINT": "LATENCY" if stage == "fast_start" else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned threads would share cores with other pinned processes.
            "ENABLE_CPU_PINNING": False,
            # 8-bit weights are multiplied in 8 bits, with inputs rounded in blocks.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": prepared.graphs.block or 0,
        }
        opened = partial(_open, prepared, config, cache_folder)
        super().__init__(prepared, _yielding(opened) if stage == "throughput" else opened, beside)


def _yielding(opened: Callable[[], Run]) -> Callable[[], Run]:
    """Return `opened` with its threads at lower priority; threads inherit niceness."""

    def open_() -> Run:
        yield_processor()
        return opened()

    return open_


def inference_precision(flags: Collection[str], *, quantized: bool) -> str:
    """Return `bf16` where the CPU `flags` include a bf16 unit, else `f32`.

    A quantized model runs in `f32`: rounded twice, the vectors of all-MiniLM-L6-v2 fall to a cosine
    of 0.99898, below the promised 0.999 (0.99912 in `f32`, at 137 instead of 169 passages/s).
    """
    return "f32" if quantized or BF16_FLAGS.isdisjoint(flags) else "bf16"


def _open(prepared: PreparedModel, config: dict[str, Any], cache_folder: str | None) -> Run:
    """Compile the graph; return the function from batches to vectors."""
    compiled, output = _compile(prepared, config, cache_folder)
    inputs = {
        entry.get_any_name(): entry.get_element_type().to_dtype() for entry in compiled.inputs
    }
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")):
        idle.put(compiled.create_infer_request())

    def finish(running: deque[Any]) -> NDArray[np.float32]:
        """Wait for the oldest batch, return its vectors and free its request."""
        request = running.popleft()
        try:
            request.wait()
            # A copy: the request writes its next batch over this one.
            vectors: NDArray[np.float32] = request.get_tensor(output).data.copy()
        finally:
            idle.put(request)
        return vectors

    def run(batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        # A thread that waits for an idle request holds none, so that threads cannot deadlock.
        running: deque[Any] = deque()
        try:
            for batch in batches:
                while (request := _take(idle, wait=not running)) is None:
                    yield finish(running)
                running.append(request)
                request.start_async(feed(inputs, batch))
            while running:
                yield finish(running)
        finally:
            while running:  # a batch failed while others run
                finish(running)

    return run


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

    A compiled model is found by the content of graph and weights, so that a model that was prepared
    again is compiled again. One process at a time writes the cache; a process that loads meanwhile,
    or may not write, does not use it.
    """
    openvino = _library()
    core = openvino.Core()
    model, output = _read(openvino, core, prepared)
    if cache_folder is not None:
        try:
            with exclusive(os.path.join(cache_folder, "lock"), wait=False) as alone:
                if alone:
                    cached = config | {"CACHE_DIR": cache_folder}
                    return core.compile_model(model, "CPU", cached), output
        except OSError:
            pass
    return core.compile_model(model, "CPU", config), output


def _library() -> Any:
    """Import OpenVINO without its telemetry, which reports each import.

    Without the telemetry package OpenVINO uses a stub. The package stays hidden for the whole
    process, because a mixture of both fails.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return require("openvino", extra="openvino")


def _read(openvino: Any, core: Any, prepared: PreparedModel) -> tuple[Any, str]:
    """Return the graph, joined with its head, and the name of its output."""
    graphs = prepared.graphs
    encoder = core.read_model(os.path.join(prepared.folder, graphs.encoder))
    if graphs.head is None:
        return encoder, graphs.output
    head = core.read_model(os.path.join(prepared.folder, graphs.head))
    tokens, mask = (head.input(name).get_node() for name in ("tokens", "attention_mask"))
    parameters = {entry.get_any_name(): entry.get_node() for entry in encoder.inputs}
    given = openvino.opset13.convert(parameters["attention_mask"], "i32")
    _replace(tokens, encoder.output(graphs.output).get_node().input_value(0))
    _replace(mask, given.output(0))
    joined = openvino.Model(head.get_results(), list(parameters.values()))
    return joined, head.output(0).get_any_name()


def _replace(parameter: Any, value: Any) -> None:
    """Connect all readers of `parameter` to `value`."""
    for reader in parameter.output(0).get_target_inputs():
        reader.replace_source_output(value)
