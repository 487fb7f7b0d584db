"""The frameworks have an environment of their own: their tests are read only where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hotstart.engines.fake import forget_fake_control
from integrations.asking import Fake
from support.golden import FAMILIES

WITH_FRAMEWORKS = {
    *("test_chroma.py", "test_haystack.py", "test_langchain.py", "test_llama_index.py"),
    *("test_pickling.py", "test_pipecat.py", "test_ray_serve.py", "test_ray_serve_slots.py"),
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked_for = config.getoption("markexpr") == "integrations"
    return True if collection_path.name in WITH_FRAMEWORKS and not asked_for else None


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> Iterator[None]:
    """No framework tells its makers of a test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANONYMIZED_TELEMETRY", "False")  # Chroma
        patch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
        yield


@pytest.fixture
def prompted() -> str:
    """A tiny model that has prompts for questions and for documents."""
    return str(FAMILIES / "bert-prompts" / "model")


@pytest.fixture
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """A fake model of this test's own."""
    fake = Fake(request.node.nodeid)
    yield fake
    forget_fake_control(fake.name)
