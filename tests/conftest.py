"""Every test has a cache of its own and sees no model of the person who runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from hotstart.config import Settings, read_settings
from support.programs import NO_SKIP

# Examples are slow on a busy machine; no test bounds a time tightly.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that must not skip, as in CI, if it skipped anything."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and os.environ.get(NO_SKIP) and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty machine: no Hugging Face cache, an artifact cache shared by the whole run."""
    home = tmp_path_factory.mktemp("machine")
    os.environ["HOTSTART_CACHE_DIR"] = str(home / "cache")
    os.environ["HF_HOME"] = str(home / "huggingface")
    os.environ["SENTENCE_TRANSFORMERS_HOME"] = str(home / "sentence-transformers")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def _no_load_hangs_on() -> Iterator[None]:
    """A fake model that a test had hang is let go at its end: each fork would wait for it."""
    yield
    fake = sys.modules.get("hotstart.engines.fake")
    if fake is not None:
        for fake_control in list(fake._controls.values()):
            fake_control.release()
        fake._controls.clear()


@pytest.fixture(scope="module", autouse=True)
def _models_end_with_their_module() -> Iterator[None]:
    """Drop what a module loaded: a promotion in one module must not answer in the next."""
    yield
    pools = sys.modules.get("hotstart.pool.pool")
    if pools is not None:
        pool = pools.default_pool()
        for resident in pool.residents():
            pool.drop(resident.key)


@pytest.fixture
def settings() -> Settings:
    """Settings of the run's own machine."""
    return read_settings()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings of a machine on which nothing was ever prepared."""
    monkeypatch.setenv("HOTSTART_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "sentence-transformers"))
    return read_settings()


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code, or a module's command line, in a fresh interpreter."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [sys.executable, *arguments],
            **{"capture_output": True, "text": True, "timeout": 120} | options,
        )

    return run
