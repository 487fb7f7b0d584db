"""A transformers pipeline with a tiny model, in the environment that has torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hotstart.errors import DownloadFailed, ModelDamaged, ModelNotFound
from hotstart.kinds.sentiment import load, predict
from kinds.malice import check_progress, material

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

TEXTS = ["a good day", "bad", "good good bad " * 100]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    path = tmp_path_factory.mktemp("sentiment")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "day"]
    (path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(path / "vocab.txt"), model_max_length=32).save_pretrained(path)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    config = BertConfig(
        vocab_size=len(words),
        intermediate_size=16,
        max_position_embeddings=32,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
        **sizes,
    )
    BertForSequenceClassification(config).save_pretrained(path)
    return path


def test_answers_equal_those_of_the_pipeline(folder: Path) -> None:
    from transformers import pipeline

    expected = pipeline("text-classification", str(folder), device="cpu")(TEXTS, truncation=True)
    answers = predict(load(material(folder), check_progress), TEXTS, material(folder))
    assert [answer["label"] for answer in answers] == [e["label"].lower() for e in expected]
    assert [answer["score"] for answer in answers] == pytest.approx([e["score"] for e in expected])


def test_threads_load_and_predict_concurrently(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: load(material(folder), check_progress), range(4)))
        answers = list(threads.map(lambda n: models[n % 2].predict(TEXTS), range(16)))
    assert {tuple(answer.label for answer in each) for each in answers} == {
        tuple(answer.label for answer in answers[0])
    }


def test_a_missing_model_raises(tmp_path: Path, fresh: object) -> None:
    with pytest.raises(ModelNotFound, match="allow_download"):
        load(material("somebody/no-such-model"), check_progress)
    with pytest.raises(ModelNotFound):
        load(material("somebody/no-such-model", options={"allow_download": "yes"}), check_progress)
    with pytest.raises(ModelDamaged):
        load(material(tmp_path), check_progress)


def test_a_failed_download_raises(monkeypatch: pytest.MonkeyPatch, fresh: object) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailed):
        load(material("somebody/no-such-model", options={"allow_download": True}), check_progress)


def test_code_in_a_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["auto_map"] = {
        "AutoConfig": "code.Config",
        "AutoModelForSequenceClassification": "code.M",
    }
    path.write_text(json.dumps(config | {"model_type": "unheard-of"}))
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'mark')!r}).touch()"
    (tmp_path / "model" / "code.py").write_text(code)
    with pytest.raises(ModelDamaged):
        load(material(tmp_path / "model"), check_progress)
    assert not (tmp_path / "mark").exists()
