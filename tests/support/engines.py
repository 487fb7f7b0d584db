"""Every engine that the ordinary environment can open, over a small model."""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.remote.stand_in import StandIn
from hotstart.config import read_settings
from hotstart.engines import Engine, engine_class, open_engine
from hotstart.engines.fake import FakeSettings
from hotstart.engines.remote.address import RemoteAddress
from hotstart.engines.remote.engine import RemoteEngine
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import ensure
from hotstart.types import PreparedModel, Stage
from support.golden import DATA, FAMILIES

STATIC = DATA / "static"


def prepared(family: str, precision: str = "float32") -> PreparedModel:
    """The artifact of one of the tiny models."""
    spec = ModelSpec(str(FAMILIES / family / "model"), precision=precision)
    return ensure(spec, read_settings()).prepared


def skip_without_openvino() -> None:
    """Look for it without importing it: the engine keeps its telemetry out."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")


def openvino(family: str, stage: Stage = "full", cache: Path | None = None) -> Engine:
    """OpenVINO over one of the tiny models."""
    skip_without_openvino()
    return open_engine(
        "openvino", prepared(family), stage, 2, cache_folder=str(cache) if cache else None
    )


def remote() -> Engine:
    """Another machine, played by a server of this process that ends with the engine."""
    server = StandIn()
    engine = RemoteEngine(RemoteAddress("openai", "m", server.url))
    weakref.finalize(engine, server.stop)
    return engine


OPENERS: dict[str, Callable[[], Engine]] = {
    "onnx": lambda: open_engine("onnx", prepared("bert-mean-normalize"), "full", 2),
    "onnx with a head": lambda: open_engine("onnx", prepared("onnx-only"), "full", 2),
    "openvino": lambda: openvino("bert-mean-normalize"),
    "openvino with a head": lambda: openvino("onnx-only"),
    "static": lambda: engine_class("static")(str(STATIC / "wordpiece-normalize" / "model")),
    "remote": remote,
    "fake": lambda: engine_class("fake")(FakeSettings("contract")),
}
