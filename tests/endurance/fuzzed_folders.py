"""Load mutated model folders: python fuzzed_folders.py SEED COUNT [compare].

Prints one JSON object. With `compare`, sentence-transformers gets each folder that loads too.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hotstart import Embedder
from hotstart.errors import HotstartError, ModelError
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines

TEXTS = ["hello world", "The cat sat on the mat.", "Ünïcödé 漢字 42"]
NAMES = sorted(
    folder.name for folder in FAMILIES.iterdir() if (folder / "model" / "config.json").exists()
)
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**63, 2**100, 1e308, -0.5, float("inf")),
    *("", "x", "../x", "/etc/passwd", "a\0b", "gelu", "mean", "left", "\ud800", "a" * 10_000),
    *([], {}, [1], [[]], {"a": 1}, [None], list(range(100))),
]
SETTINGS = (
    *("hidden_size", "num_attention_heads", "num_hidden_layers", "hidden_act", "layer_norm_eps"),
    *("max_position_embeddings", "position_embedding_type", "type_vocab_size", "pad_token_id"),
    *("is_decoder", "model_type", "architectures", "max_seq_length", "do_lower_case", "prompts"),
    *("default_prompt_name", "truncate_dim", "truncation_side", "add_prefix_space", "type", "path"),
    *("pooling_mode_mean_tokens", "pooling_mode_cls_token", "include_prompt", "out_features"),
    *(
        "in_features",
        "activation_function",
        "bias",
        "model_max_length",
        "vocab",
        "model",
        "normalizer",
    ),
)


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value in `content`."""
    found = [at] if at else []
    if isinstance(content, dict):
        for key, value in content.items():
            found += (
                places(value, (*at, key))
                if not isinstance(value, dict) or len(value) < 200
                else [(*at, key)]
            )
    if isinstance(content, list) and len(content) < 200:
        for number, value in enumerate(content):
            found += places(value, (*at, number))
    return found


def mutate_json(path: Path, chance: random.Random) -> str:
    content = json.loads(path.read_text())
    known = places(content)
    if not known or chance.random() < 0.2:
        key = chance.choice(SETTINGS)
        if isinstance(content, dict):
            content[key] = chance.choice(VALUES)
        else:
            content = chance.choice(VALUES)
        path.write_text(json.dumps(content))
        return f"{path.name} gets {key}"
    place = chance.choice(known)
    holder = content
    for step in place[:-1]:
        holder = holder[step]
    if chance.random() < 0.25:
        del holder[place[-1]]
        action = "loses"
    else:
        holder[place[-1]] = chance.choice(VALUES)
        action = "changes"
    path.write_text(json.dumps(content))
    return f"{path.name} {action} {place}"


def mutate_bytes(path: Path, chance: random.Random) -> str:
    raw = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "cut", "grow", "zero", "empty", "text"])
    if kind == "flip" and raw:
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del raw[chance.randrange(len(raw) + 1) :]
    elif kind == "grow":
        raw += bytes(chance.randrange(100))
    elif kind == "zero" and raw:
        start = chance.randrange(len(raw))
        raw[start : start + 64] = bytes(min(64, len(raw) - start))
    elif kind == "empty":
        raw.clear()
    else:
        raw[:] = b"version https://git-lfs.github.com/spec/v1\n"
    path.write_bytes(raw)
    return f"{path.name} {kind}"


def mutate_tensors(path: Path, chance: random.Random) -> str:  # noqa: C901 - a list of cases
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    name = chance.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    kind = chance.choice(
        ["shape", "transpose", "dtype", "offsets", "rename", "drop", "nan", "entry"]
    )
    if kind == "shape":
        entry["shape"] = chance.choice(
            [[], [1], [-1, -1], [2**40], entry["shape"] + [1], "x", [1.5]]
        )
    elif kind == "transpose":
        entry["shape"] = entry["shape"][::-1]
    elif kind == "dtype":
        entry["dtype"] = chance.choice(["F16", "I64", "F64", "BF16", "U8", "F7", None])
    elif kind == "offsets":
        entry["data_offsets"] = chance.choice([[0, 0], [-4, 4], [4, 2**50], [0], "x", [0.5, 1.5]])
    elif kind == "rename":
        header["x" + name] = header.pop(name)
    elif kind == "drop":
        del header[name]
    elif kind == "entry":
        header[name] = chance.choice(VALUES)
    new = json.dumps(header).encode()
    content = bytearray(raw[8 + length :])
    if kind == "nan" and entry["dtype"] == "F32":
        start = entry["data_offsets"][0]
        content[start : start + 4] = struct.pack(
            "<f", chance.choice([float("nan"), float("inf"), 1e38])
        )
    path.write_bytes(struct.pack("<Q", len(new)) + new + content)
    return f"{path.name} {kind} {name}"


