"""How good answers are: retrieval sets, and questions about published source packages.

    python -m benchmarks.quality [--sets FOLDER] [--queries NUMBER] [--packages FOLDER]
        [--split SPLIT] [--vectors CHUNKS] [--worst]

`--sets` is a folder of retrieval sets (docs.jsonl.gz, queries.jsonl, qrels.tsv each); each document
becomes a file. `--queries` bounds the queries of a set; they are taken at equal distances.
`--packages` is where the packages of questions.json lie, fetched with `pip` and `npm` where they
are absent. `--vectors` has folders of at most so many chunks ranked with vectors, too; those are
kept in the folder of the packages. Every figure is nDCG@10, distinct files counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.ndcg import ndcg, summary
from benchmarks.questions import COLUMNS, measure, rankings_of, row
from hotstart import Embedder

MODEL = "all-MiniLM-L6-v2"


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


def measure_set(
    folder: Path, embedder: Embedder | None, most_chunks: int, most_queries: int | None
) -> None:
    """Print the figures of a set; with vectors, if it has at most `most_chunks` chunks."""
    documents, queries, relevant = read_set(folder)
    queries = queries[:: max(1, len(queries) // (most_queries or len(queries)))]
    with tempfile.TemporaryDirectory() as place:
        names = {}
        for number, each in enumerate(documents):
            title = each.get("title") or ""
            path = f"{number}.md" if title else f"{number}.txt"
            names[path] = str(each["id"])
            text = f"# {title}\n\n{each['text']}\n" if title else each["text"]
            Path(place, path).write_text(text, encoding="utf-8")
        rankings = rankings_of(Path(place), embedder, most_chunks)
        cells = []
        for column in COLUMNS:
            gains = [
                ndcg(
                    [names[path] for path in rankings[column](query["text"])],
                    relevant[str(query["id"])],
                )
                for query in queries
                if column in rankings
            ]
            cells.append(summary(gains) if gains else "–")
    print(row(folder.name, str(len(queries)), "", cells), flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--queries", type=int, metavar="NUMBER")
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--split", choices=["dev", "test", "large"])
    parser.add_argument("--vectors", type=int, default=0, metavar="CHUNKS")
    parser.add_argument("--worst", action="store_true", help="print the questions answered badly")
    options = parser.parse_args()
    began = time.perf_counter()
    embedder = None
    if options.vectors:
        kept = options.packages or Path(tempfile.gettempdir())
        embedder = Embedder(MODEL, cache=f"sqlite:{kept}/vectors.db")
    if options.sets and not options.sets.is_dir():
        print(f"{options.sets} is not there: no retrieval sets are measured")
    elif options.sets:
        print(row("retrieval sets", "n", "", COLUMNS))
        for folder in sorted(each for each in options.sets.iterdir() if each.is_dir()):
            measure_set(folder, embedder, options.vectors, options.queries)
    if options.packages:
        measure(options.packages, options.split, embedder, options.vectors, options.worst)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
