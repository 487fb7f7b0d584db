"""The scenario: a server asked whether it lives while its models load; beside what people write."""

from __future__ import annotations

from benchmarks.figures import Figure, Table
from benchmarks.first_light import Outcome, Scene, keep_answers, run_scene
from benchmarks.peers import Peer
from benchmarks.prepare import Workplace
from benchmarks.verdict import Verdict

FIRST, THREAD = "FastAPI, loads first", "FastAPI, loads in a thread"
HOTSTART = "hotstart"

FIGURES = (
    Figure("alive", "Process start to the first answer", "s", 1, ".2f", "less"),
    Figure("p50", "/livez while models load, p50", "ms", 1e3, ".1f", "less"),
    Figure("p99", "p99 of it", "ms", 1e3, ".1f", "less"),
    Figure("worst", "the worst of it", "ms", 1e3, ".1f", "less"),
    Figure("embeds", "Process start to the first vector", "s", 1, ".2f", "less"),
)
TEN = Figure("ten", "Process start to the last of ten models", "s", 1, ".2f", "less")

# A user's own server: one model, with sentence-transformers.
_BY_HAND = """\
import asyncio, threading
from contextlib import asynccontextmanager
import uvicorn
from fastapi import FastAPI, Response
models = {{}}
def load():
    from sentence_transformers import SentenceTransformer
    models["minilm"] = SentenceTransformer({model!r})
@asynccontextmanager
async def lifespan(app):
    {when}
    yield
app = FastAPI(lifespan=lifespan)
@app.get("/livez")
async def livez():
    return {{}}
@app.post("/embed")
async def embed(body: dict):
    if "minilm" not in models:
        return Response(status_code=503)
    return (await asyncio.to_thread(models["minilm"].encode, body["inputs"])).tolist()
uvicorn.run(app, port={port!r}, log_level="warning")
"""

# Ten models: three that are real, four that wait a little, two that wait long, one that fails.
_TEN = """\
[models.minilm]
source = "all-MiniLM-L6-v2"
[models.openvino]
source = "all-MiniLM-L6-v2"
engine = "openvino"
[models.rows]
kind = "custom"
source = "sklearn.linear_model:LogisticRegression"
[models.slow]
source = "fake:load_seconds=3"
[models.slower]
source = "fake:load_seconds=4"
[models.failing]
source = "fake:load_seconds=0.5,fail_loads=99"
""" + "".join(
    f'[models.quick{n}]\nsource = "fake:load_seconds=0.{n},name=quick{n}"\n' for n in range(1, 5)
)

PEERS = (
    Peer(FIRST, load="load()"),
    Peer(THREAD, load="threading.Thread(target=load, daemon=True).start()"),
    Peer(HOTSTART),
)
NAMES = tuple(peer.name for peer in PEERS)

_PROGRAM = """\
import http.client, json, socket, subprocess, sys, tempfile, time
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
folder = tempfile.TemporaryDirectory()
{command}
def ask(connection, method, path, body=None):
    connection.request(method, path, body, {{"content-type": "application/json"}})
    answer = connection.getresponse()
    return answer.status, answer.read()
def connected():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    return connection
start = time.perf_counter()
server = subprocess.Popen(command, cwd=folder.name)
try:
    answer, took = {{}}, []
    while "alive" not in answer:
        try:
            alive = connected()
            assert ask(alive, "GET", "/livez")[0] == 200
            answer["alive"] = time.perf_counter() - start
        except OSError:
            time.sleep(0.002)
    embeds = connected()
    asked = 0.0
    while "embeds" not in answer or ("ten" not in answer and {ten}):
        began = time.perf_counter()
        assert ask(alive, "GET", "/livez")[0] == 200
        took.append(time.perf_counter() - began)
        if began - asked > 0.1:
            asked = began
            body = json.dumps({{"inputs": "a text", "timeout": 0}})
            if "embeds" not in answer and ask(embeds, "POST", "/embed", body)[0] == 200:
                answer["embeds"] = time.perf_counter() - start
            if {ten}:
                health = json.loads(ask(embeds, "GET", "/api/v1/models/health")[1])
                if health["loading"] == 0:
                    assert (health["ready"], health["failed"]) == (9, 1), health
                    answer["ten"] = time.perf_counter() - start
        time.sleep(0.01)
finally:
    server.terminate()
    server.wait(30)
took.sort()
answer |= {{"p50": took[len(took) // 2], "p99": took[-1 - len(took) // 100], "worst": took[-1]}}
print(json.dumps(answer))
"""

_OF_HOTSTART = f"""\
with open(folder.name + "/hotstart.toml", "w") as file:
    file.write({_TEN!r})
command = [sys.executable, "-m", "hotstart", "serve", "--config", file.name, "--port", str(port)]"""


def run(place: Workplace, rounds: int) -> Outcome:
    """Run the scene and return what was found; what fails is named in it."""
    outcome = Outcome()
    run_scene(Scene("alive", program, PEERS, keep_answers, 1), place, rounds, outcome)
    return outcome


def program(peer: Peer) -> str:
    """Return a program that starts a server, asks it until its models are there, and prints
    seconds as JSON."""
    if peer.name == HOTSTART:
        return _PROGRAM.format(command=_OF_HOTSTART, ten=True)
    served = _BY_HAND.format(model="MODEL", port="PORT", when=peer.load)
    served = f"{served!r}.replace(\"'MODEL'\", repr(MODEL)).replace(\"'PORT'\", str(port))"
    return _PROGRAM.format(command=f'command = [sys.executable, "-c", {served}]', ten=False)


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise, by medians."""
    alive, p99 = (_median(table, figure) for figure in ("alive", "p99"))
    return [
        Verdict("seconds until it is alive", 1, at_most=True, found=alive),
        Verdict("p99 of /livez while ten models load, in ms", 20, at_most=True, found=p99 * 1e3),
    ]


def _median(table: Table, figure: str) -> float:
    cell = table[figure].get(HOTSTART)
    return cell.value.median if cell else float("inf")
