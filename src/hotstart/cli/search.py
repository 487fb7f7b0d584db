"""`hotstart search`: the best chunks for a question, and how they were found."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from dataclasses import asdict

from hotstart.embedder import Embedder
from hotstart.search import Answer, Hit, SearchIndex

_LINES, _WIDTH = 3, 96


def run(arguments: argparse.Namespace) -> int:
    """Search and print the answer."""
    index = SearchIndex.nearest(arguments.path, Embedder(arguments.model))
    answer = index.search(arguments.query, top_k=arguments.top_k, deadline=arguments.deadline)
    if arguments.json:
        print(json.dumps(asdict(answer), ensure_ascii=False, indent=1))
    else:
        for hit in answer.hits:
            print(_as_text(hit))
        print(_summary(answer))
    return 0


def _as_text(hit: Hit) -> str:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    place = f"{bold}{hit.path}:{hit.start_line}{plain}"
    lines = [line for line in hit.text.splitlines() if line.strip()][:_LINES]
    shown = [textwrap.shorten(line, _WIDTH, placeholder=" …") for line in lines]
    return "\n".join([f"{place}  {hit.heading}".rstrip(), *(f"    {s}" for s in shown), ""])


def _summary(answer: Answer) -> str:
    """How long the answer took, in which mode, and with which engine."""
    count = f"{len(answer.hits)} result{'' if len(answer.hits) == 1 else 's'}"
    parts = [f"{count} in {answer.seconds:.3f} s", f"mode {answer.mode}"]
    parts.append(f"engine {answer.engine} ({answer.model})" if answer.model else "no engine")
    if answer.reason:
        parts.append(answer.reason)
    return " · ".join(parts)
