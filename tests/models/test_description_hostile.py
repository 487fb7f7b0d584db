"""A hostile model folder ends in one named error, at once, and nothing is written outside."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.config import Settings
from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.pool.pool import Pool
from hotstart.safetensors import read_header
from support.golden import DATA, FAMILIES, RERANKERS

Mutation = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that a test makes hostile."""
    return Path(shutil.copytree(FAMILIES / "bert-dense-tanh" / "model", tmp_path / "a" / "model"))


def change(path: Path, **new: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | new))


def replace_by_link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def replace_by_fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def encode(folder: Path) -> None:
    Embedder(folder, pool=Pool()).encode("a text")


NAMES = (
    "config.json",
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "model.safetensors",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("replace", [replace_by_fifo, lambda p: replace_by_link(p, "/dev/zero")])
def test_only_regular_files_are_read(
    fresh: Settings, folder: Path, name: str, replace: Mutation
) -> None:
    replace(folder / name)
    with pytest.raises((ModelDamaged, ModelIncomplete)):
        encode(folder)


@pytest.mark.parametrize("name", ["config.json", "modules.json", "tokenizer.json"])
def test_a_file_has_a_largest_size(fresh: Settings, folder: Path, name: str) -> None:
    with open(folder / name, "r+b") as file:
        file.truncate(200_000_000)
    with pytest.raises(ModelDamaged, match="larger than"):
        encode(folder)


def modules(folder: Path, path: str) -> None:
    content = json.loads((folder / "modules.json").read_text())
    content[-1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(content))


OUTSIDE = ["../victim", "/tmp/victim", "2_Dense/../../victim", "a\0b"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_modules_stay_within_the_folder(fresh: Settings, folder: Path, path: str) -> None:
    modules(folder, path)
    with pytest.raises(ModelDamaged, match="outside of its folder"):
        encode(folder)


@pytest.mark.parametrize("name", [f"{path}/x.safetensors" for path in OUTSIDE])
def test_shards_stay_within_the_folder(fresh: Settings, folder: Path, name: str) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "x.safetensors")
    (folder / "model.safetensors").unlink()
    change(folder / "model.safetensors.index.json", weight_map={"a": name})
    with pytest.raises(ModelDamaged, match="outside of its folder"):
        encode(folder)
    assert not list(Path(fresh.cache_dir).rglob("x.safetensors"))


def test_another_artifact_is_not_written_over(fresh: Settings, folder: Path) -> None:
    """The artifact's weights are hard links of the user's own."""
    victim = folder.parent / "victim"
    shutil.copytree(FAMILIES / "bert-mean-normalize" / "model", victim)
    encode(victim)
    before = (victim / "model.safetensors").read_bytes()
    (artifact,) = Path(fresh.cache_dir).glob("models-*/victim--*/onnx-float32")
    target = f"../../{artifact.parent.name}/{artifact.name}"
    beside = folder.parent.parent / artifact.parent.name / artifact.name
    beside.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / "2_Dense" / name, beside / name)
    modules(folder, target)
    with pytest.raises(ModelDamaged, match="outside of its folder"):
        encode(folder)
    assert (victim / "model.safetensors").read_bytes() == before
    encode(victim)


def test_a_module_in_the_folder_of_the_encoder_is_refused(fresh: Settings, folder: Path) -> None:
    content = json.loads((folder / "modules.json").read_text())
    next(entry for entry in content if entry["type"].endswith("Dense"))["path"] = "."
    (folder / "modules.json").write_text(json.dumps(content))
    change(folder / "config.json", in_features=32, out_features=32)
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(ModelDamaged):
        encode(folder)
    assert (folder / "model.safetensors").read_bytes() == before


def with_external_data(folder: Path) -> Path:
    """Write the shipped graph again, its weights in a file beside it; return that file."""
    onnx = pytest.importorskip("onnx")
    graph = str(folder / "onnx" / "model.onnx")
    name = "model.onnx_data"
    model = onnx.load(graph)
    onnx.save(model, graph, save_as_external_data=True, location=name, size_threshold=0)
    return folder / "onnx" / name


