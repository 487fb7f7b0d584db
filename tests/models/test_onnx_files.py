"""Which ONNX file of a repository is run, and which are refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.cli import main
from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelIncomplete, UnsupportedModel
from hotstart.models.onnx_files import external_files, find_graph
from hotstart.models.spec import ModelSpec
from hotstart.pool.pool import Pool
from hotstart.preparation.prepare import prepare
from support.golden import FAMILIES, RERANKERS, cosines, family_texts, reranker_pairs

GOLDEN = np.load(FAMILIES / "onnx-only" / "vectors.npy")


@pytest.fixture
def folder(fresh: Settings, tmp_path: Path) -> Path:
    """Return a copy of the model that has onnx/model.onnx alone."""
    return Path(shutil.copytree(FAMILIES / "onnx-only" / "model", tmp_path / "model"))


def encode(folder: Path, **options: Any) -> Any:
    return Embedder(folder, pool=Pool(), **options).encode(family_texts())


def change_graph(folder: Path, name: str, change: Any) -> None:
    """Write onnx/model.onnx again, changed, as the file `name`."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "onnx" / "model.onnx")
    onnx.save(change(model) or model, folder / name)


def in_float16(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=False)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["onnx/model.onnx", "onnx/model_fp16.onnx", "model.onnx"], "onnx/model.onnx"),
        (["onnx/model_quantized.onnx", "model_optimized.onnx"], "model_optimized.onnx"),
        (["onnx/model_int8.onnx", "onnx/model_fp16.onnx"], "onnx/model_fp16.onnx"),
        (["onnx/model_q4.onnx", "onnx/model_quantized.onnx"], "onnx/model_quantized.onnx"),
        (["onnx/model_qint8_avx512_vnni.onnx"], "onnx/model_qint8_avx512_vnni.onnx"),
        (["config.json", "encoder.onnx"], "encoder.onnx"),
        (["one.onnx", "two.onnx"], None),
        (["openvino/model.onnx", "model.safetensors"], None),
        ([], None),
    ],
)
def test_the_most_precise_file_is_run(names: list[str], expected: str | None) -> None:
    assert find_graph(names) == expected


@pytest.mark.parametrize(
    "name", ["model.onnx", "model_optimized.onnx", "onnx/model_O2.onnx", "onnx/encoder.onnx"]
)
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_onnx_file_of_another_name_is_found(folder: Path, name: str, engine: str) -> None:
    os.replace(folder / "onnx" / "model.onnx", folder / name)
    assert cosines(encode(folder, engine=engine), GOLDEN).min() > 0.999999


def test_several_files_of_unknown_names_are_refused_by_name(folder: Path) -> None:
    shutil.copy(folder / "onnx" / "model.onnx", folder / "one.onnx")
    os.replace(folder / "onnx" / "model.onnx", folder / "two.onnx")
    with pytest.raises(UnsupportedModel, match=r"file='one\.onnx' or file='two\.onnx'"):
        encode(folder)
    assert cosines(encode(folder, file="two.onnx"), GOLDEN).min() > 0.999999


