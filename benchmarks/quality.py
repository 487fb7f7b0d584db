"""How good lexical answers are: retrieval sets, and questions about published source packages.

    python -m benchmarks.quality [--sets FOLDER] [--packages FOLDER] [--split SPLIT] [--worst]

`--sets` is a folder of retrieval sets (docs.jsonl.gz, queries.jsonl, qrels.tsv each); each document
becomes a file. `--packages` is where the packages of questions.json lie, fetched with `pip` and
`npm` where they are absent. Every figure is nDCG@10, distinct files counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hotstart.search import SearchIndex
from hotstart.search.chunking import Chunk
from hotstart.search.lexical import LexicalIndex
from hotstart.search.store import Store, StoredDocument

QUESTIONS = Path(__file__).with_name("questions.json")
DEPTH = 10
ASKED = 60  # chunks to ask for, so that ten files are among them


def ndcg(ranking: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return nDCG@10 of distinct names with graded relevance."""
    gains = [relevant.get(name, 0.0) for name in list(dict.fromkeys(ranking))[:DEPTH]]
    best = sorted(relevant.values(), reverse=True)[:DEPTH]
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(best))
    found = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
    return found / ideal if ideal else 0.0


def summary(values: Sequence[float]) -> str:
    """Return the mean and its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {error:.3f}"


# Retrieval sets -------------------------------------------------------------------------------


def read_set(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, str]], dict[str, Any]]:
    """Return the documents, the queries that have answers, and the answers of each query."""
    with gzip.open(folder / "docs.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    relevant: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")
        if grade.replace(".", "").isdigit() and float(grade) > 0:
            relevant[query][document] = float(grade)
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [query for query in map(json.loads, lines) if str(query["id"]) in relevant]
    return documents, queries, relevant


def measure_set(folder: Path) -> None:
    """Print a set's figures: files through the product, and whole documents by words alone."""
    documents, queries, relevant = read_set(folder)
    with tempfile.TemporaryDirectory() as place:
        names = {}
        for number, each in enumerate(documents):
            title = each.get("title") or ""
            path = f"{number}.md" if title else f"{number}.txt"
            names[path] = str(each["id"])
            text = f"# {title}\n\n{each['text']}\n" if title else each["text"]
            Path(place, path).write_text(text, encoding="utf-8")
        index = SearchIndex(place)
        index.update()
        files = []
        for query in queries:
            hits = index.search(query["text"], top_k=ASKED).hits
            ranking = [names[hit.path] for hit in hits]
            files.append(ndcg(ranking, relevant[str(query["id"])]))
        with Store(os.path.join(place, "whole.db")) as store:
            with store.transaction():
                for path, each in zip(names, documents, strict=True):
                    title = each.get("title") or ""
                    text = f"# {title}\n\n{each['text']}" if title else each["text"]
                    whole = Chunk(text, title, 1, 1)
                    store.put(path, StoredDocument(0, 0, ""), [whole])
            names_by_id = {p.id: names[p.path] for p in store.chunks_after(0)}
            lexical = LexicalIndex(os.path.join(place, "whole"))
            lexical.rebuild(store)
            alone = []
            for query in queries:
                found = lexical.search(query["text"], DEPTH)
                ranking = [names_by_id[match[0]] for match in found]
                alone.append(ndcg(ranking, relevant[str(query["id"])]))
    print(f"{folder.name:12} files {summary(files)}   whole documents {summary(alone)}", flush=True)


# Questions about packages -----------------------------------------------------------------------


def fetch(package: Mapping[str, Any], folder: Path) -> Path:
    """Return the unpacked sources of a package; download them where they are absent."""
    place = Path(folder, package["name"])
    if place.is_dir():
        return place
    with tempfile.TemporaryDirectory() as download:
        requirement = package["requirement"]
        if package["registry"] == "npm":
            command = ["npm", "pack", "--silent", requirement]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", ":all:", requirement]
        subprocess.run(command, cwd=download, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(download).iterdir()
        unpacked = Path(download, "unpacked")
        if archive.suffix == ".zip":
            zipfile.ZipFile(archive).extractall(unpacked)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
        (top,) = unpacked.iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(str(top), place)
    return place


def measure_questions(folder: Path, split: str | None, worst: bool) -> None:
    """Print the figures of each package and of all, for the questions of `split`."""
    data = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    every: list[float] = []
    firsts = 0
    for package in data["packages"]:
        if split not in {None, package["split"]}:
            continue
        root = fetch(package, folder)
        index = SearchIndex(root)
        index.update()
        values = []
        for question in package["questions"]:
            relevant = question["files"]
            missing = [path for path in relevant if not (root / path).is_file()]
            assert not missing, missing
            hits = index.search(question["query"], top_k=ASKED).hits
            ranking = list(dict.fromkeys(hit.path for hit in hits))
            values.append(ndcg(ranking, relevant))
            firsts += bool(ranking) and ranking[0] in relevant
            if worst and values[-1] < 1:
                print(
                    f"  {values[-1]:.2f} {question['query']!r} {ranking[:4]} not {list(relevant)}"
                )
        every += values
        if values:
            print(f"{package['name']:14} {package['language']:12} {summary(values)}", flush=True)
    print(f"{'all':27} {summary(every)}   right file first {firsts} of {len(every)}")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--split", choices=["dev", "test", "large"])
    parser.add_argument("--worst", action="store_true", help="print the questions answered badly")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.sets:
        if not options.sets.is_dir():
            print(f"{options.sets} is not there: no retrieval sets are measured")
        else:
            for folder in sorted(each for each in options.sets.iterdir() if each.is_dir()):
                measure_set(folder)
    if options.packages:
        measure_questions(options.packages, options.split, options.worst)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
