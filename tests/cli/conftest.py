from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "guide.md").write_text(
        "# Guide\n\n## Eviction\n\nModels idle longest are unloaded first under pressure.\n\n"
        "## Colours\n\nThe sky is blue in summer.\n"
    )
    (root / "app.py").write_text("def load_model(name):\n    return name\n")
    (root / "ignored.txt").write_text("secret")
    (root / ".gitignore").write_text("ignored.txt\n")
    (root / "blob.bin").write_bytes(b"\0\1\2" * 100)
    return root