def replace(path: Path, chance: random.Random) -> str:
    kind = chance.choice(["gone", "folder", "fifo", "device", "outside", "circle"])
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "outside":
        path.symlink_to("/etc/hostname")
    elif kind == "circle":
        path.symlink_to(path.name)
    return f"{path.name} {kind}"


def mutate(folder: Path, chance: random.Random) -> str:
    """Change one file of `folder`; return what was done."""
    path = chance.choice(sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()))
    roll = chance.random()
    try:
        if roll < 0.1:
            return replace(path, chance)
        if path.suffix == ".json" and roll < 0.85:
            return mutate_json(path, chance)
        if path.suffix == ".safetensors" and roll < 0.75:
            return mutate_tensors(path, chance)
    except (ValueError, UnicodeError, LookupError, TypeError, AttributeError, struct.error):
        pass  # an earlier mutation has broken the file already
    return mutate_bytes(path, chance)


def peak_megabytes() -> int:
    """Return the peak of this process since the last call (proc(5))."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) // 1000
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def of_sentence_transformers(folder: Path) -> Any:
    """Return the vectors, or None where sentence-transformers refuses the folder."""
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    except Exception:  # noqa: BLE001 - of any kind
        return None


def main(seed: int, count: int, compare: bool) -> None:  # noqa: C901 - one loop
    """Run and print."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment] # the machine goes on
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    slowest = largest = 0.0
    compared = 0
    with tempfile.TemporaryDirectory() as work:
        for number in range(count):
            folder = Path(work) / "model"
            name = chance.choice(NAMES)
            shutil.copytree(FAMILIES / name / "model", folder)
            done = "; ".join(mutate(folder, chance) for _ in range(chance.choice([1, 1, 2, 3])))
            what = f"{seed}:{number} {name}: {done}"
            os.environ["HOTSTART_CACHE_DIR"] = f"{work}/cache"
            outside = sorted(os.listdir(work))
            peak_megabytes()
            before = time.monotonic()
            vectors = None
            try:
                vectors = Embedder(folder, pool=Pool()).encode(TEXTS)
                outcomes["vectors"] += 1
                if not np.isfinite(vectors).all():
                    faults.append(f"{what}: not finite")
            except HotstartError as error:
                outcomes[type(error).__name__] += 1
                # A tokenizer may have more tokens than the model: a text with one is refused.
                is_of_text = "a token that the model has no embedding of" in str(error)
                if not (isinstance(error, ModelError) or is_of_text):
                    faults.append(f"{what}: {error}")
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                outcomes["raw"] += 1
                faults.append(f"{what}: {type(error).__name__}: {error}")
            slowest = max(slowest, time.monotonic() - before)
            largest = max(largest, peak_megabytes())
            if sorted({*os.listdir(work)} - {"cache"}) != sorted({*outside} - {"cache"}):
                faults.append(f"{what}: wrote {os.listdir(work)}")
            if compare and vectors is not None:
                theirs = of_sentence_transformers(folder)
                if theirs is not None and np.isfinite(theirs).all():
                    compared += 1
                    if vectors.shape != theirs.shape or cosines(vectors, theirs).min() < 0.9999:
                        faults.append(f"{what}: another vector than sentence-transformers")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(f"{work}/cache", ignore_errors=True)
    told = {
        "count": count,
        "outcomes": outcomes,
        "faults": faults,
        "slowest": slowest,
        "megabytes": largest,
        "compared": compared,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "compare" in sys.argv)
