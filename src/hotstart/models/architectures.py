"""The encoder families the graph builder knows. A family is data: names of tensors and settings.

All four are the same post-norm transformer encoder (Vaswani et al. 2017, as BERT has it: Devlin
et al. 2018); they differ in what their tensors are called, in how positions are counted, in
whether tokens carry a segment, and in MPNet's relative position bias (Song et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hotstart.models.modules import ClassifierLayer


@dataclass(frozen=True)
class Family:
    """How one family names its tensors (below `prefixes`) and its settings in config.json.

    Attributes:
        prefixes: what may stand before every tensor's name, as a model with a head saves it.
        layer: a layer's prefix, with a place for its number.
        positions_after_padding: positions count only real tokens and begin at pad_token_id + 1.
        segments: there is a token type embedding, of which single texts use row 0.
        classifier: what stands on the first token where a text, or a pair, is classified.
        relative_bias: the tensor of MPNet's relative position bias, else None.
        settings: what the keys of config.json are called where they differ from BERT's.
    """

    prefixes: tuple[str, ...]
    layer: str = "encoder.layer.{}."
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    intermediate: str = "intermediate.dense"
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    positions_after_padding: bool = False
    segments: bool = True
    classifier: tuple[ClassifierLayer, ...] = ()
    relative_bias: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


_ROBERTA_CLASSIFIER = (
    ClassifierLayer("classifier.dense", "Tanh"),
    ClassifierLayer("classifier.out_proj", "Identity"),
)

_BERT = Family(
    prefixes=("", "bert."),
    classifier=(
        ClassifierLayer("bert.pooler.dense", "Tanh"),
        ClassifierLayer("classifier", "Identity"),
    ),
)
_ROBERTA = Family(
    prefixes=("", "roberta."),
    positions_after_padding=True,
    classifier=_ROBERTA_CLASSIFIER,
)
_DISTILBERT = Family(
    prefixes=("", "distilbert."),
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    intermediate="ffn.lin1",
    output="ffn.lin2",
    output_norm="output_layer_norm",
    segments=False,
    classifier=(
        ClassifierLayer("pre_classifier", "ReLU"),
        ClassifierLayer("classifier", "Identity"),
    ),
    settings={
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "hidden_act": "activation",
    },
)
_MPNET = Family(
    prefixes=("", "mpnet."),
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    attention_norm="attention.LayerNorm",
    positions_after_padding=True,
    segments=False,
    classifier=_ROBERTA_CLASSIFIER,
    relative_bias="encoder.relative_attention_bias.weight",
)

FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
}
"""By `model_type` of config.json."""
