"""Downloads from a local HTTP server with the hub's protocol, by a real client."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hotstart.config import Settings, read_settings
from hotstart.errors import DownloadFailed
from hotstart.models.catalogue import known_model
from hotstart.models.hub import fetch, files_to_fetch
from hotstart.models.spec import ModelSpec
from support.golden import FAMILIES
from support.local_hub import LocalHub, content_of
from support.old_folders import in_sub_folder, with_vocabulary

MODEL = FAMILIES / "bert-mean-normalize" / "model"
SURPLUS = {"pytorch_model.bin": b"never", "README.md": b"never", "onnx/model.onnx": b"never"}
CHUNK = 10 * 1024**2  # huggingface_hub writes a download in pieces of this size

Python = Callable[..., "CompletedProcess[str]"]
Pull = Callable[..., "CompletedProcess[str]"]


def enlarged(weights: bytes, surplus: int) -> bytes:
    """Return safetensors with one more tensor of `surplus` bytes, which no model asks for."""
    (length,) = struct.unpack("<Q", weights[:8])
    header = json.loads(weights[8 : 8 + length])
    end = len(weights) - 8 - length
    header["surplus"] = {"dtype": "U8", "shape": [surplus], "data_offsets": [end, end + surplus]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + weights[8 + length :] + bytes(surplus)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub(content_of(MODEL) | SURPLUS).running() as hub:
        yield hub


@pytest.fixture
def machine(tmp_path: Path, hub: LocalHub) -> dict[str, str]:
    """The environment of a fresh process on an empty machine."""
    return os.environ | {
        "HOTSTART_CACHE_DIR": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "huggingface"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "HF_ENDPOINT": hub.url,
    }


@pytest.fixture
def pull(python: Python, machine: dict[str, str]) -> Pull:
    def run(*arguments: str) -> CompletedProcess[str]:
        model = arguments or ("owner/name",)
        return python("-m", "hotstart", "models", "pull", *model, env=machine)

    return run


@pytest.fixture
def embed(python: Python, machine: dict[str, str]) -> Pull:
    def run(source: str = "owner/name") -> CompletedProcess[str]:
        return python("-m", "hotstart", "embed", "--model", source, "a text", env=machine)

    return run


@pytest.fixture
def snapshots(machine: dict[str, str]) -> Path:
    return Path(machine["HF_HOME"], "hub", "models--owner--name", "snapshots")


def test_pull_downloads_needed_files_weights_last_and_only_once(
    hub: LocalHub, pull: Pull, embed: Pull
) -> None:
    pulled = pull()
    assert pulled.returncode == 0, pulled.stderr
    assert hub.sent()[-1] == "model.safetensors"
    assert not {"pytorch_model.bin", "README.md", "onnx/model.onnx"} & {*hub.sent()}
    requests = len(hub.requests)
    embedded = embed()
    assert embedded.returncode == 0, embedded.stderr
    assert len(embedded.stdout.split()) == 32
    assert "is already in" in pull().stdout
    assert len(hub.requests) == requests


@pytest.mark.parametrize(
    "family", ["bert-sharded", "bert-dense-tanh", "nomic-mean", "xlm-roberta-cls-normalize"]
)
def test_a_pulled_model_gives_the_vectors_of_its_folder(
    hub: LocalHub, pull: Pull, embed: Pull, family: str
) -> None:
    folder = FAMILIES / family / "model"
    hub.files = content_of(folder) | SURPLUS
    pulled = pull()
    assert pulled.returncode == 0, pulled.stderr
    assert embed().stdout == embed(str(folder)).stdout != ""


def test_an_old_folder_and_a_root_onnx_file_are_pulled_whole(
    hub: LocalHub, pull: Pull, embed: Pull, tmp_path: Path, snapshots: Path
) -> None:
    old = Path(shutil.copytree(MODEL, tmp_path / "old"))
    expected = embed(str(MODEL)).stdout
    hub.files = content_of(in_sub_folder(with_vocabulary(old))) | SURPLUS
    pulled = pull()
    assert pulled.returncode == 0, pulled.stderr
    assert (snapshots / ("a" * 40) / "0_Transformer" / "vocab.txt").is_file()
    assert embed().stdout == expected
    root = content_of(FAMILIES / "onnx-only" / "model")
    root["model_optimized.onnx"] = root.pop("onnx/model.onnx")
    commit = hub.move_main(root | {"model_q4.onnx": b"never"})
    pulled = pull("owner/name", "--update")
    assert pulled.returncode == 0, pulled.stderr
    assert not (snapshots / commit / "model_q4.onnx").exists()
    assert embed().returncode == 0


def test_a_named_onnx_file_is_pulled_in_place_of_weights(
    hub: LocalHub, pull: Pull, snapshots: Path
) -> None:
    root = content_of(FAMILIES / "onnx-only" / "model")
    hub.files = root | {"onnx/model_fp16.onnx": root["onnx/model.onnx"], "model.safetensors": b""}
    pulled = pull("owner/name", "--file", "onnx/model_fp16.onnx")
    assert pulled.returncode == 0, pulled.stderr
    names = {file.name for file in (snapshots / ("a" * 40)).rglob("*.*")}
    assert "model_fp16.onnx" in names
    assert not {"model.onnx", "model.safetensors"} & names
    assert "is already in" in pull("owner/name", "--file", "onnx/model_fp16.onnx").stdout
    absent = pull("owner/name", "--file", "onnx/model_q4.onnx")
    assert absent.returncode == 2
    assert "(it has onnx/model.onnx, onnx/model_fp16.onnx), got 'onnx/model_q4" in absent.stderr


def test_a_mirror_that_lists_no_lfs_serves_too(hub: LocalHub, pull: Pull, embed: Pull) -> None:
    hub.lists_lfs = False
    assert pull().returncode == 0
    assert embed().returncode == 0


def test_an_interrupted_download_is_reported_and_the_next_pull_goes_on_with_it(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    hub.files["model.safetensors"] = enlarged(hub.files["model.safetensors"], 2 * CHUNK)
    hub.cuts["model.safetensors"] = CHUNK + 5
    hub.ends_after_a_cut = True
    pulled = pull()
    assert pulled.returncode == 1
    assert "could not be downloaded" in pulled.stderr
    assert "Traceback" not in pulled.stderr
    embedded = embed()
    assert "is incomplete" in embedded.stderr
    assert "model.safetensors" in embedded.stderr
    (kept,) = (snapshots.parent / "blobs").glob("*.incomplete")
    size = kept.stat().st_size
    assert CHUNK <= size < len(hub.files["model.safetensors"])
    hub.cuts.clear()
    hub.refusal = None
    hub.requests.clear()
    assert pull().returncode == 0
    assert hub.ranges() == [f"bytes={size}-"]
    assert embed().returncode == 0
    assert [*snapshots.parent.glob("blobs/*.incomplete")] == []


def test_a_partial_file_with_other_content_is_not_used(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    hub.cuts["model.safetensors"] = 5
    pull()
    (kept,) = (snapshots.parent / "blobs").glob("*.incomplete")
    kept.write_bytes(b"x" * 1000)
    hub.cuts.clear()
    pulled = pull()
    assert pulled.returncode == 1
    assert "content of model.safetensors is not what the hub lists" in pulled.stderr
    assert pull().returncode == 0
    assert embed().returncode == 0


def test_a_moved_main_is_fetched_on_request_and_at_one_commit(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    assert pull().returncode == 0
    before = embed().stdout
    other = content_of(FAMILIES / "bert-cls" / "model")
    commit = hub.move_main(other)
    assert "is already in" in pull().stdout
    assert embed().stdout == before
    hub.cuts["model.safetensors"] = 5
    assert pull("owner/name", "--update").returncode == 1
    assert embed().stdout == before  # the older copy serves until the newer one is whole
    hub.cuts.clear()
    assert pull("owner/name", "--update").returncode == 0
    assert (snapshots.parent / "refs" / "main").read_text() == commit
    assert embed().stdout not in (before, "")


def test_main_moves_between_an_interrupted_pull_and_the_next(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    hub.cuts["model.safetensors"] = 5
    assert pull().returncode == 1
    hub.cuts.clear()
    commit = hub.move_main(content_of(FAMILIES / "bert-cls" / "model"))
    assert pull().returncode == 0
    assert (snapshots.parent / "refs" / "main").read_text() == commit
    assert (snapshots / commit / "model.safetensors").is_file()
    assert embed().returncode == 0


def test_a_cache_without_modules_json_is_completed(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    """transformers fetches no modules.json."""
    assert pull().returncode == 0
    (snapshots / ("a" * 40) / "modules.json").unlink()
    assert "is incomplete" in embed().stderr
    hub.requests.clear()
    assert "downloaded to" in pull().stdout
    assert [name for name in hub.sent() if name.endswith(".safetensors")] == []
    assert embed().returncode == 0


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "RepoNotFound", "the hub has no public model owner/name. Check the name"),
        (401, "RepoNotFound", "the hub has no public model owner/name. Check the name"),
        (401, "", "the hub refuses the access (HTTP 401). Check HF_TOKEN"),
        (403, "GatedRepo", "its owner asks for consent to terms. Give it on https://huggingface"),
        (404, "RevisionNotFound", "owner/name has no revision main. Give a commit"),
        (429, "", "the hub limits the number of requests (HTTP 429). Pull again in some minutes"),
        (503, "", "the hub answered HTTP 503. Pull again later"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(
    hub: LocalHub, pull: Pull, status: int, code: str, expected: str
) -> None:
    hub.refusal = (status, code)
    pulled = pull()
    assert (pulled.returncode, pulled.stderr.count("\n")) == (1, 1)
    assert expected in pulled.stderr


def test_a_known_model_is_pulled_at_its_pinned_commit(
    hub: LocalHub, pull: Pull, embed: Pull, snapshots: Path
) -> None:
    known = known_model("bge-small")
    assert known
    assert known.revision
    hub.repository = known.repository
    hub.commits[known.revision] = hub.files
    hub.move_main(content_of(FAMILIES / "bert-cls" / "model"))
    assert pull("bge-small").returncode == 0
    home = snapshots.parent.parent / "models--BAAI--bge-small-en-v1.5"
    assert [folder.name for folder in (home / "snapshots").iterdir()] == [known.revision]
    pinned = embed("bge-small").stdout
    assert pinned == embed(known.repository).stdout == embed(str(MODEL)).stdout
    newer = pull("bge-small", "--revision", "main")
    assert newer.returncode == 0, newer.stderr
    assert embed("bge-small").stdout == pinned
    shutil.rmtree(home / "snapshots" / known.revision)  # as if another program had filled the cache
    assert embed("bge-small").stdout not in (pinned, "")


@pytest.mark.parametrize("folder", ["", "0_Router/"])
def test_the_modules_of_a_router_are_fetched(
    hub: LocalHub, pull: Pull, snapshots: Path, folder: str
) -> None:
    package = "sentence_transformers.sparse_encoder.models"
    types = {
        "query_0_SparseStaticEmbedding": f"{package}.SparseStaticEmbedding",
        "document_0_MLMTransformer": f"{package}.MLMTransformer",
    }
    modules = [{"type": "sentence_transformers.models.Router", "path": folder.rstrip("/")}]
    weights = {f"{folder}{part}/model.safetensors": part.encode() for part in types}
    hub.files = weights | {
        "modules.json": json.dumps(modules).encode(),
        f"{folder}router_config.json": json.dumps({"types": types, "structure": {}}).encode(),
        f"{folder}document_0_MLMTransformer/config.json": b"{}",
        f"{folder}document_0_MLMTransformer/tokenizer.json": b"{}",
        "model.safetensors": b"never",
        "other/model.safetensors": b"never",
    }
    pull()  # it is refused afterwards, by name
    here = snapshots / ("a" * 40)
    fetched = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    assert fetched == {*hub.files} - {"model.safetensors", "other/model.safetensors"}


def test_a_static_model_is_fetched_with_its_weights_alone(
    hub: LocalHub, pull: Pull, snapshots: Path
) -> None:
    part = "0_StaticEmbedding"
    modules = [{"type": f"sentence_transformers.models.{part[2:]}", "path": part}]
    hub.files = {
        "modules.json": json.dumps(modules).encode(),
        f"{part}/model.safetensors": b"weights",
        f"{part}/tokenizer.json": b"{}",
        "onnx/model.onnx": b"never",
    }
    pull()
    here = snapshots / ("a" * 40)
    fetched = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    assert fetched == {*hub.files} - {"onnx/model.onnx"}


def test_two_pulls_at_once_download_the_weights_once(
    hub: LocalHub, pull: Pull, embed: Pull
) -> None:
    with ThreadPoolExecutor() as threads:
        done = [*threads.map(lambda _: pull(), range(3))]
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    lfs = [path for method, path, _ in hub.requests if method == "GET" and "/lfs/" in path]
    assert len(lfs) == 1
    assert embed().returncode == 0


def test_a_repository_without_a_tokenizer_is_not_told_to_be_pulled_again(
    hub: LocalHub, pull: Pull
) -> None:
    del hub.files["tokenizer.json"]
    pulled = pull()
    assert pulled.returncode == 1
    assert "missing tokenizer.json. Its repository does not have them" in pulled.stderr


def test_a_torch_model_is_fetched_with_its_code(
    hub: LocalHub, machine: dict[str, str], python: Python
) -> None:
    hub.files |= {"modeling.py": b"pass", "vocab.txt": b""}
    code = """
