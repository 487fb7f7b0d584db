"""Write the table of docs/catalogue.md: python tests/support/catalogue_page.py, from the root."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hotstart.cli.models import count_shown
from hotstart.models.architectures import FAMILIES
from hotstart.models.catalogue import KnownModel, known_models
from hotstart.models.modules import MASKED_HEADS

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "catalogue.md"
TABLE = re.compile(r"<!-- table -->\n.*<!-- end of the table -->\n", re.DOTALL)
KINDS = {
    "embedding": "Embedding models",
    "static": "Static models",
    "reranker": "Rerankers",
    "sparse": "Sparse models",
    "multi_vector": "Multi-vector models",
}
HEAD = (
    "| model | also named | runs as | dimension | tokens | parameters | languages | license |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def with_onnx() -> set[str]:
    """Return the repositories that ship onnx/model.onnx, as the listings have it."""
    lines = (ROOT / "tests/data/listings.jsonl").read_text(encoding="utf-8").splitlines()
    listings = [json.loads(line) for line in lines]
    return {each["repository"] for each in listings if "onnx/model.onnx" in each["files"]}


def runs_as(known: KnownModel, shipped: set[str]) -> str:
    """Return what runs the model: a built graph, its ONNX file, an engine."""
    family = FAMILIES.get(known.architecture)
    if known.kind == "static":
        return 'engine="static"'
    if known.kind in {"sparse", "multi_vector"}:
        has_head = known.kind == "multi_vector" or known.architecture in MASKED_HEADS
        is_run = family is not None and has_head
        return f'graph, `kind="{known.kind}"`' if is_run else "not yet"
    if family is not None and (known.kind == "embedding" or family.classifier):
        return "graph"
    if known.kind == "reranker":
        return "not yet"
    return "its ONNX file" if known.repository in shipped else 'engine="torch"'


def row(known: KnownModel, shipped: set[str]) -> str:
    spoken = known.languages.split()
    cells = (
        f"[{known.repository}](https://huggingface.co/{known.repository})",
        " ".join(f"`{name}`" for name in known.aliases if name != known.name.lower()) or "",
        runs_as(known, shipped),
        "" if known.dimension is None else str(known.dimension),
        "" if known.max_seq_length is None else f"{known.max_seq_length:,}",
        "" if known.parameters is None else count_shown(known.parameters),
        f"{len(spoken)} languages" if len(spoken) > 4 else ", ".join(spoken),
        known.license,
    )
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """Return the tables of the catalogue, one a kind."""
    models = list(known_models())
    shipped = with_onnx()
    parts = [
        f"\n### {title}\n\n{HEAD}" + "".join(row(m, shipped) for m in models if m.kind == kind)
        for kind, title in KINDS.items()
    ]
    return f"<!-- table -->\n{''.join(parts)}\n<!-- end of the table -->\n"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
