from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hotstart import SearchIndex
from hotstart.errors import IndexDamaged, IndexMissing, InvalidInput
from hotstart.search.location import IndexLocation, locate, stored_location

Plant = Callable[[Mapping[str, str]], str]

FILES = {"docs/a.md": "apples", "src/b.py": "x = 'pears'", "other/c.md": "cherries"}


def paths(index: SearchIndex, query: str) -> list[str]:
    return [hit.path for hit in index.search(query).hits]


def folders_of(root: str, *names: str) -> list[str]:
    return [os.path.join(root, name) for name in names]


def test_several_folders_are_searched_by_one_index(plant: Plant, tmp_path: Path) -> None:
    root = plant(FILES | {"src/hotstart.toml": "[search]\nexclude = ['*.toml', 'skip']"})
    plant({"src/skip/d.md": "pears"})
    store = tmp_path / "store"
    index = SearchIndex(folders_of(root, "docs", "src"), store=store)
    assert index.path == root
    assert index.update().added == 2
    assert paths(index, "pears") == ["src/b.py"]
    assert paths(index, "cherries") == []
    assert not os.path.exists(os.path.join(root, ".hotstart"))
    again = SearchIndex.stored(store)
    assert paths(again, "apples") == ["docs/a.md"]
    assert again.update().unchanged == 2


def test_a_folder_is_added_to_the_index_of_others(plant: Plant, tmp_path: Path) -> None:
    root = plant(FILES)
    store = tmp_path / "store"
    assert SearchIndex(folders_of(root, "docs"), store=store).update().added == 1
    wider = SearchIndex(folders_of(root, "docs", "other"), store=store)
    wider.update()
    assert sorted(paths(wider, "apples cherries")) == ["docs/a.md", "other/c.md"]


def test_the_store_of_other_folders_is_refused(plant: Plant, tmp_path: Path) -> None:
    root = plant(FILES)
    store = tmp_path / "store"
    SearchIndex(folders_of(root, "docs"), store=store).update()
    with pytest.raises(InvalidInput, match="store must be the store of these folders or a new one"):
        SearchIndex(folders_of(root, "src"), store=store).update()
    with pytest.raises(InvalidInput, match="store must be a new or empty folder"):
        SearchIndex(folders_of(root, "src"), store=folders_of(root, "other")[0]).update()
    assert paths(SearchIndex.stored(store), "apples") == ["a.md"]


def test_a_store_in_its_folder_is_not_indexed(plant: Plant) -> None:
    root = plant(FILES)
    index = SearchIndex(root, store=os.path.join(root, "index"))
    for _ in range(2):
        assert index.update().skipped == {}
    assert paths(index, "apples") == ["docs/a.md"]


def test_several_folders_need_a_store(plant: Plant) -> None:
    root = plant(FILES)
    with pytest.raises(InvalidInput, match="path must be one folder, or several with a store"):
        SearchIndex(folders_of(root, "docs", "src"))
    with pytest.raises(InvalidInput, match="path must be a folder"):
        SearchIndex([])
    inner = locate([root, *folders_of(root, "docs")])
    assert inner.folders == (root,)  # of a folder and one in it, the outer


def test_a_folder_that_is_gone_costs_nothing(plant: Plant, tmp_path: Path) -> None:
    root = plant(FILES)
    index = SearchIndex(folders_of(root, "docs", "src"), store=tmp_path / "store")
    index.update()
    os.rename(os.path.join(root, "src"), os.path.join(root, "away"))
    with pytest.raises(InvalidInput, match="path must be a folder that exists"):
        index.update()
    assert paths(index, "pears") == ["src/b.py"]


def test_the_index_of_a_folder_that_cannot_be_written_is_in_the_cache(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTSTART_CACHE_DIR", str(tmp_path / "cache"))
    root = plant(FILES)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != root and access(path, mode))
    index = SearchIndex(root)
    assert index.update().added == 3
    assert not os.path.exists(os.path.join(root, ".hotstart"))
    assert paths(SearchIndex.nearest(os.path.join(root, "docs")), "apples") == ["docs/a.md"]
    monkeypatch.setattr(os, "access", access)
    assert SearchIndex(root).update().unchanged == 3  # what is known is kept
    (home,) = (tmp_path / "cache" / "indexes").iterdir()
    assert stored_location(str(home)) == IndexLocation(str(home), root, (root,))


def test_one_of_several_folders_that_cannot_be_read_keeps_its_documents(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant(FILES)
    index = SearchIndex(folders_of(root, "docs", "src"), store=tmp_path / "store")
    index.update()
    scandir = os.scandir
    shut = os.path.join(root, "src")

    def refuse(path: str) -> object:
        if path == shut:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = index.update()
    assert (report.removed, report.kept) == (0, 1)
    assert report.skipped_files == {"src/": "unreadable"}
    alone = SearchIndex(shut, store=tmp_path / "alone")
    monkeypatch.setattr(os, "scandir", scandir)
    alone.update()
    monkeypatch.setattr(os, "scandir", refuse)
    assert alone.update().kept == 1
    assert alone.update().skipped_files == {"./": "unreadable"}


def test_a_store_without_an_index_or_with_a_damaged_record(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing, match="Run: hotstart index PATH --store"):
        SearchIndex.stored(tmp_path)
    for record in ("{}", "[", '{"folders": 1}', '{"folders": [1]}'):
        (tmp_path / "folders.json").write_text(record)
        with pytest.raises(IndexDamaged, match="its record cannot be read"):
            SearchIndex.stored(tmp_path)
