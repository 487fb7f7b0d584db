"""What is told of a model before it is loaded, and that nothing is loaded for it."""

from __future__ import annotations

import sys

import pytest

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import check_source, foresee, info_without_loading, prepare_artifact
from hotstart.pool.pool import Pool
from support.golden import FAMILIES

FOLDER = str(FAMILIES / "bert-prompts" / "model")


def test_an_artifact_tells_all_of_it() -> None:
    spec = ModelSpec(FOLDER)
    metadata = prepare_artifact(spec).metadata
    card = info_without_loading(spec)
    assert card is not None
    assert card.prompts == metadata.prompts
    assert card.fingerprint == metadata.vector_space
    assert card.dimension == metadata.dimension


@pytest.mark.parametrize(
    ("source", "dimension"),
    [
        ("openai:text-embedding-3-large", 3072),
        ("openai:unheard-of", None),
        ("openai:text-embedding-3-large@http://h/v1", None),
        ("tei:http://h", None),
    ],
)
def test_an_address_tells_what_is_published(source: str, dimension: int | None) -> None:
    spec = ModelSpec(source, engine="remote")
    card = info_without_loading(spec)
    assert card is not None
    assert card.dimension == dimension
    assert card.fingerprint.startswith("remote-")
    facts = foresee(spec)
    assert (facts and facts.dimension) == dimension
    assert facts is None or facts.max_seq_length == sys.maxsize


def test_addresses_have_spaces_of_their_own() -> None:
    sources = ["openai:a", "openai:b", "openai:a@http://h/v1", "tei:http://h", "hotstart:http://h"]
    cards = [info_without_loading(ModelSpec(source, engine="remote")) for source in sources]
    assert len({card.fingerprint for card in cards if card}) == len(sources)


def test_a_folder_of_another_engine_tells_nothing() -> None:
    assert info_without_loading(ModelSpec(FOLDER, engine="torch")) is None
    assert foresee(ModelSpec(FOLDER, engine="static")) is None


def test_an_address_that_cannot_be_read_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidInput):
        check_source(ModelSpec("tei:nowhere", engine="remote"))
    check_source(ModelSpec("anything at all"))


def test_a_model_that_is_loaded_tells_better_than_what_was_foreseen() -> None:
    embedder = Embedder("fake:dimension=7", pool=Pool())
    model = embedder._model
    assert model.known_info() == info_without_loading(embedder._spec)
    embedder.encode("a")
    with embedder._instance.lease() as loaded:
        assert model.known_info() is loaded.info
    embedder.unload()
    assert model.known_info() is loaded.info
