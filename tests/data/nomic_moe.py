"""Make a tiny encoder with a mixture of experts in every second layer, as nomic-embed-text-v2-moe.

transformers has the architecture without experts; their code lies on the hub. The encoder here
follows the papers (Nussbaum and Duderstadt 2025; Shazeer et al. 2017) and has the tensor names and
the configuration of that code. The shares of a token's two experts are those of the softmax over
all experts: their sum is less than 1. The bias is added once, whatever the shares.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from folder_formats import write_json
from safetensors.torch import save_file
from tiny_models import scatter
from tiny_tokenizers import xlm_roberta
from torch import nn
from torch.nn import functional

HIDDEN = 32
HEADS = 4
INNER = 48
LAYERS = 4
EXPERTS = 8
CHOSEN = 2
BASE = 10_000.0
CONFIG: dict[str, Any] = {
    "architectures": ["NomicBertModel"],
    "model_type": "nomic_bert",
    "activation_function": "gelu",
    "n_embd": HIDDEN,
    "n_head": HEADS,
    "n_layer": LAYERS,
    "n_inner": INNER,
    "n_positions": 128,
    "layer_norm_epsilon": 1e-5,
    "rotary_emb_base": BASE,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_scaling_factor": None,
    "prenorm": False,
    "use_rms_norm": False,
    "causal": False,
    "qkv_proj_bias": True,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "num_experts": EXPERTS,
    "moe_every_n_layers": 2,
    "moe_top_k": CHOSEN,
    "moe_normalize_expert_weights": False,
    "expert_choice_router": False,
    "num_shared_experts": 0,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
}


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Heads (heads, tokens, size), each half of a head turned with the other by the position."""
    half = x.shape[-1] // 2
    speeds = BASE ** -(torch.arange(half) / half)
    angles = torch.arange(x.shape[1])[:, None] * speeds
    first, second = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Mixture(nn.Module):
    """The experts, each token through those that its router chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.ModuleDict({"layer": nn.Linear(HIDDEN, EXPERTS, bias=False)})
        self.experts = nn.Module()
        self.experts.mlp = nn.Module()
        for name in ("w1", "w2"):
            matrix = nn.Parameter(torch.empty(EXPERTS * INNER, HIDDEN))
            self.experts.mlp.register_parameter(name, matrix)
        self.experts.register_parameter("bias", nn.Parameter(torch.empty(HIDDEN)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embeddings (tokens, hidden) after the mixture."""
        shares, chosen = self.router["layer"](x).softmax(-1).topk(CHOSEN, dim=-1)
        mlp = self.experts.mlp
        first, second = (w.view(EXPERTS, INNER, HIDDEN) for w in (mlp.w1, mlp.w2))
        rows = []
        for token, share, experts in zip(x, shares, chosen, strict=True):
            parts = [functional.gelu(first[e] @ token) @ second[e] for e in experts]
            rows.append((share[:, None] * torch.stack(parts)).sum(0))
        return torch.stack(rows) + self.experts.bias


class Layer(nn.Module):
    """Attention and a feed-forward network or a mixture, each followed by sum and norm."""

    def __init__(self, has_experts: bool) -> None:
        super().__init__()
        self.attn = nn.ModuleDict(
            {"Wqkv": nn.Linear(HIDDEN, 3 * HIDDEN), "out_proj": nn.Linear(HIDDEN, HIDDEN)}
        )
        self.norm1 = nn.LayerNorm(HIDDEN, 1e-5)
        self.norm2 = nn.LayerNorm(HIDDEN, 1e-5)
        self.mlp: nn.Module = (
            Mixture()
            if has_experts
            else nn.ModuleDict({"fc1": nn.Linear(HIDDEN, INNER), "fc2": nn.Linear(INNER, HIDDEN)})
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embeddings after this layer, (tokens, hidden)."""
        query, key, value = (
            part.view(len(x), HEADS, -1).transpose(0, 1)
            for part in self.attn["Wqkv"](x).split(HIDDEN, dim=-1)
        )
        scores = rotated(query) @ rotated(key).transpose(1, 2) / math.sqrt(HIDDEN // HEADS)
        context = (scores.softmax(-1) @ value).transpose(0, 1).reshape(len(x), HIDDEN)
        x = self.norm1(self.attn["out_proj"](context) + x)
        if isinstance(self.mlp, nn.ModuleDict):
            return self.norm2(self.mlp["fc2"](functional.gelu(self.mlp["fc1"](x))) + x)
        return self.norm2(self.mlp(x) + x)


class NomicMoe(nn.Module):
    """The encoder of one text."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(words, HIDDEN),
                "token_type_embeddings": nn.Embedding(1, HIDDEN),
            }
        )
        self.emb_ln = nn.LayerNorm(HIDDEN, 1e-5)
        layers = (Layer(has_experts=number % 2 == 1) for number in range(LAYERS))
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The embeddings of the tokens `ids`, (tokens, hidden)."""
        parts = self.embeddings
        x = self.emb_ln(parts["word_embeddings"](ids) + parts["token_type_embeddings"].weight[0])
        for layer in self.encoder["layers"]:
            x = layer(x)
        return x


def make_nomic_moe(home: Path, texts: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Write the model into ``home/model`` and return its mean-pooled vectors of ``texts``."""
    folder = home / "model"
    tokenizer = xlm_roberta()
    tokenizer.model_max_length = 100
    tokenizer.save_pretrained(folder)
    model = NomicMoe(len(tokenizer))
    scatter(model, home.name)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", CONFIG | {"vocab_size": len(tokenizer)})
    with torch.no_grad():
        rows = [
            model(torch.tensor(tokenizer(t, truncation=True)["input_ids"])).mean(0) for t in texts
        ]
    return np.stack([row.numpy() for row in rows])
