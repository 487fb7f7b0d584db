"""Layouts of model folders: the vectors of sentence-transformers, or a refusal by name.

Each layout is a change of a folder in tests/data/families. `make test-parity` runs these.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.config import Settings
from hotstart.errors import ModelIncomplete, UnsupportedModel
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts
from support.old_folders import as_checkpoint, in_sub_folder, with_vocabulary

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

Change = Callable[[Path], Any]


def change(name: str, **values: Any) -> Change:
    """Return a change of the JSON file `name`; a value None removes its key."""

    def apply(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: value for key, value in (content | values).items() if value is not None}
        path.write_text(json.dumps(kept))

    return apply


def together(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for each in changes:
            each(folder)

    return apply


def without(*names: str) -> Change:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return apply


ADDED = ["<new>", "[other]"]


def with_added_tokens(folder: Path) -> None:
    """Give the vocabulary tokens of added_tokens.json, one of them special."""
    import torch
    from safetensors.torch import load_file, save_file

    with_vocabulary(folder)
    weights = load_file(folder / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    count = len(table)
    more = torch.randn((2, table.shape[1]), generator=torch.Generator().manual_seed(1))
    weights["embeddings.word_embeddings.weight"] = torch.cat([table, more])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    change("config.json", vocab_size=count + 2)(folder)
    tokens = {token: count + number for number, token in enumerate(ADDED)}
    (folder / "added_tokens.json").write_text(json.dumps(tokens))
    change("special_tokens_map.json", additional_special_tokens=["[other]"])(folder)
    change("tokenizer_config.json", added_tokens_decoder=None)(folder)


CHAT = "{% for m in messages %}a {{ m['role'] }}: {{ m['content'] }}. {% endfor %}"
PARTS = "{% for m in messages %}{{ m.content[0].text }} the end{% endfor %}"
TRIMMED = "{% for m in messages %}{{ m['content'] | trim }}{% endfor %}"
OUTPUT = {"method": "forward", "method_output_name": "last_hidden_state"}
MESSAGES = {"text": OUTPUT, "message": OUTPUT}

MEAN = "bert-mean-normalize"
LAYOUTS: dict[str, tuple[str, Change]] = {
    **{
        f"vocabulary of {name}": (name, with_vocabulary)
        for name in (MEAN, "bert-config-case", "distilbert-mean", "mpnet-mean-normalize")
    },
    "vocabulary of roberta": ("roberta-mean", with_vocabulary),
    "vocabulary alone": (MEAN, together(with_vocabulary, without("special_tokens_map.json"))),
    "no tokenizer_config": (MEAN, together(with_vocabulary, without("tokenizer_config.json"))),
    "fast class": (
        MEAN,
        together(
            with_vocabulary, change("tokenizer_config.json", tokenizer_class="BertTokenizerFast")
        ),
    ),
    "cased vocabulary": (
        MEAN,
        together(with_vocabulary, change("tokenizer_config.json", do_lower_case=False)),
    ),
    "added tokens": (MEAN, with_added_tokens),
    "0_Transformer": (MEAN, in_sub_folder),
    "0_Transformer of 2020": (
        MEAN,
        together(with_vocabulary, as_checkpoint, in_sub_folder),
    ),
    "Dense as checkpoint": ("bert-dense-tanh", as_checkpoint),
    "0_Transformer and Dense": ("bert-dense-tanh", together(as_checkpoint, in_sub_folder)),
}


def modules(*names: str, **paths: str) -> Change:
    """Return a change of modules.json to the modules `names` of sentence-transformers.

    A name with a dot is that of another library.
    """

    def apply(folder: Path) -> None:
        entries = []
        for number, name in enumerate(names):
            kind = name if "." in name else f"sentence_transformers.models.{name}"
            path = paths.get(name, "" if number == 0 else f"{number}_{name}")
            entries.append({"idx": number, "name": str(number), "path": path, "type": kind})
            if path:
                (folder / path).mkdir(exist_ok=True)
        (folder / "modules.json").write_text(json.dumps(entries))

    return apply


def prefixed(prefix: str) -> Change:
    return tensors(lambda key, value: (prefix + key, value))


def pooling(*modes: str, **settings: Any) -> Change:
    names = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens"}
    keys = {f"pooling_mode_{names.get(mode, mode)}": True for mode in modes}
    usual = {"pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}
    return change("1_Pooling/config.json", **(usual | keys | settings))


def dense(*activations: str, bias: bool = True, **settings: Any) -> Change:
    """Return a change that adds a Dense module for each of `activations`."""

    def apply(folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        chance = torch.Generator().manual_seed(len(activations))
        names = ["Transformer", "Pooling"]
        paths = {"Pooling": "1_Pooling"}
        entries = []
        for number, activation in enumerate(activations, 2):
            inner = folder / f"{number}_Dense"
            inner.mkdir(exist_ok=True)
            home = "linear" if activation == "Identity" else "activation"
            config: dict[str, Any] = {"in_features": 32, "out_features": 32, "bias": bias}
            config["activation_function"] = f"torch.nn.modules.{home}.{activation}"
            (inner / "config.json").write_text(json.dumps(config | settings))
            tensors = {"linear.weight": torch.randn((32, 32), generator=chance)}
            if bias:
                tensors["linear.bias"] = torch.randn(32, generator=chance)
            save_file(tensors, inner / "model.safetensors", {"format": "pt"})
            kind = "sentence_transformers.models.Dense"
            entries.append({"idx": number, "name": str(number), "path": inner.name, "type": kind})
        modules(*names, **paths)(folder)
        first = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps([*first, *entries]))

    return apply


def with_layer_norm(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    modules("Transformer", "Pooling", "LayerNorm", Pooling="1_Pooling")(folder)
    inner = folder / "2_LayerNorm"
    (inner / "config.json").write_text(json.dumps({"dimension": 32}))
    weights = {"norm.weight": torch.rand(32) + 0.5, "norm.bias": torch.rand(32)}
    save_file(weights, inner / "model.safetensors", {"format": "pt"})


def tensors(new: Callable[[str, Any], tuple[str, Any] | None]) -> Change:
    """Return a change of each tensor's name and value; None leaves it out."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        changed = [new(*item) for item in load_file(folder / "model.safetensors").items()]
        kept = {name: value.contiguous() for name, value in filter(None, changed)}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})

    return apply