def test_weights_of_a_shipped_graph_stay_within_the_folder(fresh: Settings, tmp_path: Path) -> None:
    original = FAMILIES / "onnx-only" / "model"
    expected = Embedder(original, pool=Pool()).encode("a text")
    inside = Path(shutil.copytree(original, tmp_path / "inside"))
    with_external_data(inside)
    np.testing.assert_allclose(Embedder(inside, pool=Pool()).encode("a text"), expected, atol=1e-6)
    outside = Path(shutil.copytree(original, tmp_path / "outside"))
    data = with_external_data(outside)
    private = tmp_path / "private"
    os.replace(data, private)
    data.symlink_to(private)
    with pytest.raises(ModelDamaged, match="outside of the model's folder"):
        encode(outside)
    assert os.stat(private).st_nlink == 1


def test_the_links_of_a_hub_cache_are_followed(fresh: Settings, tmp_path: Path) -> None:
    home = tmp_path / "models--owner--name"
    folder = home / "snapshots" / ("1" * 40)
    shutil.copytree(FAMILIES / "onnx-only" / "model", folder)
    data = with_external_data(folder)
    (home / "blobs").mkdir()
    for number, path in enumerate([folder / "onnx" / "model.onnx", data]):
        os.replace(path, home / "blobs" / str(number))
        path.symlink_to(f"../../../blobs/{number}")
    encode(folder)


NUMBERS: dict[str, tuple[str, dict[str, object]]] = {
    "positions": ("config.json", {"max_position_embeddings": 10**8}),
    "layers": ("config.json", {"num_hidden_layers": 10**9}),
    "hidden": ("config.json", {"hidden_size": 2**40}),
    "segments": ("config.json", {"type_vocab_size": 7}),
    "dense": ("2_Dense/config.json", {"out_features": 2**32}),
    "dense in": ("2_Dense/config.json", {"in_features": 2**32}),
    "negative": ("2_Dense/config.json", {"out_features": -5}),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_compared_with_the_weights(fresh: Settings, folder: Path, name: str) -> None:
    path, new = NUMBERS[name]
    change(folder / path, **new)
    with pytest.raises(ModelDamaged):
        encode(folder)


def test_the_labels_of_a_reranker_are_bounded(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(RERANKERS / "bert" / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("id2label", None)
    (folder / "config.json").write_text(json.dumps(config | {"num_labels": 3 * 10**8}))
    with pytest.raises(ModelDamaged, match="num_labels"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


def rewrite_shape(path: Path, name: str, shape: list[int]) -> None:
    """Change the shape of a tensor, of the same number of values, in the header alone."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[name]["shape"] = shape
    new = json.dumps(header).encode().ljust(length)
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_inner_layers_are_compared_with_the_settings(
    fresh: Settings, folder: Path, precision: str
) -> None:
    path = folder / "model.safetensors"
    for name, tensor in read_header(str(path)).items():
        if len(tensor.shape) == 2 and tensor.shape[0] != tensor.shape[1]:
            changed = Path(shutil.copytree(folder, folder.parent / "changed"))
            rewrite_shape(changed / "model.safetensors", name, list(tensor.shape[::-1]))
            with pytest.raises((ModelDamaged, UnsupportedModel)):
                Embedder(changed, precision=precision, pool=Pool()).encode("a text")
            shutil.rmtree(changed)


def test_links_in_a_circle_end(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "static"
    shutil.copytree(DATA / "static", folder)
    model = folder / "unigram" / "model"
    for name in ("l1", "l2", "l3"):
        (model / name).symlink_to(".")
    assert Embedder(model, engine="static", pool=Pool()).fingerprint


def test_a_pointer_of_git_lfs_is_named(fresh: Settings, folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(ModelDamaged, match="git lfs pull"):
        encode(folder)


@pytest.mark.parametrize(
    ("saved_by", "said"),
    [
        ("CrossEncoder", "is a reranker"),
        ("SparseEncoder", "is a sparse model"),
        (None, "model_type None"),
        (1, "model_type 1"),
    ],
)
def test_a_model_of_another_class_is_named(
    fresh: Settings, folder: Path, saved_by: object, said: str
) -> None:
    """sentence-transformers would convert it, to other vectors than its modules give."""
    change(folder / "config_sentence_transformers.json", model_type=saved_by)
    with pytest.raises(UnsupportedModel, match=said):
        encode(folder)
