"""Damage of compiled models where no check of the file looks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from hotstart.integrity import sample_crc32
from hotstart.safetensors import read_header


def damage_compiled(cache_dir: str, model: Path, factor: float) -> int:
    """Multiply a weight in each compiled blob of `model` by `factor`; return how many changed.

    Size, time and sampled pages of the blob stay those on record.
    """
    weights = (model / "model.safetensors").read_bytes()
    header = read_header(str(model / "model.safetensors"))
    name = next(name for name in header if name.endswith("layer.1.intermediate.dense.weight"))
    tensor = weights[header[name].offset :][: header[name].length]
    damaged = (np.float32(factor) * np.frombuffer(tensor, np.float32)).tobytes()
    changed = 0
    for blob in Path(cache_dir, "compiled").glob("*/*.blob"):
        status = blob.stat()
        content = blob.read_bytes()
        if tensor not in content:
            continue
        beside = blob.with_suffix(".damaged")  # a mapped file keeps its pages
        beside.write_bytes(content.replace(tensor, damaged))
        os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(beside, blob)
        records = json.loads((blob.parent / "files.json").read_text())
        records[blob.name]["sample_crc32"] = sample_crc32(str(blob))
        (blob.parent / "files.json").write_text(json.dumps(records))
        changed += 1
    return changed
