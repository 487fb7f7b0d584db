"""Make a tiny BERT with ALiBi and a gated feed-forward network, as jina-embeddings-v2 is.

That of code has other names, norms of queries and keys, and a second sum and norm after attention.

Neither transformers nor sentence-transformers has this architecture: its code lies on the hub. The
encoder here follows the papers (Devlin et al. 2018; Press et al. 2021; Shazeer 2020) and has the
tensor names and the configuration of that code.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from folder_formats import write_json
from safetensors.torch import save_file
from tiny_models import scatter
from tiny_tokenizers import bert
from torch import nn
from torch.nn import functional

HIDDEN = 36
HEADS = 6  # no power of two
INNER = 64
LAYERS = 2
CONFIG = {
    "architectures": ["JinaBertForMaskedLM"],
    "model_type": "bert",
    "position_embedding_type": "alibi",
    "feed_forward_type": "geglu",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": INNER,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 128,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"},
}


CODE = {"auto_map": {"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"}}
"""What is other in the configuration of jina-embeddings-v2-base-code."""


def slopes(heads: int) -> list[float]:
    """The slope of each head, as the authors of ALiBi compute them."""
    power = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * n / power) for n in range(1, power + 1)]
    rest = [] if power == heads else slopes(2 * power)[0::2]
    return first + rest[: heads - power]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of all heads with ALiBi, (tokens, hidden)."""
    count = len(query)
    q, k, v = (x.view(count, HEADS, -1).transpose(0, 1) for x in (query, key, value))
    order = torch.arange(count)
    away = (order[None] - order[:, None]).abs()
    bias = -torch.tensor(slopes(HEADS))[:, None, None] * away
    scores = q @ k.transpose(1, 2) / math.sqrt(HIDDEN // HEADS) + bias
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(count, HIDDEN)


class Layer(nn.Module):
    """Attention and a gated feed-forward network, each followed by sum and norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict(
                    {name: nn.Linear(HIDDEN, HIDDEN) for name in ("query", "key", "value")}
                ),
                "output": nn.ModuleDict(
                    {"dense": nn.Linear(HIDDEN, HIDDEN), "LayerNorm": nn.LayerNorm(HIDDEN, 1e-12)}
                ),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gated_layers": nn.Linear(HIDDEN, 2 * INNER, bias=False),
                "wo": nn.Linear(INNER, HIDDEN),
                "layernorm": nn.LayerNorm(HIDDEN, 1e-12),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embeddings after this layer, (tokens, hidden)."""
        inner, output = self.attention["self"], self.attention["output"]
        context = attend(inner["query"](x), inner["key"](x), inner["value"](x))
        x = output["LayerNorm"](output["dense"](context) + x)
        gate, up = self.mlp["gated_layers"](x).split(INNER, dim=-1)
        return self.mlp["layernorm"](self.mlp["wo"](functional.gelu(gate) * up) + x)


class CodeLayer(nn.Module):
    """The layer of jina-embeddings-v2-base-code."""

    def __init__(self) -> None:
        super().__init__()
        inner = {name: nn.Linear(HIDDEN, HIDDEN) for name in ("query", "key", "value")}
        norms = {name: nn.LayerNorm(HIDDEN, 1e-12) for name in ("layer_norm_q", "layer_norm_k")}
        output = {"dense": nn.Linear(HIDDEN, HIDDEN), "LayerNorm": nn.LayerNorm(HIDDEN, 1e-12)}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(inner | norms), "output": nn.ModuleDict(output)}
        )
        self.layer_norm_1 = nn.LayerNorm(HIDDEN, 1e-12)
        self.layer_norm_2 = nn.LayerNorm(HIDDEN, 1e-12)
        self.mlp = nn.ModuleDict(
            {
                "up_gated_layer": nn.Linear(HIDDEN, 2 * INNER, bias=False),
                "down_layer": nn.Linear(INNER, HIDDEN),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embeddings after this layer, (tokens, hidden)."""
        inner, output = self.attention["self"], self.attention["output"]
        query = inner["layer_norm_q"](inner["query"](x))
        key = inner["layer_norm_k"](inner["key"](x))
        attended = output["dense"](attend(query, key, inner["value"](x)))
        x = self.layer_norm_1(output["LayerNorm"](attended + x) + x)
        up, gate = self.mlp["up_gated_layer"](x).split(INNER, dim=-1)
        return self.layer_norm_2(self.mlp["down_layer"](up * functional.gelu(gate)) + x)


class AlibiBert(nn.Module):
    """The encoder of one text."""

    def __init__(self, words: int, layer: type[nn.Module]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(words, HIDDEN),
                "token_type_embeddings": nn.Embedding(2, HIDDEN),
                "LayerNorm": nn.LayerNorm(HIDDEN, 1e-12),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layer() for _ in range(LAYERS))})

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The embeddings of the tokens `ids`, (tokens, hidden)."""
        parts = self.embeddings
        x = parts["word_embeddings"](ids) + parts["token_type_embeddings"].weight[0]
        x = parts["LayerNorm"](x)
        for layer in self.encoder["layer"]:
            x = layer(x)
        return x


def make_alibi_bert(
    home: Path, texts: tuple[str, ...], *, of_code: bool = False
) -> npt.NDArray[np.float32]:
    """Write the model into ``home/model`` and return its mean-pooled vectors of ``texts``."""
    folder = home / "model"
    tokenizer = bert()
    tokenizer.model_max_length = 100
    tokenizer.save_pretrained(folder)
    model = AlibiBert(len(tokenizer), CodeLayer if of_code else Layer)
    scatter(model, home.name)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = CONFIG | (CODE if of_code else {}) | {"vocab_size": len(tokenizer)}
    write_json(folder / "config.json", config)
    with torch.no_grad():
        rows = [
            model(torch.tensor(tokenizer(t, truncation=True)["input_ids"])).mean(0) for t in texts
        ]
    return np.stack([row.numpy() for row in rows])