from hotstart.config import read_settings
from hotstart.models.hub import fetch
from hotstart.models.spec import ModelSpec
print(fetch(ModelSpec("owner/name", engine="torch", trust_remote_code=%s), read_settings()))
"""
    folder = Path(python("-c", code % False, env=machine).stdout.strip())
    assert (folder / "vocab.txt").exists()
    assert not (folder / "modeling.py").exists()
    python("-c", code % True, env=machine)
    assert (folder / "modeling.py").exists()


def test_a_token_is_sent_to_the_hub_alone(
    hub: LocalHub, machine: dict[str, str], python: Python
) -> None:
    env = machine | {"HF_TOKEN": "hf_secret"}
    assert python("-m", "hotstart", "models", "pull", "owner/name", env=env).returncode == 0
    assert any(path.endswith("/model.safetensors") for path in hub.trusted)
    assert [path for path in hub.trusted if path.startswith("/lfs/")] == []


def test_an_unknown_name_that_is_nearly_a_known_one_gets_a_suggestion(pull: Pull) -> None:
    assert "Did you mean bge-m3? Otherwise check the name" in pull("bge-m33").stderr


@pytest.fixture
def onnx_only(tmp_path: Path) -> Path:
    """A model with an unknown architecture, whose ONNX file keeps a tensor beside, as bge-m3's."""
    onnx = pytest.importorskip("onnx")
    folder = Path(shutil.copytree(FAMILIES / "onnx-only" / "model", tmp_path / "model"))
    path = str(folder / "onnx" / "model.onnx")
    name = "Constant_7_attr__value"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=name, size_threshold=1000)
    (folder / "onnx" / "Constant_8_attr__value").write_bytes(b"never")
    (folder / "model.safetensors").write_bytes(b"never")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "unheard-of"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_external_data_are_fetched_by_the_locations_in_the_graph(
    hub: LocalHub, pull: Pull, embed: Pull, onnx_only: Path, snapshots: Path
) -> None:
    hub.files = content_of(onnx_only)
    hub.cuts["_value"] = 5
    assert pull().returncode == 1
    assert not (snapshots / ("a" * 40) / "onnx").exists()  # the graph comes after its data
    hub.cuts.clear()
    assert pull().returncode == 0
    assert embed().returncode == 0
    present = {file.name for file in (snapshots / ("a" * 40) / "onnx").iterdir()}
    assert present == {"model.onnx", "Constant_7_attr__value"}
    assert not (snapshots / ("a" * 40) / "model.safetensors").exists()
    assert "is already in" in pull().stdout


