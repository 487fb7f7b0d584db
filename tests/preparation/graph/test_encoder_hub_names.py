"""Models as their authors' code saves them: names and settings of the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart import Embedder, Reranker
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.pool.pool import Pool
from hotstart.safetensors import Tensor, read_floats, read_header
from support.golden import FAMILIES, RERANKERS, cosines, family_texts, reranker_pairs

NOMIC = FAMILIES / "nomic-mean"
TEXTS = family_texts()
HUB = {
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 64,
    "n_layer": 2,
    "n_positions": 128,
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_scaling_factor": None,
    "prenorm": False,
    "use_rms_norm": False,
    "causal": False,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
"""Settings as nomic-ai/nomic-embed-text-v1.5 names them."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "model"
    shutil.copytree(NOMIC / "model", copied)
    return copied


SETTINGS: dict[str, dict[str, Any]] = {
    "nomic-mean": HUB,
    "gte-cls": {
        "model_type": "new",
        "rope_parameters": None,
        "rope_theta": 160000,
        "rope_scaling": None,
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "logn_attention_scale": False,
        "pack_qkv": True,
        "type_vocab_size": 1,
    },
    "modernbert-cls": {
        "rope_parameters": None,
        "layer_types": None,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "global_attn_every_n_layers": 3,
    },
    "mistral-last": {"rope_parameters": None, "rope_theta": 10000.0},
    "qwen2-last": {
        "rope_parameters": None,
        "rope_theta": 10000.0,
        "layer_types": None,
        "use_sliding_window": False,
        "sliding_window": 4,
        "max_window_layers": 1,
    },
    "qwen3-last": {"rope_parameters": None, "rope_theta": 10000, "rope_scaling": None},
    "gemma-last": {"rope_parameters": None, "rope_theta": 10000.0, "hidden_act": "gelu"},
    "gemma3-dense": {
        "rope_parameters": None,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "layer_types": None,
        "_sliding_window_pattern": 3,
        "sliding_window_pattern": None,
    },
    "eurobert-mean": {"rope_parameters": None, "rope_theta": 10000},
    "jina-v3-mean": {"rope_parameters": None, "rope_theta": 20000.0},
}
"""Settings as the first repositories of each architecture name them; None removes one."""


@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_of_the_hub_are_the_same_model(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / name / "model", folder)
    saved = {} if name == "nomic-mean" else json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in (saved | SETTINGS[name]).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    found = Embedder(folder, pool=Pool()).encode(TEXTS)
    assert cosines(found, np.load(FAMILIES / name / "vectors.npy")).min() > 0.999999


def test_a_window_of_null_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "mistral-last" / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": None}))
    found = cosines(
        Embedder(folder, pool=Pool()).encode(TEXTS),
        np.load(FAMILIES / "mistral-last" / "vectors.npy"),
    )
    assert found.min() < 0.99  # longer texts see more
    assert found[7] > 0.999999  # one word fits into any window


@pytest.mark.parametrize("prefix", ["new.", "model."])
def test_a_prefix_of_all_tensors_is_found(tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "gte-cls" / "model", folder)
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = {
        name if name == "__metadata__" else prefix + name: entry
        for name, entry in json.loads(content[8 : 8 + length]).items()
    }
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        len(raw).to_bytes(8, "little") + raw + content[8 + length :]
    )
    found = Embedder(folder, pool=Pool()).encode(TEXTS)
    assert cosines(found, np.load(FAMILIES / "gte-cls" / "vectors.npy")).min() > 0.999999


Tensors = dict[str, NDArray[np.float32]]


def read(folder: Path) -> Tensors:
    tensors = read_header(str(folder / "model.safetensors"))
    return {name: read_all(tensor) for name, tensor in tensors.items() if tensor.dtype == "F32"}


