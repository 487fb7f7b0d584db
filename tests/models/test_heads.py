"""The head of a reranker, and unsupported settings of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hotstart import Reranker
from hotstart.config import Settings
from hotstart.errors import LoadFailed, ModelDamaged, UnsupportedModel, WrongKind
from hotstart.models.configuration import read_config_files
from hotstart.models.description import Description, describe
from hotstart.models.heads import TASK_HEADS
from hotstart.models.metadata import read_metadata
from hotstart.models.modules import Pooling
from hotstart.models.spec import ModelSpec, artifact_folder, repository_of
from hotstart.pool.loader import ensure
from hotstart.pool.pool import Pool
from hotstart.preparation.prepare import remove
from support.golden import FAMILIES, RERANKERS

IDENTITY = "torch.nn.modules.linear.Identity"


@pytest.fixture
def changed(tmp_path: Path) -> Any:
    """A copy of a model's folder with settings changed."""

    def make(name: str, file: str, **changes: Any) -> str:
        folder = tmp_path / "model"
        if not folder.exists():
            shutil.copytree(RERANKERS / name / "model", folder)
        path = folder / file
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | changes))
        return str(folder)

    return make


def described(name: str) -> Description:
    return describe(str(RERANKERS / name / "model"), name, "reranker")


@pytest.mark.parametrize(
    ("name", "labels", "activation", "segments"),
    [
        ("bert", 1, "sigmoid", True),
        ("bert-modern", 1, "tanh", True),
        ("bert-three-labels", 3, "identity", True),
        ("bert-legacy-activation", 1, "identity", True),
        ("roberta", 1, "identity", False),
        ("xlm-roberta", 1, "sigmoid", False),
        ("camembert", 1, "sigmoid", False),
        ("distilbert", 2, "identity", False),
        ("mpnet", 1, "sigmoid", False),
    ],
)
def test_description_reads_labels_activation_and_segments(
    name: str, labels: int, activation: str, segments: bool
) -> None:
    model = described(name)
    assert model.classifier is not None
    assert (len(model.classifier.labels), model.classifier.activation) == (labels, activation)
    assert (model.dimension, model.segments) == (labels, segments)
    assert model.pipeline.pooling == Pooling(("cls",))


@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids"]])
def test_segments_are_off_if_the_tokenizer_gives_none(changed: Any, names: list[str]) -> None:
    folder = changed("bert", "tokenizer_config.json", model_input_names=names)
    assert not describe(folder, "m", "reranker").segments


@pytest.mark.parametrize(
    ("path", "activation"),
    [
        ("torch.nn.Softmax", "softmax"),
        ("torch.nn.modules.activation.Sigmoid", "sigmoid"),
        (IDENTITY, "identity"),
        ("torch.nn.modules.activation.ReLU", "relu"),
        (None, "sigmoid"),
    ],
)
def test_an_activation_is_recognised_by_its_name(
    changed: Any, path: str | None, activation: str
) -> None:
    folder = changed("bert", "config.json", sentence_transformers={"activation_fn": path})
    model = describe(folder, "m", "reranker")
    assert model.classifier is not None
    assert model.classifier.activation == activation


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "config.json",
            {"sentence_transformers": {"activation_fn": "torch.nn.GELU"}},
            "activation 'torch.nn.GELU'",
        ),
        (
            "config.json",
            {"sbert_ce_default_activation_function": "mine.Sigmoid"},
            "activation 'mine.Sigmoid'",
        ),
        ("config.json", {"architectures": ["BertModel"]}, "architecture .*BertModel"),
        ("config.json", {"model_type": "xlnet"}, "architecture 'xlnet'"),
        ("sentence_bert_config.json", {"transformer_task": "text-generation"}, "transformer_task"),
    ],
)
def test_unsupported_settings_raise(
    changed: Any, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = changed("bert", file, **changes)
    if file != "config.json":  # a bare transformer has none of these settings
        entry = {"type": "sentence_transformers.models.Transformer", "path": ""}
        Path(folder, "modules.json").write_text(json.dumps([entry]))
    with pytest.raises(UnsupportedModel, match=message):
        describe(folder, "m", "reranker")


def test_an_embedding_model_raises_as_a_reranker() -> None:
    folder = str(FAMILIES / "bert-mean-normalize" / "model")
    with pytest.raises(WrongKind, match=r"an embedding model.* Use Embedder\.encode\."):
        describe(folder, "m", "reranker")
    bare = str(FAMILIES / "bert-plain" / "model")
    with pytest.raises(UnsupportedModel, match=r"BertModel.*Load it with Embedder"):
        describe(bare, "m", "reranker")


def test_labels_that_differ_from_the_weights_raise(changed: Any, fresh: Settings) -> None:
    folder = changed("bert", "config.json", id2label={"0": "a", "1": "b"})
    with pytest.raises(ModelDamaged, match=r"1 outputs in its weights, 2 in config\.json"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


def test_an_encoder_without_a_classifier_is_named(changed: Any, fresh: Settings) -> None:
    source = FAMILIES / "bert-plain" / "model" / "model.safetensors"
    folder = changed("bert", "config.json", architectures=None)
    shutil.copy(source, folder)
    with pytest.raises(UnsupportedModel, match=r"no tensor.*classifier\.weight"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


def test_a_missing_classifier_raises(changed: Any, fresh: Settings) -> None:
    folder = changed("bert", "config.json", model_type="roberta")
    with pytest.raises((UnsupportedModel, LoadFailed), match="no tensor"):
        Reranker(folder, pool=Pool()).predict(("a", "b"))


def test_the_record_contains_the_classifier(fresh: Settings) -> None:
    spec = ModelSpec(str(RERANKERS / "bert-three-labels" / "model"), kind="reranker")
    artifact = ensure(spec, fresh)
    assert artifact.metadata.classifier == described("bert-three-labels").classifier
    assert read_metadata(artifact.folder) == artifact.metadata


def test_kind_is_part_of_identity_and_of_a_rerankers_path(fresh: Settings) -> None:
    plain, kind = ModelSpec("owner/name"), ModelSpec("owner/name", kind="reranker")
    assert plain != kind
    assert artifact_folder(plain, fresh).endswith("/owner--name/onnx-float32")
    assert artifact_folder(kind, fresh).endswith("/owner--name/reranker-onnx-float32")
    assert repository_of("ms-marco-MiniLM-L6-v2", "reranker").startswith("cross-encoder/")


def test_remove_removes_every_kind_of_a_model(fresh: Settings) -> None:
    source = str(RERANKERS / "bert" / "model")
    spec = ModelSpec(source, kind="reranker")
    ensure(spec, fresh)
    ensure(ModelSpec(source), fresh)
    assert remove(spec, fresh)
    assert not remove(ModelSpec(source), fresh)


def test_two_rerankers_have_two_fingerprints(changed: Any, fresh: Settings) -> None:
    one = ensure(ModelSpec(str(RERANKERS / "bert" / "model"), kind="reranker"), fresh)
    folder = changed("bert", "config.json", sbert_ce_default_activation_function=IDENTITY)
    other = ensure(ModelSpec(folder, kind="reranker"), fresh)
    assert one.metadata.fingerprint != other.metadata.fingerprint


def test_a_language_model_without_the_tokens_of_its_score_is_refused() -> None:
    folder = str(RERANKERS / "qwen3-score" / "model")
    files = read_config_files(folder, "", "tokenizer.json", ())
    config = files.config | {"architectures": ["Qwen3ForCausalLM"]}
    with pytest.raises(UnsupportedModel, match="without the tokens"):
        TASK_HEADS["reranker"](files._replace(config=config), True)
