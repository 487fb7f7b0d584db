"""The scenario: models of 150 and 600 million parameters, to a first vector and in bulk.

The models have the sizes of ModernBERT-base and of Qwen3-Embedding-0.6B, random weights, and the
tokenizer of all-MiniLM-L6-v2: no network is used. sentence-transformers computes in the type of the
weights, bfloat16 for Qwen3; in float32 it is a peer of its own.

Time and memory do not depend on the numbers in the weights. The vectors of random weights are
compared all the same.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Table
from benchmarks.first_light import Outcome, Scene, answer_of, run_scene
from benchmarks.measure import Run, child_environment, cosine, spawn
from benchmarks.peers import REFERENCE, Peer
from benchmarks.prepare import Workplace
from benchmarks.verdict import Verdict
from hotstart.system import BF16_FLAGS, cpu_flags

SUBJECT = "hotstart"
QUANTIZED = "hotstart, 8 bits"
BFLOAT16 = "hotstart, bfloat16"
FLOAT32 = "sentence-transformers, float32"

MODELS = {"modernbert_150m": 64, "qwen3_600m": 24}
"""How many texts of about 122 tokens are embedded in bulk, by the name of a model."""

_TITLES = {"modernbert_150m": "ModernBERT 150 M", "qwen3_600m": "Qwen3 600 M"}

FIGURES = tuple(
    Figure(f"{key}_{model}", f"{_TITLES[model]}: {title}", unit, scale, form, better)
    for model in MODELS
    for key, title, unit, scale, form, better in (
        ("first_vector", "process start to first vector", "s", 1, ".2f", "less"),
        ("peak_memory", "peak memory to first vector", "MB", 1e-6, ".0f", "less"),
        ("throughput", "texts of about 122 tokens", "texts/s", 1, ".2f", "more"),
        ("serving_memory", "peak memory while serving them", "MB", 1e-6, ".0f", "less"),
        ("cosine_min", "lowest cosine to the reference", "", 1, ".6f", "same"),
    )
)

_MAKE = """\
import os, sys
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.model_max_length = 8192
ids = {"pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102}
kinds = {
    "modernbert_150m": ("modernbert", "cls", torch.float32,
        {"cls_token_id": 101, "sep_token_id": 102}),
    "qwen3_600m": ("qwen3", "lasttoken", torch.bfloat16, {
        "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
        "vocab_size": 151669, "max_position_embeddings": 32768, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}),
}
kind, pooling, dtype, sizes = kinds[NAME]
encoder = AutoModel.from_config(AutoConfig.for_model(kind, **ids, **sizes)).to(dtype)
encoder.save_pretrained(FOLDER + "/encoder")
tokenizer.save_pretrained(FOLDER + "/encoder")
modules = [Transformer(FOLDER + "/encoder"), Pooling(encoder.config.hidden_size, pooling),
    Normalize()]
SentenceTransformer(modules=modules, device="cpu").save(FOLDER + "/model", create_model_card=False)
print("made")
"""

_FIRST = """\
{imports}
{load}
text = "How do I reset my password?"
print([float(x) for x in {one}])
"""

_BULK = """\
import json, time
with open(TEXTS, encoding="utf-8") as file:
    texts = json.load(file)["bulk"][:{count}]
{imports}
{load}
def embed(texts):
    return {many}
embed(texts[:4])
start = time.perf_counter()
vectors = embed(texts)
seconds = time.perf_counter() - start
vectors = [[float(x) for x in vector] for vector in vectors]
print(json.dumps({{"texts_per_second": len(texts) / seconds, "vectors": vectors}}))
"""


def _hotstart(name: str, arguments: str, after: str = "") -> Peer:
    return Peer(
        name=name,
        imports="from hotstart import Embedder",
        load=f"model = Embedder(LARGE{arguments}){after}",
        one="model.embed_query(text)",
        many="model.encode(texts)",
    )


PEERS = (
    Peer(
        name=REFERENCE,
        imports="from sentence_transformers import SentenceTransformer",
        load="model = SentenceTransformer(LARGE)",
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    _hotstart(SUBJECT, ""),
    _hotstart(QUANTIZED, ', strategy="quantized"'),
    Peer(
        name=FLOAT32,
        imports="import torch\nfrom sentence_transformers import SentenceTransformer",
        load='model = SentenceTransformer(LARGE, model_kwargs={"dtype": torch.float32})',
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    *(
        [_hotstart(BFLOAT16, ', engine="openvino", precision="bfloat16"')]
        if cpu_flags() & BF16_FLAGS
        else []
    ),
)


def run(place: Workplace, rounds: int) -> Outcome:
    """Run the scenes of each model and return what was found; what fails is named in it."""
    outcome = Outcome()
    home = place.home / "large"
    starting = [peer for peer in PEERS if peer.name != BFLOAT16]
    for model in MODELS:
        folder = _made(place, home, model)
        for peer in PEERS:  # artifacts, and what OpenVINO compiles
            spawn(
                place.complete(_program(_FIRST, folder, peer)), child_environment(place.cache), home
            )
        first = Scene(
            f"{model}, first vector",
            partial(_program, _FIRST, folder),
            starting,
            partial(_keep_first, model),
            1,
        )
        bulk = Scene(
            f"{model}, bulk",
            partial(_program, _BULK.replace("{count}", str(MODELS[model])), folder),
            PEERS,
            partial(_keep_bulk, model),
            0,
        )
        for scene in (first, bulk):
            run_scene(scene, place, rounds, outcome)
    return outcome


def program(peer: Peer) -> str:
    """Return the program of `peer` that is timed up to its first vector."""
    return _program(_FIRST, Path("modernbert_150m"), peer)


def _program(template: str, folder: Path, peer: Peer) -> str:
    """Return the program with the model's folder put before it."""
    body = template.format(imports=peer.imports, load=peer.load, one=peer.one, many=peer.many)
    return f"LARGE = {str(folder)!r}\n{body}"


def _made(place: Workplace, home: Path, model: str) -> Path:
    """Return the folder of `model`, made whole or not at all."""
    folder = home / model / "model"
    if not folder.is_dir():
        staged = home / f"{model}.new-{os.getpid()}"
        staged.mkdir(parents=True)
        text = f"NAME = {model!r}\nFOLDER = {str(staged)!r}\n{_MAKE}"
        spawn(place.complete(text), child_environment(place.cache), place.home)
        shutil.rmtree(staged / "encoder")
        staged.rename(home / model)
    return folder


def _keep_first(model: str, outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep the time and the peak memory."""
    for peer, done in runs.items():
        outcome.note(f"first_vector_{model}", peer, done.seconds)
        outcome.note(f"peak_memory_{model}", peer, done.peak_bytes)


def _keep_bulk(model: str, outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep throughput, memory, and the lowest cosine to the reference of the same round."""
    answers = {peer: answer_of(done) for peer, done in runs.items()}
    expected = answers.get(REFERENCE, {}).get("vectors")
    for peer, answer in answers.items():
        outcome.note(f"throughput_{model}", peer, answer["texts_per_second"])
        outcome.note(f"serving_memory_{model}", peer, runs[peer].peak_bytes)
        if expected is not None:
            found = [cosine(*pair) for pair in zip(answer["vectors"], expected, strict=True)]
            outcome.note(f"cosine_min_{model}", peer, min(found))


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise, by medians."""
    return [
        Verdict(f"{_TITLES[model]}, {peer}: {text}", bound, at_most=False, found=ratio)
        for model in MODELS
        for key, bound, text, peers in (
            ("first_vector", 10, "first vector at least 10 times sooner", (SUBJECT, QUANTIZED)),
            ("peak_memory", 2, "peak memory at most a half", (SUBJECT, QUANTIZED)),
            ("throughput", 1.3, "bulk at least 1.3 times", (SUBJECT, QUANTIZED, BFLOAT16)),
        )
        for peer in peers
        for cell in [table[f"{key}_{model}"].get(peer)]
        for ratio in [cell.ratio if cell else None]
    ]