def test_a_cache_that_another_program_filled_is_completed(
    hub: LocalHub, pull: Pull, embed: Pull, onnx_only: Path, snapshots: Path
) -> None:
    """sentence-transformers leaves onnx/ out; others fetch the ONNX file alone."""
    hub.files = content_of(onnx_only)
    assert pull().returncode == 0
    expected = embed().stdout
    folder = snapshots / ("a" * 40)
    for left_out in ("onnx", "onnx/Constant_7_attr__value", "tokenizer.json"):
        path = folder / left_out
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        pulled = pull()
        assert "downloaded to" in pulled.stdout, pulled.stderr
        assert embed().stdout == expected


def test_progress_counts_the_bytes_of_all_files(
    hub: LocalHub, machine: dict[str, str], python: Python
) -> None:
    code = """
from hotstart.config import read_settings
from hotstart.models.hub import fetch
from hotstart.models.spec import ModelSpec
seen = []
fetch(ModelSpec("owner/name"), read_settings(), lambda done, whole: seen.append((done, whole)))
print(*seen[-1], seen == sorted(seen))
"""
    done, whole, ordered = python("-c", code, env=machine).stdout.split()
    wanted = {name: content for name, content in hub.files.items() if name not in SURPLUS}
    assert int(done) == int(whole) == sum(map(len, wanted.values()))
    assert ordered == "True"


