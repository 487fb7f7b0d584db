"""The scenario: ten models of a process, loaded, asked for and listed; beside what people write."""

from __future__ import annotations

from benchmarks.figures import Figure, Table
from benchmarks.first_light import Outcome, Scene, keep_answers, run_scene
from benchmarks.peers import Peer
from benchmarks.prepare import Workplace
from benchmarks.verdict import Verdict

SEQUENCE, THREADS = "by hand, one after the other", "by hand, a pool of threads"
HOTSTART = "hotstart"

FIGURES = (
    Figure("ten", "Ten models, until the last is there", "s", 1, ".2f", "less"),
    Figure("first", "Until the first quick one is there", "s", 1, ".2f", "less"),
    Figure("get", "A loaded model, got by name", "µs", 1e6, ".2f", "less"),
)
LISTING = Figure("listing", "10,000 models, listed", "ms", 1e3, ".1f", "less")

_BY_HAND = """\
models, lock = {}, threading.Lock()
def get(name):
    with lock:
        return models[name]
def load(name, seconds):
    try:
        model = make(seconds)
    except Exception:
        return
    with lock:
        models[name] = model"""

_HOTSTART = """\
registry = ModelRegistry.from_config({"models": {
    name: {"kind": "custom", "source": "__main__:make", "options": {"seconds": seconds}}
    for name, seconds in WANTED.items()
}})
get = registry.get_model
def is_there(name):
    return registry.is_loaded(name)"""

_HAND_THERE = """
def is_there(name):
    return name in models"""

PEERS = (
    Peer(
        SEQUENCE,
        imports="import threading",
        load=_BY_HAND + _HAND_THERE,
        one="",
        many="[load(*wanted) for wanted in WANTED.items()]",
    ),
    Peer(
        THREADS,
        imports="import threading\nfrom concurrent.futures import ThreadPoolExecutor",
        load=_BY_HAND + _HAND_THERE + "\npool = ThreadPoolExecutor(10)",
        one="",
        many="list(pool.map(lambda wanted: load(*wanted), WANTED.items()))",
    ),
    Peer(
        HOTSTART,
        imports="from hotstart import ModelRegistry",
        load=_HOTSTART,
        one="",
        many="registry.load_all()",
    ),
)
NAMES = tuple(peer.name for peer in PEERS)

# A load waits, as for a disk or another machine; two wait long, and one fails.
_PROGRAM = """\
import json, statistics, sys, threading, time, timeit
{imports}
WANTED = {{f"m{{n}}": 0.1 for n in range(7)}} | {{"slow": 1.0, "slower": 1.5, "failing": -1.0}}
class Model:
    pass
def make(seconds):
    time.sleep(seconds)  # a failing one: below 0
    return Model()
{load}
answer = {{}}
def watch():
    while not is_there("m6"):
        time.sleep(0.001)
    answer["first"] = time.perf_counter() - start
watcher = threading.Thread(target=watch)
start = time.perf_counter()
watcher.start()
{many}
answer["ten"] = time.perf_counter() - start
watcher.join()
assert isinstance(get("slower"), Model) and not is_there("failing")
laps = timeit.repeat(lambda: get("m1"), number=20_000, repeat=9)
empty = timeit.repeat(lambda: None, number=20_000, repeat=9)
answer["get"] = (statistics.median(laps) - statistics.median(empty)) / 20_000
if "registry" in globals():
    for number in range(9_990):
        registry.set_model(f"n{{number}}", number)
    def listed():
        return [(name, entry.status) for name, entry in registry.models().items()]
    answer["listing"] = statistics.median(timeit.repeat(listed, number=1, repeat=9))
print(json.dumps(answer))
"""


def run(place: Workplace, rounds: int) -> Outcome:
    """Run the scene and return what was found; what fails is named in it."""
    outcome = Outcome()
    run_scene(Scene("registry", program, PEERS, keep_answers, 1), place, rounds, outcome)
    return outcome


def program(peer: Peer) -> str:
    """Return a program that loads ten models, asks for one, and prints seconds as JSON."""
    return _PROGRAM.format(imports=peer.imports, load=peer.load, many=peer.many)


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise, by medians."""
    found = {
        figure: table[figure][HOTSTART].value.median if HOTSTART in table[figure] else None
        for figure in ("ten", "get", "listing")
    }
    return [
        Verdict("ten models, of which the slowest takes 1.5 s, s", 1.7, True, found["ten"]),
        Verdict("get_model on a loaded model, µs", 1, True, _scaled(found["get"], 1e6)),
        Verdict("10,000 entries listed, ms", 10, True, _scaled(found["listing"], 1e3)),
    ]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
