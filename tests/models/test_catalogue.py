"""The catalogue: its names resolve, its facts have a form, near misses are named."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from hotstart.cli import main
from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelNotFound
from hotstart.models.architectures import FAMILIES
from hotstart.models.catalogue import KnownModel, known_model, known_models, near, search
from hotstart.models.locate import locate
from hotstart.models.spec import ModelSpec, artifact_folder, repository_of, snapshots
from support.catalogue_page import PAGE, table

MODELS = list(known_models())
KINDS = {"embedding", "reranker", "static", "sparse", "multi_vector"}


def test_the_catalogue_has_models_of_every_kind() -> None:
    assert len(MODELS) >= 100
    assert {known.kind for known in MODELS} == KINDS
    assert sum(known.revision is not None for known in MODELS) >= 80


def test_no_two_models_share_a_name() -> None:
    names = Counter(name for known in MODELS for name in known.names)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("known", MODELS, ids=lambda known: known.name)
def test_facts_have_their_form_and_a_source(known: KnownModel) -> None:
    assert known.repository.endswith(f"/{known.name}")
    assert known.revision is None or re.fullmatch(r"[0-9a-f]{40}", known.revision)
    assert {*known.source.split()} <= {"mteb", "fastembed", "card", "package"}
    assert known.source
    assert (known.dimension is None) == (known.kind == "reranker")
    assert known.parameters is None or 1e6 < known.parameters < 1e10
    assert known.max_seq_length is None or 100 <= known.max_seq_length <= 40_000
    assert {*known.prompts} <= {"query", "document"}
    for language in known.languages.split():
        assert re.fullmatch(r"[a-z]{2,3}|code|multilingual", language)


@pytest.mark.parametrize("known", MODELS, ids=lambda known: known.name)
def test_every_name_resolves_to_its_repository(known: KnownModel) -> None:
    for name in known.names:
        assert known_model(name) == known
        assert repository_of(name) == repository_of(name, "reranker") == known.repository


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5"),
        ("mxbai-embed-large", "mixedbread-ai/mxbai-embed-large-v1"),
        ("all-minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("bge-m3", "BAAI/bge-m3"),
        ("snowflake-arctic-embed2", "Snowflake/snowflake-arctic-embed-l-v2.0"),
        ("embeddinggemma", "google/embeddinggemma-300m"),
        ("qwen3-embedding", "Qwen/Qwen3-Embedding-0.6B"),
        ("qwen3-embedding:4b", "Qwen/Qwen3-Embedding-4B"),
        ("paraphrase-multilingual", "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"),
    ],
)
def test_names_of_ollama_resolve(name: str, repository: str) -> None:
    assert repository_of(name) == repository


@pytest.mark.parametrize("name", ["mit", "bert", "en", "mteb", "", 'a"b', "owner/name"])
def test_a_fact_of_a_model_is_no_name(name: str) -> None:
    assert known_model(name) is None


def test_aliases_of_one_model_share_an_artifact(fresh: Settings) -> None:
    names = ["bge-m3", "BAAI/bge-m3", "bge-m3:567m"]
    assert len({artifact_folder(ModelSpec(name), fresh) for name in names}) == 1


def test_the_pinned_commit_comes_first_and_a_cached_main_counts(fresh: Settings) -> None:
    known = known_model("bge-m3")
    assert known
    pinned, main_branch, *_ = snapshots(ModelSpec("bge-m3"), fresh)
    assert (pinned.commit, main_branch.commit) == (known.revision, "main")
    refs = Path(main_branch.repository_folder) / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("b" * 40)
    assert [each.commit for each in snapshots(ModelSpec("bge-m3"), fresh)][:2] == [
        known.revision,
        "b" * 40,
    ]
    unpinned = snapshots(ModelSpec("bge-reranker-base"), fresh)
    assert {each.commit for each in unpinned} == {"main"}  # no pinned commit is known


def test_near_misses_are_named(fresh: Settings) -> None:
    assert near("bge-m33")[0] == "bge-m3"
    assert near("Nomic-Embed-Txt") == ["nomic-embed-text", *near("Nomic-Embed-Txt")[1:]]
    assert near("something else entirely") == []
    with pytest.raises(ModelNotFound, match=r"Did you mean bge-m3\? Otherwise run: hotstart"):
        locate(ModelSpec("bge-m33"), fresh)
    with pytest.raises(ModelNotFound, match=r"machine .*\)\. Run: hotstart models pull bge-m3"):
        locate(ModelSpec("bge-m3"), fresh)
    with pytest.raises(InvalidInput, match=r"qwen3-embedding:4b"):
        locate(ModelSpec("qwen3-embedding:3b"), fresh)


def names_of(*words: str) -> list[str]:
    return [known.name for known in search([*words])]


def test_search_finds_names_kinds_licenses_and_languages() -> None:
    assert names_of("nomic-embed-text:v1.5") == ["nomic-embed-text-v1.5"]
    assert "FRIDA" in names_of("russian", "mit")
    assert names_of("Russian") == names_of("ru")
    assert {known.kind for known in search(["reranker"])} >= {"reranker"}
    assert names_of("gemma3_text") == ["harrier-oss-v1-270m", "embeddinggemma-300m"]
    assert "bge-m3" in names_of("multilingual")
    assert names_of("bge", "no-such-word") == []


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "search", "static", "mit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["MODEL", "KIND"]
    assert re.fullmatch(r"potion-base-8M +static +256 +- +7\.56M +en +mit", lines[1])
    assert main(["models", "search", "nomic-embed-text-v1.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["prompts"]["query"] for each in found] == ["search_query: "]
    assert main(["models", "search", "bge-m33"]) == 1
    assert "Did you mean bge-m3?" in capsys.readouterr().err


def test_a_known_reranker_needs_no_kind(
    capsys: pytest.CaptureFixture[str], fresh: Settings
) -> None:
    assert main(["models", "show", "bge-reranker-base"]) == 1
    assert "models pull bge-reranker-base --kind reranker" in capsys.readouterr().err


def test_the_page_of_the_catalogue_is_up_to_date() -> None:
    """Run `python tests/support/catalogue_page.py` to write it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page


def test_every_name_that_the_page_recommends_is_known() -> None:
    text = PAGE.read_text(encoding="utf-8")
    advice = text[text.index("| for | a first try |") : text.index("## The table")]
    names = re.findall(r"`([^`]+)`", advice)
    assert len(names) >= 20
    assert [name for name in names if known_model(name) is None] == []


def test_most_models_have_an_architecture_of_the_builder() -> None:
    """Those of transformers' own copies (mT5, Llama) are of no model of the catalogue."""
    built = [known for known in MODELS if known.architecture in FAMILIES]
    assert len(built) >= 105
