"""How embedding models run. The table holds import strings: naming an engine costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotstart.engines.base import Engine
    from hotstart.types import Prepared, Stage

ENGINES = {"onnx": "hotstart.engines.onnx:OnnxEngine"}


def open_engine(name: str, prepared: Prepared, stage: Stage, threads: int) -> Engine:
    """Load `prepared` as far as `stage` into the engine called `name`, to use `threads` cores."""
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(prepared, stage, threads)
    return engine
