"""Smoothing of quantized layers, by the measured ranges of their inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.config import Settings
from hotstart.models.configuration import read_json
from hotstart.models.description import describe
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import ensure
from hotstart.preparation.calibrate import PROBES, greatest
from hotstart.preparation.graph.weights import LINEAR_BLOCK, smoothing
from hotstart.preparation.variant import write_observed, write_variant
from hotstart.types import PreparedModel
from support.golden import FAMILIES

TINY = ModelSpec(str(FAMILIES / "bert-mean-normalize" / "model"), precision="int8")
CONFIG = read_json(TINY.source, "config.json")
LAYER = "encoder.layer.0."


@given(st.lists(st.floats(0, 1e4, width=32), min_size=1, max_size=64))
def test_smoothing_narrows_the_ranges_and_keeps_their_mean(ranges: list[float]) -> None:
    measured = np.array(ranges, np.float32)
    factors = smoothing(measured)
    assert factors.dtype == np.float32
    assert (factors > 0).all()
    assert np.log(factors.astype(np.float64)).mean() == pytest.approx(0, abs=1e-4)
    order = np.argsort(measured, kind="stable")
    assert (np.diff(factors[order]) >= 0).all(), "a larger input must have a larger factor"
    after = np.maximum(measured, 1e-3) / factors
    assert (
        after.max() / after.min()
        <= np.maximum(measured, 1e-3).max() / max(measured.min(), 1e-3) * 1.01
    )


def test_greatest_returns_the_ranges_of_each_layer(tmp_path: Path) -> None:
    model = describe(TINY.source, TINY.source)
    graphs = write_observed(model, str(tmp_path)).graphs
    observed = PreparedModel(str(tmp_path), graphs, model.dimension, model.pad_token_id)
    measured = greatest(observed, PROBES, 1)
    names = {f"{LAYER}attention.self.query", f"{LAYER}output.dense"}
    assert names <= measured.keys()
    assert f"{LAYER}attention.self.value" not in measured, "value projections stay in float32"
    query, outer = (measured[name] for name in sorted(names))
    assert query.shape == (CONFIG["hidden_size"],)
    assert outer.shape == (CONFIG["intermediate_size"],)
    assert (query > 0).all()
    fewer = greatest(observed, PROBES[:3], 1)
    assert (fewer[f"{LAYER}output.dense"] <= outer).all()


def test_layers_with_equal_inputs_share_one_division(tmp_path: Path) -> None:
    model = describe(TINY.source, TINY.source)
    hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    measured = np.linspace(1, 9, hidden, dtype=np.float32)
    ranges = {
        f"{LAYER}attention.self.query": measured,
        f"{LAYER}attention.self.key": measured.copy(),
        f"{LAYER}output.dense": np.ones(inner, np.float32),
    }
    graphs = write_variant(model, str(tmp_path), "int8", ranges).graphs
    graph = onnx.load(str(tmp_path / graphs.encoder), load_external_data=False).graph
    divisions = [node for node in graph.node if node.op_type == "Mul"]
    assert len(divisions) == 2
    readers = [node for node in graph.node if divisions[0].output[0] in node.input]
    assert [node.op_type for node in readers] == ["MatMulNBits"] * 2
    assert graphs.block == LINEAR_BLOCK


def test_an_artifact_records_its_block_size(settings: Settings) -> None:
    assert ensure(TINY, settings).prepared.graphs.block == LINEAR_BLOCK
    assert ensure(TINY.replace(precision="float32"), settings).prepared.graphs.block is None
