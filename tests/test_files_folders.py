from __future__ import annotations

import os
from pathlib import Path

from hotstart.files import beside, place_folder, remove_leftovers


def test_a_folder_is_placed_over_another(tmp_path: Path) -> None:
    for content in ("old", "new"):
        staged = Path(beside(str(tmp_path / "folder")))
        (staged / "inner").mkdir(parents=True)
        (staged / "inner" / "file").write_text(content)
        place_folder(str(staged), str(tmp_path / "folder"))
    assert (tmp_path / "folder" / "inner" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["folder"]


def test_leftovers_of_one_name_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / ".folder.1-ab").mkdir()
    (tmp_path / ".folder.2-cd").touch()
    (tmp_path / ".folders.3-ef").touch()
    remove_leftovers(str(tmp_path / "folder"))
    assert os.listdir(tmp_path) == [".folders.3-ef"]
