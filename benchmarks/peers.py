"""What is compared: each peer as its own documentation says to use it, as source text.

The snippets are what a user would write, and the programs below are nothing but those snippets
and the clock around them. `MODEL`, `EXPORT` and `TEXTS` are paths put before each program;
`text` and `texts` are what is to be embedded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REFERENCE = "sentence-transformers"
SUBJECT = "hotstart"
PLAIN = "hotstart, as a list"
FLOOR = "bare python"
IDLE_LOOP = "idle loop"


@dataclass(frozen=True)
class Peer:
    """One way to get vectors in Python.

    Attributes:
        imports: the import statements of a user's program.
        load: the statements that make `model`.
        one: the expression for the vector of `text`.
        many: the expression for the vectors of `texts`, in order.
        serves: whether the warm figures are taken too; a mere variant of a start is not repeated.
        cold_cache: whether each process gets an empty cache folder.
    """

    name: str
    imports: str = ""
    load: str = ""
    one: str = "[]"
    many: str = "[]"
    serves: bool = True
    cold_cache: bool = False


_FASTEMBED_LOAD = """\
TextEmbedding.add_custom_model(
    model="local/all-MiniLM-L6-v2",
    pooling=PoolingType.MEAN,
    normalization=True,
    sources=ModelSource(hf="local/all-MiniLM-L6-v2"),
    dim=384,
    model_file="model.onnx",
)
model = TextEmbedding("local/all-MiniLM-L6-v2", specific_model_path=EXPORT)"""

PEERS = (
    Peer(
        name=REFERENCE,
        imports="from sentence_transformers import SentenceTransformer",
        load="model = SentenceTransformer(MODEL)",
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    Peer(
        name="fastembed",
        imports="from fastembed import TextEmbedding\n"
        "from fastembed.common.model_description import ModelSource, PoolingType",
        load=_FASTEMBED_LOAD,
        one="list(model.embed([text]))[0]",
        many="list(model.embed(texts))",
    ),
    Peer(
        name=SUBJECT,
        imports="from hotstart import Embedder",
        load='model = Embedder("all-MiniLM-L6-v2")',
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    Peer(
        name=PLAIN,
        imports="from hotstart import Embedder",
        load='model = Embedder("all-MiniLM-L6-v2")',
        one="model.embed_query(text)",
        many="model.embed_documents(texts)",
    ),
    Peer(
        name="hotstart, progressive",
        imports="from hotstart import Embedder",
        load='model = Embedder("all-MiniLM-L6-v2", strategy="progressive")',
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    Peer(
        name="hotstart, first run",
        imports="from hotstart import Embedder",
        load='model = Embedder("all-MiniLM-L6-v2")',
        one="model.encode(text)",
        serves=False,
        cold_cache=True,
    ),
    Peer(name=FLOOR, imports="pass", serves=False),
)

_SERVING = """\
import json, time
with open(TEXTS, encoding="utf-8") as file:
    sets = json.load(file)
{imports}
{load}
def embed_one(text):
    return {one}
def embed_many(texts):
    return {many}
for text in sets["warm_up"]:
    embed_one(text)
embed_many(sets["warm_up"])
latencies = []
for text in sets["latency"]:
    start = time.perf_counter()
    embed_one(text)
    latencies.append(time.perf_counter() - start)
start = time.perf_counter()
embed_many(sets["bulk"])
bulk = time.perf_counter() - start
vectors = [[float(x) for x in vector] for vector in embed_many(sets["compared"])]
print(json.dumps({{
    "latencies": latencies, "bulk_texts": len(sets["bulk"]), "bulk_seconds": bulk,
    "vectors": vectors,
}}))
"""


def first_vector_program(peer: Peer) -> str:
    """Return a program that embeds one text, prints the vector and exits."""
    vector = f"[float(x) for x in {peer.one}]"
    return f'{peer.imports}\n{peer.load}\ntext = "How do I reset my password?"\nprint({vector})'


def private_memory_program(peer: Peer) -> str:
    """Return a program that embeds one text and prints its anonymous resident memory in kB.

    What the process has for itself: mapped files, of which every process shares one copy that the
    kernel may drop, are left out. Linux only (proc(5), RssAnon).
    """
    reading = 'print(next(l.split()[1] for l in open("/proc/self/status") if "RssAnon" in l))'
    return f"{first_vector_program(peer)}\n{reading}"


def import_program(peer: Peer) -> str:
    """Return a program that imports the peer and prints a line."""
    return f"{peer.imports}\nprint()"


def serving_program(peer: Peer) -> str:
    """Return a program that measures the loaded model and prints what it found as JSON."""
    return _SERVING.format(imports=peer.imports, load=peer.load, one=peer.one, many=peer.many)


def with_paths(program: str, model: Path, export: Path, texts: Path) -> str:
    """Return `program` with the paths it names put before it."""
    return f"MODEL = {str(model)!r}\nEXPORT = {str(export)!r}\nTEXTS = {str(texts)!r}\n{program}"
