"""The programs of the readiness scenario: hotstart with each strategy, and its peers, as text.

As in `peers.py`: what a user would write, and the clock around it. `text` and `MODEL` are put
before each program by `readiness.py`.
"""

from __future__ import annotations

from benchmarks.peers import IDLE_LOOP, REFERENCE, SUBJECT, Peer
from hotstart.system import BF16_FLAGS, cpu_flags

STRATEGIES = ("lazy", "background", "progressive", "quantized", "cached", "eager")
PROMISED = "progressive"
"""The strategy that the promises on the event loop are made for."""
THROUGHPUT = "hotstart, OpenVINO"

_IMPORT = "from hotstart import Embedder"
_PATIENCE = 120  # seconds a stage may take

# Nothing in hotstart tells when a promotion has ended, so the programs look each millisecond.
_UNTIL_STAGE = """\
import time
def until_stage(model, stage):
    model.promote(stage)  # a lazy model has patience with packing
    deadline = time.monotonic() + {patience}
    while model.status().stage != stage:
        if stage in model.status().refused or time.monotonic() > deadline:
            raise SystemExit(f"no stage {{stage}}: {{model.status()}}")
        time.sleep(0.001)
"""
UNTIL_STAGE = _UNTIL_STAGE.format(patience=_PATIENCE)


def _construction(strategy: str, options: str = "") -> str:
    return f'Embedder("all-MiniLM-L6-v2", strategy="{strategy}"{options})'


# The fastest in bulk that this machine has.
_FASTEST = ', engine="openvino", precision="bfloat16"' if BF16_FLAGS & cpu_flags() else ""


STARTING = (
    Peer(
        name=REFERENCE,
        imports="from sentence_transformers import SentenceTransformer",
        load="model = SentenceTransformer(MODEL)",
        one="model.encode(text)",
    ),
    *(
        Peer(
            name=name,
            imports=_IMPORT,
            load=f"model = {_construction(name)}",
            one="model.encode(text)",
        )
        for name in STRATEGIES
    ),
)
"""What is started: the reference, then each strategy under its own name."""

BULK = (
    Peer(
        name=REFERENCE,
        imports="from sentence_transformers import SentenceTransformer",
        load="model = SentenceTransformer(MODEL)",
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    Peer(
        name=SUBJECT,
        imports=_IMPORT,
        load=f"model = {_construction('background')}",
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
    Peer(
        name=THROUGHPUT,
        imports=f"{UNTIL_STAGE}{_IMPORT}",
        load=f'model = {_construction("background", _FASTEST)}\nuntil_stage(model, "throughput")',
        one="model.encode(text)",
        many="model.encode(texts)",
    ),
)
"""What encodes the bulk texts: the reference, the default engine, the throughput engine."""

LOADING_IN_A_LOOP = (*STARTING, Peer(name=IDLE_LOOP, imports="pass", serves=False))

_READY = """\
{until_stage}
import json
{imports}
start = time.perf_counter()
{load}
made = time.perf_counter()
model.start_loading()
called = time.perf_counter()
model.wait_ready()
until_stage(model, "full")
print(json.dumps({{"constructor": made - start, "load_call": called - made}}))
"""

_PRIVATE_MEMORY = """\
{until_stage}
{imports}
{load}
text = "How do I reset my password?"
model.encode(text)
{finish}
model.encode(text)
print(next(l.split()[1] for l in open("/proc/self/status") if "RssAnon" in l))
"""

_LOOP = """\
import asyncio, json, time
{imports}
async def tick(late):
    last = time.perf_counter()
    while True:
        await asyncio.sleep({tick})
        now = time.perf_counter()
        late.append(now - last - {tick})
        last = now
async def main():
    late = []
    ticker = asyncio.create_task(tick(late))
    await asyncio.sleep(0.1)
    late.clear()
    {loading}
    await asyncio.sleep(0.02)  # a stall is noted by the tick that comes after it
    ticker.cancel()
    print(json.dumps({{"longest": max(late), "summed": sum(x for x in late if x > {noted})}}))
asyncio.run(main())
"""
TICK = 0.001
NOTED = 0.002
"""Seconds late from which a tick counts in the sum: a timer on an idle loop is late by less."""

_UNTIL_FULL = 'while model.status().stage != "full": await asyncio.sleep(0.005)'


def ready_program(peer: Peer) -> str:
    """Return a program that ends when the last stage serves, and tells what each call took."""
    if peer.name == REFERENCE:
        return f'{peer.imports}\n{peer.load}\nprint("{{}}")'
    return _READY.format(until_stage=UNTIL_STAGE, imports=peer.imports, load=peer.load)


def settled_memory_program(peer: Peer) -> str:
    """Return a program that prints its private memory in kB once the last stage alone serves."""
    waiting = 'until_stage(model, "full")\ntime.sleep(0.3)  # the former stage is given back'
    return _PRIVATE_MEMORY.format(
        until_stage=UNTIL_STAGE,
        imports=peer.imports,
        load=peer.load,
        finish="" if peer.name == REFERENCE else waiting,
    )


def loop_program(peer: Peer) -> str:
    """Return a program whose event loop ticks while `peer` is loaded.

    sentence-transformers is imported by the thread that loads it, which is the best its user can
    do; hotstart at the program's start, because what is heavy it imports itself while loading.
    """
    if peer.name == IDLE_LOOP:
        imports, steps = "", ["await asyncio.sleep(0.5)"]
    elif peer.name == REFERENCE:
        imports = "\n".join(["def load():", f"    {peer.imports}", f"    {peer.load}"])
        steps = ["await asyncio.to_thread(load)"]
    elif peer.name == "eager":  # it loads in the constructor, which nobody calls in a loop's thread
        imports = peer.imports
        steps = [f"await asyncio.to_thread(lambda: {_construction(peer.name)})"]
    else:
        imports = peer.imports
        steps = [peer.load, "await model.await_ready()", 'model.promote("full")', _UNTIL_FULL]
    return _LOOP.format(imports=imports, loading="\n    ".join(steps), tick=TICK, noted=NOTED)


NAMES = (*(peer.name for peer in STARTING), SUBJECT, THROUGHPUT, IDLE_LOOP)
"""The columns of the table."""