def test_a_load_uses_the_network_only_with_allow_download(
    hub: LocalHub, machine: dict[str, str], python: Python
) -> None:
    code = "from hotstart import Embedder; print(Embedder('owner/name'%s).encode('a').shape)"
    refused = python("-c", code % "", env=machine)
    assert "ModelNotFound" in refused.stderr
    assert hub.requests == []
    assert python("-c", code % ", allow_download=True", env=machine).stdout == "(32,)\n"


def test_a_load_that_downloads_reports_how_far_it_is(
    machine: dict[str, str], python: Python
) -> None:
    code = """
from hotstart.config import read_settings
from hotstart.models.spec import ModelSpec
from hotstart.preparation.prepare import prepare
seen = []
spec = ModelSpec("owner/name", allow_download=True)
prepare(spec, read_settings(), lambda stage, share: seen.append((stage, share)))
shares = [share for _, share in seen]
print(shares == sorted(shares), max(share for stage, share in seen if stage == "downloading"))
"""
    assert python("-c", code, env=machine).stdout == "True 0.1\n"


def test_an_unreachable_hub_and_offline_mode_raise_download_failed(
    machine: dict[str, str], python: Python, fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = machine | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    pulled = python("-m", "hotstart", "models", "pull", "owner/name", env=env)
    assert (pulled.returncode, pulled.stderr.count("\n")) == (1, 1)
    assert "could not be downloaded" in pulled.stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE is set"):
        fetch(ModelSpec("owner/name"), read_settings())


def test_files_to_fetch_selects_one_format_of_weights() -> None:
    common = ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"]
    dense = ["2_Dense/config.json", "2_Dense/model.safetensors"]
    surplus = ["README.md", "tf_model.h5", "pytorch_model.bin", "openvino/model.xml", "vocab.txt"]
    onnx = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_O4.onnx"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    folders = ("", "1_Pooling", "2_Dense")

    def chosen(*files: str) -> list[str]:
        return files_to_fetch([*files], "bert", folders=folders)

    single = chosen(*common, *dense, *surplus, *onnx, "model.safetensors")
    assert single == [*common, *dense, "model.safetensors"]
    assert chosen(*common, *shards, index, *onnx) == [*common, index, *shards]
    only = ["2_Dense/pytorch_model.bin", "pytorch_model.bin"]
    assert chosen(*common, *only) == [*common, *only]
    assert chosen(*common, *dense, *only) == [*common, *dense, only[1]]


def test_an_architecture_without_a_graph_is_fetched_as_onnx() -> None:
    nomic = ["config.json", "tokenizer.json", "model.safetensors", "onnx/model.onnx"]
    assert files_to_fetch(nomic, "unknown") == [*nomic[:2], "onnx/model.onnx"]
    assert files_to_fetch(nomic, "unknown", engine="torch") == nomic[:3]
    assert files_to_fetch(nomic, "nomic_bert") == nomic[:3]
    assert files_to_fetch(nomic, "model2vec") == nomic[:3]
    assert files_to_fetch(nomic[:3], "unknown") == nomic[:3]


def test_a_tokenizer_is_fetched_in_the_form_there_is() -> None:
    old = ["config.json", "vocab.txt", "tokenizer_config.json", "pytorch_model.bin"]
    assert {*files_to_fetch(old, "bert")} == {*old}
    new = files_to_fetch([*old, "tokenizer.json"], "bert")
    assert {*new} == {*old, "tokenizer.json"} - {"vocab.txt"}
    torch = files_to_fetch([*old, "tokenizer.json"], "bert", engine="torch")
    assert "vocab.txt" in torch
    onnx = ["config.json", "merges.txt", "onnx/model.onnx", "onnx/tokenizer.json"]
    assert {*files_to_fetch(onnx, "unknown")} == {*onnx}


def test_code_is_fetched_only_to_be_run() -> None:
    files = ["config.json", "tokenizer.json", "modeling.py", "model.safetensors"]
    assert "modeling.py" not in files_to_fetch(files, "new", engine="torch")
    assert "modeling.py" in files_to_fetch(files, "new", engine="torch", code=True)


def test_a_module_has_its_files_in_its_folder() -> None:
    files = ["0_Transformer/config.json", "0_Transformer/vocab.txt", "1_Pooling/config.json"]
    files += ["modules.json", "0_Transformer/pytorch_model.bin", "9_Other/model.safetensors"]
    folders = ("0_Transformer", "1_Pooling")
    assert {*files_to_fetch(files, "bert", folders=folders)} == {*files[:-1]}
