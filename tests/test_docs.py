"""The documentation is tested: its programs run, its commands exist, its links lead somewhere."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hotstart.cli.parser import build_parser
from support.golden import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def programs() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
            yield f"{page.name}-{number}", code


def environment_of(program: str) -> list[pytest.MarkDecorator]:
    """The frameworks that a program on integrations shows have an environment of their own."""
    return [pytest.mark.integrations] if program.startswith("integrations.md") else []


def options(parser: argparse.ArgumentParser, path: str = "hotstart") -> Iterator[tuple[str, str]]:
    """Every (command, option) that can be typed."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield f"{path} {name}", ""
                yield from options(inner, f"{path} {name}")
        else:
            for option in action.option_strings:
                if option.startswith("--") and option not in {"--help", "--version"}:
                    yield path, option


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=name, marks=environment_of(name)) for name, code in programs()]
)
def test_a_program_in_the_documentation_runs(
    python: Callable[..., CompletedProcess[str]], code: str
) -> None:
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("command", "option"), sorted(set(options(build_parser()))))
def test_every_command_and_option_is_documented(command: str, option: str) -> None:
    assert command in COMMANDS
    assert option in COMMANDS


def test_every_documented_option_exists() -> None:
    known = {option for _, option in options(build_parser())}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", COMMANDS)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_house_drawn_in_the_design_is_the_house() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    drawn = design[design.index("src/hotstart/") : design.index("tests/       mirrors")]
    source = ROOT / "src" / "hotstart"
    for path in source.iterdir():
        if path.suffix == ".py" and path.stem not in {"__main__"}:
            assert path.name in drawn, path.name
        elif path.is_dir() and path.name != "__pycache__":
            assert f"{path.name}/" in drawn, path.name
    for name in re.findall(r"\b(\w+\.py)\b", drawn):
        assert (source / name).exists(), name


def test_the_targets_of_the_readme_are_in_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^    |`)make ([a-z-]+)", readme, re.M))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
