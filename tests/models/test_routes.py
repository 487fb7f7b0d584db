"""Routes of a Router: the encoder of each task, or the Router is refused by name."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.models.artifacts import verify
from hotstart.models.routes import routes_of
from hotstart.pool.loader import prepare_artifact
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, SPARSE, cosines, family_texts
from support.waiting import wait_until

ENGINES = ["onnx", "openvino"]
PACKAGE = "sentence_transformers.models"
PARAMETERS = {"default_route": "document", "allow_empty_key": True}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def with_router(
    folder: Path,
    structure: dict[str, list[str]],
    parameters: dict[str, Any] = PARAMETERS,
    home: str = "",
    after: tuple[str, ...] = (),
    file: str = "router_config.json",
) -> Path:
    """Write modules.json and the Router over modules whose names end with their class."""
    names = {name for names in structure.values() for name in names}
    types = {name: f"{PACKAGE}.{name.rpartition('_')[2] or 'Transformer'}" for name in names}
    config = {"types": types, "structure": structure, "parameters": parameters}
    write(folder / home / file, config)
    modules = [{"type": f"{PACKAGE}.Router", "path": home}]
    modules += [{"type": f"{PACKAGE}.{kind}", "path": f"9_{kind}"} for kind in after]
    write(folder / "modules.json", modules)
    return folder


def two_encoders(folder: Path, home: str = "", **options: Any) -> Path:
    """A Router over two families: BERT pools the first token, DistilBERT the mean."""
    structure = {}
    for route, family, mode in (("query", "bert-cls", "cls"), ("document", "distilbert-mean", "")):
        source = FAMILIES / family / "model"
        part = folder / home / f"{route}_0_Transformer"
        shutil.copytree(source, part, ignore=shutil.ignore_patterns("modules.json", "*_Pooling"))
        pooling = {"pooling_mode": mode or "mean"}
        write(folder / home / f"{route}_1_Pooling" / "config.json", pooling)
        structure[route] = [f"{route}_0_Transformer", f"{route}_1_Pooling"]
    return with_router(folder, structure, home=home, **options)


def golden(family: str) -> Any:
    return np.load(FAMILIES / family / "vectors.npy")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("home", ["", "0_Router"])
def test_a_task_takes_its_encoder(tmp_path: Path, engine: str, home: str) -> None:
    embedder = Embedder(two_encoders(tmp_path, home), engine=engine, pool=Pool())
    texts = family_texts()
    for found, family in (
        (embedder.encode_query(texts), "bert-cls"),
        (embedder.encode_document(texts), "distilbert-mean"),
        (embedder.encode(texts), "distilbert-mean"),
        (embedder.encode(texts, task="query"), "bert-cls"),
        ([embedder.embed_query(text) for text in texts], "bert-cls"),
    ):
        assert cosines(np.asarray(found), golden(family)).min() > 0.99999


def test_one_artifact_holds_both_encoders(tmp_path: Path, fresh: Settings) -> None:
    folder = two_encoders(tmp_path / "model")
    embedder = Embedder(folder, pool=Pool())
    artifact = prepare_artifact(embedder._spec)
    (route,) = artifact.metadata.routes
    assert artifact.metadata.tasks == ("document", "", "query")
    assert (route.tasks, route.tokenizer) == (("query",), "query/tokenizer.json")
    assert (artifact.metadata.graphs.encoder, route.graphs.encoder) == ("model.onnx", "query.onnx")
    weights = [name for name in artifact.metadata.files if name.endswith(".safetensors")]
    assert len(weights) == 2
    sizes = [os.path.getsize(os.path.join(artifact.folder, name)) for name in weights]
    assert artifact.metadata.weights_bytes == sum(sizes)
    assert verify(artifact) == []
    embedder.encode_query("a")
    embedder.unload()
    config = json.loads((folder / "router_config.json").read_text())
    swapped = dict(zip(("query", "document"), reversed(config["structure"].values()), strict=True))
    write(folder / "router_config.json", config | {"structure": swapped})
    changed = Embedder(folder, pool=Pool())
    assert cosines(changed.encode_query(family_texts()), golden("distilbert-mean")).min() > 0.99999
    assert changed.fingerprint != artifact.metadata.fingerprint


def test_awaited_calls_of_all_tasks_share_a_model_and_a_cache(tmp_path: Path) -> None:
    embedder = Embedder(two_encoders(tmp_path), cache="memory:", pool=Pool())
    texts = family_texts()

    async def main() -> list[Any]:
        questions = [embedder.aencode_query(text) for text in texts]
        documents = [embedder.aencode_document(text) for text in texts]
        return await asyncio.gather(*questions, *documents)

    for _ in range(2):  # computed, and cached
        vectors = np.stack(asyncio.run(main()))
        for found, family in zip(
            (vectors[: len(texts)], vectors[len(texts) :]),
            ("bert-cls", "distilbert-mean"),
            strict=True,
        ):
            assert cosines(found, golden(family)).min() > 0.99999


def test_a_promotion_compares_all_encoders(tmp_path: Path) -> None:
    embedder = Embedder(two_encoders(tmp_path), pool=Pool())
    embedder.encode("a")
    embedder.promote("throughput")
    wait_until(lambda: embedder.status().refused or embedder.status().stage == "throughput")
    assert not embedder.status().refused
    for texts in (family_texts(), family_texts() * 20):  # a question, and bulk work
        for encode, family in (
            (embedder.encode_query, "bert-cls"),
            (embedder.encode_document, "distilbert-mean"),
        ):
            expected = np.tile(golden(family), (len(texts) // len(family_texts()), 1))
            assert cosines(encode(texts), expected).min() > 0.99999


@pytest.mark.parametrize("engine", ENGINES)
def test_a_static_encoder_is_the_mean_of_its_rows(tmp_path: Path, engine: str) -> None:
    folder = two_encoders(tmp_path)
    part = folder / "query_0_StaticEmbedding"
    part.mkdir()
    shutil.copy(folder / "query_0_Transformer" / "tokenizer.json", part)
    tokenizer = Tokenizer.from_file(str(part / "tokenizer.json"))
    tokenizer.no_truncation()
    rows = np.random.default_rng(7).normal(size=(tokenizer.get_vocab_size(), 32)).astype("float32")
    entry = {"dtype": "F32", "shape": rows.shape, "data_offsets": [0, rows.nbytes]}
    header = json.dumps({"embedding.weight": entry}).encode()
    (part / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + rows.tobytes()
    )
    config = json.loads((folder / "router_config.json").read_text())
    structure = config["structure"] | {"query": [part.name]}
    (folder / "9_Normalize").mkdir()
    with_router(folder, structure, after=("Normalize",))
    texts = family_texts()
    found = Embedder(folder, engine=engine, pool=Pool()).encode_query(texts)
    for text, vector in zip(texts, found, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        mean = rows[ids].mean(axis=0) if ids else np.zeros(32)
        length = max(float(np.linalg.norm(mean)), 1e-12)
        np.testing.assert_allclose(vector, mean / length, atol=1e-5)


def test_encoders_that_share_weights_link_them_once(tmp_path: Path, fresh: Settings) -> None:
    shutil.copytree(FAMILIES / "bert-cls" / "model", tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "1_Pooling", tmp_path / "query_1_Pooling")
    write(tmp_path / "document_1_Pooling" / "config.json", {"pooling_mode": "mean"})
    with_router(
        tmp_path, {"query": ["", "query_1_Pooling"], "document": ["", "document_1_Pooling"]}
    )
    embedder = Embedder(tmp_path, pool=Pool())
    vectors = embedder.encode_query(family_texts())
    assert cosines(vectors, golden("bert-cls")).min() > 0.99999
    assert cosines(embedder.encode(family_texts()), vectors).min() < 0.99
    artifact = prepare_artifact(embedder._spec)
    weights = [name for name in artifact.metadata.files if name.endswith(".safetensors")]
    assert weights == ["model.safetensors"]
    plain = prepare_artifact(Embedder(FAMILIES / "bert-cls" / "model", pool=Pool())._spec).metadata
    assert artifact.metadata.parameters == plain.parameters


def test_a_model_without_a_default_needs_a_task(tmp_path: Path) -> None:
    parameters = {"default_route": None, "allow_empty_key": False}
    embedder = Embedder(two_encoders(tmp_path, parameters=parameters), pool=Pool())
    with pytest.raises(InvalidInput, match=r"task must be document or query.*got None"):
        embedder.encode("a text")
    assert cosines(embedder.encode_query(family_texts()), golden("bert-cls")).min() > 0.99999


def test_routes_without_a_task_are_reached_by_default_alone(tmp_path: Path) -> None:
    """The Asym of 2021, whose routes have names of their own."""
    folder = two_encoders(tmp_path)
    config = json.loads((folder / "router_config.json").read_text())
    (folder / "router_config.json").unlink()
    structure = {"QRY": config["structure"]["query"], "DOC": config["structure"]["document"]}
    home = folder / "0_Asym"
    home.mkdir()
    for name in config["types"]:
        (folder / name).rename(home / name)
    legacy = {"structure": structure, "parameters": {"allow_empty_key": True}}
    write(home / "config.json", config | legacy)
    write(folder / "modules.json", [{"type": f"{PACKAGE}.Asym", "path": "0_Asym"}])
    embedder = Embedder(folder, pool=Pool())
    assert cosines(embedder.encode(family_texts()), golden("bert-cls")).min() > 0.99999
    with pytest.raises(InvalidInput, match="task must be None"):
        embedder.encode_query("a text")


@pytest.mark.parametrize(
    ("names", "parameters", "expected"),
    [
        ("query document", PARAMETERS, {"document": "document", "": "document", "query": "query"}),
        ("query document", {}, {"document": "document", "": "query", "query": "query"}),
        ("text", {"allow_empty_key": False}, dict.fromkeys(["document", "", "query"], "text")),
        (
            "a b",
            {"route_mappings": {"('query', 'text')": "b", "(None, None)": "a", "bad(": "a"}},
            {"document": "a", "": "a", "query": "b"},
        ),
        (
            "query other",
            {"route_mappings": {"('query', None)": "other"}, "default_route": "query"},
            {"": "query", "query": "other"},
        ),
    ],
)
def test_names_of_routes(
    tmp_path: Path, names: str, parameters: dict[str, Any], expected: dict[str, str]
) -> None:
    structure = {name: [f"{name}_0_Transformer"] for name in names.split()}
    with_router(tmp_path, structure, parameters)
    found = {
        task: route.modules[0][1].removesuffix("_0_Transformer")
        for route in routes_of(str(tmp_path))
        for task in route.tasks
    }
    assert found == expected


def test_modules_around_a_router_belong_to_every_route(tmp_path: Path) -> None:
    structure = {"query": ["query_0_Dense"], "document": ["document_0_Dense"]}
    with_router(tmp_path, structure, home="2_Router", after=("Normalize",))
    modules = json.loads((tmp_path / "modules.json").read_text())
    before = [{"type": f"{PACKAGE}.Transformer", "path": ""}]
    write(tmp_path / "modules.json", before + modules)
    document, query = routes_of(str(tmp_path))
    assert document.modules == (
        ("Transformer", ""),
        ("Dense", "2_Router/document_0_Dense"),
        ("Normalize", "9_Normalize"),
    )
    assert query.modules[1] == ("Dense", "2_Router/query_0_Dense")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"types": {}}, ModelDamaged, "Router"),
        ({"structure": {}}, ModelDamaged, "Router"),
        (
            {"structure": {"a": ["../x"]}, "types": {"../x": "a"}, "parameters": {}},
            ModelDamaged,
            "outside",
        ),
        ({"parameters": {"default_route": "other"}}, ModelDamaged, "'other'"),
        ({"parameters": {"route_mappings": {"(" * 300: "query"}}}, ModelDamaged, "route_mappings"),
        ({"parameters": {"route_mappings": {"None": []}}}, None, ""),
        (None, ModelIncomplete, "router_config"),
    ],
)
def test_a_damaged_router_is_refused(
    tmp_path: Path, change: dict[str, Any] | None, error: type[Exception] | None, match: str
) -> None:
    folder = two_encoders(tmp_path)
    path = folder / "router_config.json"
    config = json.loads(path.read_text())
    if change is None:
        path.unlink()
    else:
        write(path, config | change)
    embedder = Embedder(folder, pool=Pool())
    if error is None:
        embedder.encode("a")
        return
    with pytest.raises(error, match=match):
        embedder.encode("a")


def test_what_is_not_read_of_a_router_is_refused(tmp_path: Path) -> None:
    folder = two_encoders(tmp_path)
    with pytest.raises(UnsupportedModel, match="Router"):
        Embedder(folder, kind="multi_vector", pool=Pool()).encode_multi_vector("a")
    with pytest.raises(InvalidInput, match="Router"):
        Embedder(folder, precision="int8", pool=Pool()).encode("a")
    config = json.loads((folder / "router_config.json").read_text())
    modules = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", modules * 2)
    with pytest.raises(UnsupportedModel, match="one Router"):
        Embedder(folder, pool=Pool()).encode("a")
    write(folder / "modules.json", modules)
    write(folder / "query_2_Dense" / "config.json", {"in_features": 32, "out_features": 8})
    shutil.copy(
        FAMILIES / "bert-dense-tanh" / "model" / "2_Dense" / "model.safetensors",
        folder / "query_2_Dense",
    )
    config["types"]["query_2_Dense"] = f"{PACKAGE}.Dense"
    config["structure"]["query"].append("query_2_Dense")
    write(folder / "router_config.json", config)
    with pytest.raises(UnsupportedModel, match=r"dimensions of a Router"):
        Embedder(folder, pool=Pool()).encode("a")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_encodes_queries_and_a_transformer_documents(engine: str) -> None:
    home = SPARSE / "router"
    embedder = Embedder(home / "model", kind="sparse", engine=engine, pool=Pool())
    texts = [text for text in family_texts() if text]
    for task in ("query", "document"):
        expected = np.load(home / f"{task}.npy")
        found = np.zeros_like(expected)
        for row, embedding in zip(found, embedder.encode_sparse(texts, task=task), strict=True):
            assert embedding.values.all()
            row[embedding.indices] = embedding.values
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        one = embedder.encode_sparse(texts[3], task=task).as_dict()
        assert one == pytest.approx(
            {n: v for n, v in enumerate(expected[3].tolist()) if v}, abs=1e-4
        )
    assert not len(embedder.encode_sparse("", task="query").values)


def test_a_table_of_other_tokens_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SPARSE / "router" / "model", tmp_path / "model"))
    config = folder / "query_0_SparseStaticEmbedding" / "config.json"
    write(config, {"path": "idf.json"})
    with pytest.raises(UnsupportedModel, match=r"path 'idf\.json'"):
        Embedder(folder, kind="sparse", pool=Pool()).encode_sparse("a")
    write(config, {})
    shutil.copy(folder / "model.safetensors", config.parent / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="tensor names"):
        Embedder(folder, kind="sparse", pool=Pool()).encode_sparse("a")