def in_dtype(name: str) -> Change:
    def apply(folder: Path) -> None:
        import torch

        tensors(lambda key, value: (key, value.to(getattr(torch, name))))(folder)

    return apply


def with_buffer(folder: Path) -> None:
    """Leave the pooler out, and add the buffer that transformers 4 saved."""
    import torch

    tensors(lambda key, value: None if "pooler" in key else (key, value))(folder)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["embeddings.position_ids"] = torch.arange(64)[None]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def unigram_bert(**settings: Any) -> Change:
    """Return a change to a BERT with the tokenizer of XLM-R, as paraphrase-multilingual-MiniLM."""

    def apply(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        source = FAMILIES / "xlm-roberta-cls-normalize" / "model"
        for name in ("tokenizer.json", "special_tokens_map.json"):
            if (source / name).exists():
                shutil.copy(source / name, folder / name)
        words = load_file(source / "model.safetensors")["embeddings.word_embeddings.weight"]
        weights = load_file(folder / "model.safetensors")
        weights["embeddings.word_embeddings.weight"] = words
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        change("config.json", vocab_size=len(words), pad_token_id=1)(folder)
        names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>"}
        names |= {"pad": "<pad>", "cls": "<s>", "mask": "<mask>"}
        usual: dict[str, Any] = {f"{name}_token": token for name, token in names.items()}
        given = usual | {"model_max_length": 64, "do_lower_case": True} | settings
        (folder / "tokenizer_config.json").write_text(json.dumps(given))
        assert torch.isfinite(words).all()

    return apply


BARE = without("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
LIMIT = "sentence_bert_config.json"
TOKENS = "tokenizer_config.json"
ST = "config_sentence_transformers.json"
FAMILY_NAMES = (
    *(MEAN, "roberta-mean", "xlm-roberta-cls-normalize", "camembert-mean", "distilbert-mean"),
    *("mpnet-mean-normalize", "bert-sharded", "bert-prompts", "bert-lowercase", "bert-plain"),
    *("bert-gelu-tanh", "bert-legacy-names", "bert-config-case", "modern-save"),
)
LAYOUTS |= {name: (name, lambda folder: None) for name in FAMILY_NAMES}
LAYOUTS |= {
    "bare transformer": (MEAN, BARE),
    "bare roberta": ("roberta-mean", BARE),
    "Dropout": (MEAN, modules("Transformer", "Pooling", "Dropout", Pooling="1_Pooling")),
    "Normalize absent": (MEAN, modules("Transformer", "Pooling", Pooling="1_Pooling")),
    **{
        f"pooling {modes}": (MEAN, pooling(*modes))
        for modes in (
            *(("cls",), ("max",), ("mean",), ("mean_sqrt_len_tokens",), ("lasttoken",)),
            *(("cls", "mean"), ("cls", "max", "mean"), ("weightedmean_tokens",)),
        )
    },
    "pooling by name": (
        MEAN,
        together(
            lambda folder: (folder / "1_Pooling" / "config.json").write_text("{}"),
            change("1_Pooling/config.json", pooling_mode=["mean", "max"], embedding_dimension=32),
        ),
    ),
    "include_prompt": (MEAN, pooling("mean", include_prompt=False)),
    "include_prompt with prompts": ("bert-prompts", pooling("mean", include_prompt=False)),
    **{
        f"Dense {activation}": (MEAN, dense(activation))
        for activation in ("Tanh", "GELU", "SiLU", "Sigmoid", "ReLU", "LeakyReLU", "ELU")
    },
    "two Dense without bias": (MEAN, dense("Identity", "Identity", bias=False)),
    "Dense to another name": (MEAN, dense("Tanh", module_output_name="other")),
    "Dense on tokens": (
        MEAN,
        dense("Tanh", module_input_name="token_embeddings", module_output_name="token_embeddings"),
    ),
    "Normalize on tokens": (
        MEAN,
        together(
            modules("Transformer", "Pooling", "Normalize", Pooling="1_Pooling"),
            change("2_Normalize/config.json", module_input_name="token_embeddings"),
        ),
    ),
    "no limit": (MEAN, together(without(LIMIT), change(TOKENS, model_max_length=None))),
    "limit 1e30": (MEAN, together(without(LIMIT), change(TOKENS, model_max_length=10**30))),
    "limit beyond the table": (MEAN, change(LIMIT, max_seq_length=100)),
    "limit below the tokenizer's": (
        MEAN,
        together(change(LIMIT, max_seq_length=16), change(TOKENS, model_max_length=48)),
    ),
    "limit of the tokenizer": (MEAN, together(without(LIMIT), change(TOKENS, model_max_length=20))),
    "limit 8192 over 64 positions": (
        "xlm-roberta-cls-normalize",
        together(without(LIMIT), change(TOKENS, model_max_length=8192)),
    ),
    **{
        f"prefix {prefix}": (family, prefixed(prefix))
        for family, prefix in (
            (MEAN, "bert."),
            ("roberta-mean", "roberta."),
            ("xlm-roberta-cls-normalize", "roberta."),
            ("mpnet-mean-normalize", "mpnet."),
            ("distilbert-mean", "distilbert."),
        )
    },
    "no pooler, position_ids": (MEAN, with_buffer),
    "default prompt": (
        MEAN,
        change(ST, prompts={"query": "query: "}, default_prompt_name="query"),
    ),
    "truncate_dim": (MEAN, change(ST, truncate_dim=12)),
    "auto_map": (MEAN, change("config.json", auto_map={"AutoModel": "own.Own"})),
    "float16": (MEAN, in_dtype("float16")),
    "bfloat16": (MEAN, in_dtype("bfloat16")),
    "float64": (MEAN, in_dtype("float64")),
    # F1: a BERT with the tokenizer of XLM-R
    "unigram, XLMRobertaTokenizer": (MEAN, unigram_bert(tokenizer_class="XLMRobertaTokenizer")),
    "unigram, PreTrainedTokenizerFast": (
        MEAN,
        unigram_bert(tokenizer_class="PreTrainedTokenizerFast"),
    ),
    # F8: what config.json leaves to its class
    **{
        f"{key} absent of {family}": (family, change("config.json", **{key: None}))
        for family, key in (
            ("xlm-roberta-cls-normalize", "pad_token_id"),
            ("mpnet-mean-normalize", "pad_token_id"),
            ("roberta-mean", "pad_token_id"),
            (MEAN, "hidden_act"),
            (MEAN, "layer_norm_eps"),
        )
    },
    # F9 and F15
    "ColBERT of PyLate": (
        MEAN,
        together(
            dense("Identity"), modules("Transformer", "pylate.models.Dense.Dense", Dense="2_Dense")
        ),
    ),
    "is_decoder": (MEAN, change("config.json", is_decoder=True)),
    "truncation_side": (MEAN, change(TOKENS, truncation_side="left")),
    "padding_side": (MEAN, change(TOKENS, padding_side="left")),
    "Transformer not first": (
        MEAN,
        modules("Pooling", "Transformer", Pooling="1_Pooling", Transformer=""),
    ),
    "LayerNorm": (MEAN, with_layer_norm),
    "SPLADE": (MEAN, modules("MLMTransformer", "SpladePooling")),
    "Router": (MEAN, modules("Router")),
    "saved by SparseEncoder": (MEAN, change(ST, model_type="SparseEncoder")),
    "gelu_10": (MEAN, change("config.json", hidden_act="gelu_10")),
    "quick_gelu": (MEAN, change("config.json", hidden_act="quick_gelu")),
    "relative_key_query": (
        MEAN,
        change("config.json", position_embedding_type="relative_key_query"),
    ),
    "rotary": (
        "xlm-roberta-cls-normalize",
        change("config.json", position_embedding_type="rotary"),
    ),
    "alibi": (MEAN, change("config.json", position_embedding_type="alibi")),
    # What config.json says of padding and of layers
    **{
        f"pad_token_id -1 of {family}": (family, change("config.json", pad_token_id=-1))
        for family in (MEAN, "roberta-mean", "mpnet-mean-normalize", "llama-last", "gte-cls")
    },
    "attention by its older name": (
        "modernbert-cls",
        change("config.json", layer_types=["attention", "sliding_attention"] * 2),
    ),
    "layer_types of Mistral": (
        "mistral-last",
        change("config.json", layer_types=["full_attention"] * 2),
    ),
    "layer_types without a window": (
        "qwen2-last",
        change("config.json", layer_types=["sliding_attention"] * 2, use_sliding_window=False),
    ),
    "training prefix": (MEAN, prefixed("0.auto_model.")),
    "unknown names": (MEAN, tensors(lambda key, value: (key.replace("word", "token"), value))),
    "Dense without weights": ("bert-dense-tanh", without("2_Dense/model.safetensors")),
    # Texts within a chat template, cut or not, with a prompt and without
    "chat template of a bare model": ("bert-plain", change(TOKENS, chat_template=CHAT)),
    "chat template of messages": (
        "bert-prompts",
        together(
            change(TOKENS, chat_template=CHAT + "{{ cls_token }}"),
            change("sentence_bert_config.json", modality_config=MESSAGES),
        ),
    ),
    "chat template of parts": (
        MEAN,
        together(
            change(TOKENS, chat_template=PARTS),
            change("sentence_bert_config.json", modality_config=MESSAGES),
            change("sentence_bert_config.json", module_output_name="token_embeddings"),
        ),
    ),
    "chat template that trims": ("bert-plain", change(TOKENS, chat_template=TRIMMED)),
    "chat template without messages": (MEAN, change(TOKENS, chat_template=CHAT)),
}


def of_sentence_transformers(folder: Path, texts: list[str]) -> Any:
    """Return a vector a text; NaN where torch reads beyond its table of positions."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    rows = []
    for text in texts:
        try:
            rows.append(model.encode(text))
        except (IndexError, RuntimeError):
            rows.append(np.full(rows[0].shape, np.nan))
    return np.stack(rows)


TEXTS = [*family_texts(), "a <new> token and [other] ones", "<mask> [MASK]<s>[CLS] </s> [SEP]"]


REFUSED = {
    *("float64", "ColBERT of PyLate", "is_decoder"),
    *("Transformer not first", "SPLADE", "Router", "saved by SparseEncoder", "gelu_10"),
    *("quick_gelu", "relative_key_query", "rotary", "alibi", "unknown names"),
    *("Dense without weights", "layer_types without a window", "chat template that trims"),
}
"""Layouts that are refused by name; the others are those of sentence-transformers."""

BETTER = {"training prefix", "auto_map"}
"""Layouts in which sentence-transformers makes weights up, with a warning, or asks for trust."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_vectors_of_sentence_transformers_or_is_refused_by_name(
    fresh: Settings, tmp_path: Path, name: str
) -> None:
    family, apply = LAYOUTS[name]
    folder = Path(shutil.copytree(FAMILIES / family / "model", tmp_path / "model"))
    apply(folder)
    try:
        vectors = Embedder(folder, pool=Pool()).encode(TEXTS)
    except (UnsupportedModel, ModelIncomplete) as error:
        print("refused", name, error)
        assert name in REFUSED
        return
    if name in BETTER:
        expected = np.load(FAMILIES / family / "vectors.npy")
        vectors = vectors[: len(expected)]
    else:
        expected = of_sentence_transformers(folder, TEXTS)
    assert vectors.shape == expected.shape
    known = ~np.isnan(expected).any(axis=1)
    assert known.mean() > 0.8
    assert cosines(vectors[known], expected[known]).min() > 0.999999
    largest = np.abs(expected[known]).max()
    np.testing.assert_allclose(vectors[known] / largest, expected[known] / largest, atol=1e-4)
    assert name not in REFUSED