def test_a_tokenizer_beside_the_onnx_file_is_found(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        os.replace(folder / name, folder / "onnx" / name)
    assert cosines(encode(folder), GOLDEN).min() > 0.999999


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_chosen_file_has_its_own_fingerprint(folder: Path, engine: str) -> None:
    change_graph(folder, "onnx/model_fp16.onnx", in_float16)
    whole = Embedder(folder, engine=engine, pool=Pool())
    half = Embedder(folder, engine=engine, file="onnx/model_fp16.onnx", pool=Pool())
    vectors = half.encode(family_texts())
    assert vectors.dtype == np.float32
    assert 0.9999 < cosines(vectors, GOLDEN).min() < 1 - 1e-9
    assert cosines(whole.encode(family_texts()), GOLDEN).min() > 0.999999
    assert half.fingerprint != whole.fingerprint


def test_a_chosen_file_is_run_instead_of_the_weights(fresh: Settings, tmp_path: Path) -> None:
    folder = shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", tmp_path / "model")
    (folder / "onnx").mkdir()
    shutil.copy(FAMILIES / "onnx-only" / "model" / "onnx" / "model.onnx", folder / "onnx")
    change_graph(folder, "model_fp16.onnx", in_float16)
    built = prepare(ModelSpec(str(folder)), fresh)
    chosen = prepare(ModelSpec(str(folder), file="model_fp16.onnx"), fresh)
    assert built.metadata.graphs.encoder == "model.onnx"
    assert built.metadata.graphs.optimized
    assert chosen.metadata.graphs.encoder == "model_fp16.onnx"
    assert chosen.folder != built.folder
    with pytest.raises(ModelIncomplete, match="model_O4"):
        encode(folder, file="model_O4.onnx")


@pytest.mark.parametrize("file", ["/etc/passwd", "../model.onnx", "onnx/../../a.onnx", "a.bin", ""])
def test_a_file_outside_of_the_repository_is_refused(file: str) -> None:
    with pytest.raises(InvalidInput, match="an ONNX file of the repository"):
        Embedder("owner/name", file=file)


def test_a_file_is_refused_where_the_engine_would_ignore_it() -> None:
    with pytest.raises(InvalidInput, match="ONNX files need engine onnx or openvino"):
        Embedder("owner/name", file="model.onnx", engine="torch")


def test_the_command_line_prepares_shows_and_removes_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_graph(folder, "onnx/model_fp16.onnx", in_float16)
    options = [str(folder), "--file", "onnx/model_fp16.onnx"]
    assert main(["models", "prepare", "-q", *options]) == 0
    assert main(["models", "verify", *options]) == 0
    assert main(["models", "verify", str(folder)]) == 1
    assert main(["models", "show", *options]) == 0
    shown = capsys.readouterr().out
    assert "onnx/model_fp16.onnx" in shown.split("graph", 1)[1].splitlines()[0]
    assert main(["models", "rm", str(folder)]) == 0
    assert main(["models", "verify", *options]) == 1


@pytest.mark.parametrize("name", ["past_key_values.0.key", "task_id", "image_features"])
def test_an_unknown_input_is_refused_by_name(folder: Path, name: str) -> None:
    def add(model: Any) -> None:
        import onnx

        kind = onnx.TensorProto.INT64
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, ["batch"]))

    change_graph(folder, "onnx/model.onnx", add)
    with pytest.raises(UnsupportedModel, match=f"ONNX inputs .*{name}"):
        encode(folder)


def add_position_ids(model: Any) -> None:
    """Look the positions up in a given input instead of the exported constant."""
    import onnx

    kind = onnx.TensorProto.INT64
    axes = ["batch_size", "sequence_length"]
    model.graph.input.append(onnx.helper.make_tensor_value_info("position_ids", kind, axes))
    table = next(n for n in model.graph.initializer if "position_embeddings.weight" in n.name)
    lookup = next(n for n in model.graph.node if n.op_type == "Gather" and n.input[0] == table.name)
    lookup.input[1] = "position_ids"


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_position_ids_are_given(folder: Path, engine: str) -> None:
    change_graph(folder, "onnx/model.onnx", add_position_ids)
    assert cosines(encode(folder, engine=engine), GOLDEN).min() > 0.999999


def test_an_unknown_output_is_refused_by_name(folder: Path) -> None:
    def rename(model: Any) -> None:
        model.graph.output[0].name = "odd"
        for node in model.graph.node:
            node.output[:] = ["odd" if n == "last_hidden_state" else n for n in node.output]

    change_graph(folder, "onnx/model.onnx", rename)
    with pytest.raises(UnsupportedModel, match=rf"{folder} has ONNX outputs .*odd"):
        encode(folder)


