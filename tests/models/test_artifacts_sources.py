"""An artifact follows the files that it was made of."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings, read_settings
from hotstart.models.artifacts import look
from hotstart.models.spec import ModelSpec, artifact_folder
from hotstart.pool.loader import ensure
from hotstart.pool.pool import Pool
from support.golden import FAMILIES

MEAN = FAMILIES / "bert-mean-normalize" / "model"
TANH = FAMILIES / "bert-gelu-tanh" / "model"
DENSE = FAMILIES / "bert-dense-tanh" / "model"


def edit(name: str, **new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | new))

    return change


def swap_weights(folder: Path) -> None:
    """Replace the weights by others of the same size and time, as `rsync -t` does."""
    status = (folder / "model.safetensors").stat()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-4000:] = np.zeros(1000, np.float32).tobytes()
    (folder / "new").write_bytes(content)
    os.utime(folder / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(folder / "new", folder / "model.safetensors")


CHANGES: dict[str, tuple[Path, Callable[[Path], None]]] = {
    "pooling": (
        MEAN,
        edit("1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
    ),
    "limit": (MEAN, edit("sentence_bert_config.json", max_seq_length=5)),
    "casing": (MEAN, edit("tokenizer_config.json", do_lower_case=False)),
    "prompts": (MEAN, edit("config_sentence_transformers.json", prompts={"query": "q: "})),
    "dimensions": (MEAN, edit("config_sentence_transformers.json", truncate_dim=8)),
    "layers": (MEAN, edit("config.json", num_hidden_layers=1)),
    "activation": (MEAN, edit("config.json", hidden_act="relu")),
    "dense": (DENSE, edit("2_Dense/config.json", activation_function="torch.nn.ReLU")),
    "modules gone": (MEAN, lambda folder: (folder / "modules.json").unlink()),
    "weights": (MEAN, swap_weights),
}


def modules_appear(folder: Path) -> None:
    shutil.copy(MEAN / "modules.json", folder)
    shutil.copytree(MEAN / "1_Pooling", folder / "1_Pooling")


CHANGES["modules appear"] = (FAMILIES / "bert-plain" / "model", modules_appear)


def vector(folder: Path) -> Any:
    return Embedder(folder, pool=Pool()).embed("one two three four five six seven", prompt="")


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_prepared_again_with_another_fingerprint(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source, apply = CHANGES[change]
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    before = vector(folder)
    apply(folder)
    after = vector(folder)
    assert after.fingerprint != before.fingerprint
    monkeypatch.setenv("HOTSTART_CACHE_DIR", str(tmp_path / "another cache"))
    expected = vector(folder)
    assert after.fingerprint == expected.fingerprint
    np.testing.assert_array_equal(after.vectors, expected.vectors)


def test_a_touched_model_keeps_its_artifact_and_is_read_once(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MEAN, folder)
    spec = ModelSpec(str(folder))
    made = ensure(spec, fresh).metadata.made_at
    for path in folder.rglob("*"):
        os.utime(path)
    artifact, reason = look(spec, fresh)
    assert artifact is not None
    assert (artifact.metadata.made_at, reason) == (made, "")

    def refuse(path: str) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("hotstart.models.artifacts.sha256", refuse)
    assert look(spec, fresh)[0] == artifact


def test_missing_originals_are_not_needed(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MEAN, folder)
    spec = ModelSpec(str(folder))
    artifact = ensure(spec, fresh)
    (folder / "model.safetensors").unlink()
    assert look(spec, fresh) == (artifact, "")
    shutil.rmtree(folder)
    assert look(spec, fresh) == (artifact, "")


@pytest.mark.parametrize("link", ["the folder", "Kubernetes"])
def test_a_link_that_leads_elsewhere_is_noticed(fresh: Settings, tmp_path: Path, link: str) -> None:
    for name, source in (("v1", MEAN), ("v2", TANH)):
        shutil.copytree(source, tmp_path / name)
    current = tmp_path / "current"
    if link == "the folder":
        current.symlink_to("v1")
        turned = current
    else:  # as a volume of a ConfigMap: each entry leads through ..data
        turned = current / "..data"
        current.mkdir()
        turned.symlink_to("../v1")
        for entry in MEAN.iterdir():
            (current / entry.name).symlink_to(f"..data/{entry.name}")
    before = vector(current)
    (tmp_path / "next").symlink_to("v2" if link == "the folder" else "../v2")
    os.replace(tmp_path / "next", turned)
    after = vector(current)
    assert before.fingerprint != after.fingerprint == vector(tmp_path / "v2").fingerprint


def snapshot(hub: Path, commit: str, source: Path) -> None:
    home = hub / "models--acme--emb"
    shutil.copytree(source, home / "snapshots" / commit)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(commit)


def test_the_commit_of_a_branch_and_the_cache_of_the_hub_are_followed(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint() -> str:
        return Embedder("acme/emb", pool=Pool()).embed("x").fingerprint

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot(tmp_path / "hub", "1" * 40, MEAN)
    first = fingerprint()
    snapshot(tmp_path / "hub", "2" * 40, TANH)
    second = fingerprint()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    snapshot(tmp_path / "other", "1" * 40, FAMILIES / "bert-mean-sqrt-len" / "model")
    third = fingerprint()
    assert len({first, second, third}) == 3
    shutil.rmtree(tmp_path / "other")
    assert fingerprint() == third  # the artifact needs no originals


@pytest.mark.parametrize("family", ["bert-dense-tanh", "bert-sharded", "onnx-only", "bert-prompts"])
def test_every_file_that_is_read_is_on_record(fresh: Settings, tmp_path: Path, family: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / family / "model", folder)
    opened: set[str] = set()
    is_on = True

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on and event == "open" and str(arguments[0]).startswith(str(folder)):
            opened.add(os.path.relpath(arguments[0], folder))

    sys.addaudithook(note)
    try:
        artifact = ensure(ModelSpec(str(folder)), fresh)
    finally:
        is_on = False
    assert "config.json" in opened
    assert opened <= artifact.metadata.original_files.keys()


def test_the_check_of_an_unchanged_model_is_short(fresh: Settings) -> None:
    spec = ModelSpec(str(MEAN))
    ensure(spec, fresh)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        assert look(spec, fresh)[0] is not None
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.02  # 0.0005 where nothing else runs


@pytest.mark.parametrize(("one", "other"), [("pr/1", "pr_1"), ("v1", "V1"), ("a/b", "a_b")])
def test_revisions_do_not_share_a_folder(one: str, other: str) -> None:
    settings = read_settings()
    folders = [
        artifact_folder(ModelSpec("acme/emb", revision), settings) for revision in (one, other)
    ]
    assert folders[0].lower() != folders[1].lower()
