"""How good answers are: retrieval sets, and questions about published source packages.

    python -m benchmarks.quality [--sets FOLDER] [--packages FOLDER] [--split SPLIT]
        [--vectors CHUNKS] [--worst]

`--sets` is a folder of retrieval sets (docs.jsonl.gz, queries.jsonl, qrels.tsv each); each document
becomes a file. `--packages` is where the packages of questions.json lie, fetched with `pip` and
`npm` where they are absent. `--vectors` has packages of at most so many chunks ranked with vectors,
too; those are kept in the folder of the packages. Every figure is nDCG@10, distinct files counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.ndcg import DEPTH, ndcg, summary
from benchmarks.questions import measure
from hotstart.search import SearchIndex
from hotstart.search.chunking import Chunk
from hotstart.search.lexical import LexicalIndex
from hotstart.search.store import Store, StoredDocument

ASKED = 60  # chunks to ask for, so that ten files are among them


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


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--split", choices=["dev", "test", "large"])
    parser.add_argument("--vectors", type=int, default=0, metavar="CHUNKS")
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
        measure(options.packages, options.split, options.vectors, options.worst)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