def read_all(tensor: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = read_floats(tensor, 0, tensor.length // 4)
    return numbers.reshape(tensor.shape)


def write(folder: Path, tensors: Tensors, **config: Any) -> None:
    """Write float32 tensors, and change config.json."""
    offset = 0
    header: dict[str, Any] = {}
    for name, value in tensors.items():
        end = offset + value.nbytes
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    numbers = b"".join(value.astype("<f4").tobytes() for value in tensors.values())
    (folder / "model.safetensors").unlink()  # an artifact has a link to it, in use
    (folder / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + numbers)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(saved | config))


FLASH = {
    "embeddings.LayerNorm": "emb_ln",
    "encoder.layer": "encoder.layers",
    "attention.output.dense": "mixer.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "norm2",
}
"""Names of XLM-R in transformers, and in jinaai/xlm-roberta-flash-implementation."""


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_reranker_of_xlm_roberta_flash_is_one_of_xlm_roberta(tmp_path: Path, engine: str) -> None:
    folder = Path(shutil.copytree(RERANKERS / "xlm-roberta" / "model", tmp_path / "model"))
    named: Tensors = {}
    for name, value in read(folder).items():
        for old, new in FLASH.items():
            name = name.replace(old, new)
        named[name] = value
    for prefix in {name.partition(".attention.self.")[0] for name in named if ".self." in name}:
        for kind in ("weight", "bias"):
            parts = [named.pop(f"{prefix}.attention.self.{n}.{kind}") for n in QKV]
            named[f"{prefix}.mixer.Wqkv.{kind}"] = np.concatenate(parts)
    code = {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}
    write(folder, named, auto_map=code)
    found = Reranker(folder, engine=engine, pool=Pool()).predict(
        reranker_pairs(), activation="identity"
    )
    expected = np.load(RERANKERS / "xlm-roberta" / "logits.npy")
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    write(folder, named, position_embedding_type="rotary")
    with pytest.raises(UnsupportedModel, match="rotary"):
        Reranker(folder, engine=engine, pool=Pool()).predict(("a", "b"))


QKV = ("query", "key", "value")


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_voyage_is_a_bidirectional_qwen3_with_a_layer_at_its_end(
    tmp_path: Path, engine: str
) -> None:
    source = FAMILIES / "qwen3-bidirectional"
    folder = Path(shutil.copytree(source / "model", tmp_path / "model"))
    saved = json.loads((folder / "config.json").read_text())
    hidden = saved["hidden_size"]
    layer = np.random.default_rng(1).standard_normal((48, hidden), np.float32)
    tensors = {f"model.{name}": value for name, value in read(folder).items()}
    code = {"AutoModel": "modeling_qwen3_bidirectional.Qwen3BidirectionalModel"}
    changes = {
        "auto_map": code,
        "is_causal": None,
        "use_bidirectional_attention": True,
        "architectures": ["Qwen3ForCausalLM"],
        "num_labels": 48,
    }
    write(folder, tensors | {"linear.weight": layer}, **changes)
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.exists():
        content = json.loads(pooling.read_text())
        pooling.write_text(json.dumps(content | {"word_embedding_dimension": 48}))
    found = Embedder(folder, engine=engine, pool=Pool()).encode(TEXTS)
    expected = np.load(source / "vectors.npy") @ layer.T  # the mean of products is linear
    assert found.shape == expected.shape
    assert cosines(found, expected).min() > 0.999999


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rotary_emb_interleaved", True),
        ("rotary_emb_fraction", 0.5),
        ("rotary_scaling_factor", 2.0),
        ("prenorm", True),
        ("use_rms_norm", True),
        ("moe_normalize_expert_weights", True),
        ("expert_choice_router", True),
        ("num_shared_experts", 1),
        ("causal", True),
    ],
)
def test_what_is_not_built_is_refused_by_name(folder: Path, setting: str, value: Any) -> None:
    (folder / "config.json").write_text(json.dumps(HUB | {setting: value}))
    with pytest.raises(UnsupportedModel):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize(
    "change",
    [
        *({"n_embd": 16}, {"n_head": 5}, {"n_head": 0}, {"head_dim": 4}, {"pad_token_id": 999}),
        {"num_experts": 8, "moe_every_n_layers": 2},
        {"num_experts": 8, "moe_every_n_layers": 2, "moe_top_k": 9},
    ],
)
def test_settings_that_do_not_fit_the_weights_are_damage(
    folder: Path, change: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(HUB | change))
    with pytest.raises(ModelDamaged):
        Embedder(folder, pool=Pool()).encode("a text")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("qwen3-last", {"head_dim": 10**9}),
        ("qwen3-last", {"num_hidden_layers": 10**9, "layer_types": None}),
        ("t5-mean", {"relative_attention_max_distance": 10**9}),
        ("deberta-cls", {"max_position_embeddings": 10**9, "model_max_length": 10**9}),
    ],
)
def test_no_setting_makes_a_table_of_its_size(
    name: str, change: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / name / "model", folder)
    for file in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | change))
    with pytest.raises(ModelDamaged):
        Embedder(folder, pool=Pool()).encode("a text")