def test_vectors_of_a_graph_that_pools_are_normalized_as_modules_json_says(folder: Path) -> None:
    """Return twice the mean as sentence_embedding, in float16."""

    def pool(model: Any) -> Any:
        import onnx

        helper, types = onnx.helper, onnx.TensorProto
        mask = helper.make_node("Cast", ["attention_mask"], ["mask_float"], to=types.FLOAT)
        column = helper.make_node("Unsqueeze", ["mask_float", "last"], ["mask_column"])
        axis = helper.make_tensor("last", types.INT64, [1], [2])
        masked = helper.make_node("Mul", ["last_hidden_state", "mask_column"], ["masked"])
        total = helper.make_node("ReduceSum", ["masked", "one"], ["total"], keepdims=0)
        one = helper.make_tensor("one", types.INT64, [1], [1])
        half = helper.make_node("Cast", ["total"], ["sentence_embedding"], to=types.FLOAT16)
        model.graph.node.extend([mask, column, masked, total, half])
        model.graph.initializer.extend([axis, one])
        del model.graph.output[:]
        model.graph.output.append(
            helper.make_tensor_value_info("sentence_embedding", types.FLOAT16, ["batch_size", 32])
        )

    change_graph(folder, "onnx/model.onnx", pool)
    for engine in ("onnx", "openvino"):
        vectors = encode(folder, engine=engine)
        assert cosines(vectors, GOLDEN).min() > 0.99999
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_where_the_weights_cannot_be_run_the_shipped_graph_is(
    fresh: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"position_embedding_type": "relative_key"})
    )
    with pytest.raises(UnsupportedModel, match="relative_key"):
        encode(folder)
    shutil.copytree(FAMILIES / "onnx-only" / "model" / "onnx", folder / "onnx")
    with caplog.at_level(logging.INFO):
        assert cosines(encode(folder), GOLDEN).min() > 0.999999
    assert "onnx/model.onnx is run instead of the weights" in caplog.text
    with pytest.raises(UnsupportedModel, match="relative_key"):
        encode(folder, precision="int8")


def as_shipped(name: str, folder: Path, settings: Settings) -> Path:
    """Copy a reranker with its graph, and the weights in it, in the place of its weights."""
    import onnx

    source = RERANKERS / name / "model"
    built = folder.parent / "built"  # a copy: onnx reads no weights that have two names
    shutil.copytree(prepare(ModelSpec(str(source), kind="reranker"), settings).folder, built)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    model = onnx.load(built / "model.onnx")
    model.graph.output[0].name = "logits"
    for node in model.graph.node:
        node.output[:] = ["logits" if n == "embedding" else n for n in node.output]
    (folder / "onnx").mkdir()
    onnx.save(model, folder / "onnx" / "model.onnx")
    return folder


@pytest.mark.parametrize("name", ["bert", "bert-three-labels", "roberta", "distilbert"])
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_reranker_is_run_by_its_onnx_file(
    fresh: Settings, tmp_path: Path, name: str, engine: str
) -> None:
    folder = as_shipped(name, tmp_path / "model", fresh)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "unknown"}))
    expected = np.load(RERANKERS / name / "scores.npy")
    scores = Reranker(folder, engine=engine, pool=Pool()).predict(reranker_pairs())
    np.testing.assert_allclose(scores, expected.reshape(scores.shape), atol=1e-4)


@pytest.mark.parametrize("length", [1, 22, 127, 128, 250])
def test_the_files_that_a_graph_names_are_those_that_onnx_reads(folder: Path, length: int) -> None:
    onnx = pytest.importorskip("onnx")
    path = folder / "onnx" / "model.onnx"
    assert external_files(str(path)) == []
    name = "x" * length
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=name, size_threshold=1000)
    assert external_files(str(path)) == [name]
    assert cosines(encode(folder), GOLDEN).min() > 0.999999


def test_an_empty_file_names_none(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert external_files(str(tmp_path / "empty.onnx")) == []
