"""The argument parser. It imports no command."""

from __future__ import annotations

import argparse
from typing import Any

from hotstart._version import __version__

_MODEL = "all-MiniLM-L6-v2"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="hotstart", description="Embedding models and search without a cold start."
    )
    parser.add_argument("--version", action="version", version=f"hotstart {__version__}")
    parser.add_argument(
        "--debug", action="store_true", help="write logs and tracebacks to standard error"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_embed(commands)
    _add_index(commands)
    _add_search(commands)
    _add_models(commands)
    _add_profile(commands)
    _add_serve(commands)
    return parser


def _add_embed(commands: Any) -> None:
    embed = commands.add_parser("embed", help="write the vectors of texts")
    embed.add_argument(
        "texts",
        nargs="+",
        metavar="TEXT",
        help="a text; - reads one text per line from standard input",
    )
    form = embed.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write one JSON object per text")
    form.add_argument("--npy", metavar="FILE", help="write float32 (n, dimension) to a .npy file")
    embed.add_argument(
        "--prompt-name", metavar="NAME", help="put this prompt of the model before each text"
    )
    embed.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    embed.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N dimensions")
    _add_model(embed)
    embed.set_defaults(run="hotstart.cli.embed:run")


def _add_index(commands: Any) -> None:
    index = commands.add_parser(
        "index", help="index the files of a folder; later, only the changed ones"
    )
    index.add_argument("path", metavar="PATH", help="the folder to index")
    index.add_argument(
        "--lexical", action="store_true", help="index words only, compute no vectors"
    )
    _add_model(index)
    index.set_defaults(run="hotstart.cli.search:run_index")


def _add_search(commands: Any) -> None:
    search = commands.add_parser("search", help="search an indexed folder")
    search.add_argument("query", metavar="QUERY", help="words or a question")
    search.add_argument(
        "--path",
        default=".",
        help="an indexed folder or a folder below it (default: the current one)",
    )
    search.add_argument(
        "--top-k", type=int, default=5, metavar="N", help="number of results (default: 5)"
    )
    search.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="wait so long for the model, then answer lexically; 0 for no wait (default: no limit)",
    )
    search.add_argument("--json", action="store_true", help="write one JSON object")
    _add_model(search)
    search.set_defaults(run="hotstart.cli.search:run")


def _add_models(commands: Any) -> None:
    models = commands.add_parser("models", help="list, download, prepare and remove models")
    actions = models.add_subparsers(metavar="ACTION", required=True)
    for name, text in (
        ("list", "list the prepared models"),
        ("show", "show the details of a model"),
        ("pull", "download a model from the Hugging Face hub"),
        ("prepare", "prepare a model for a fast load"),
        ("verify", "compare the files of a prepared model with their checksums"),
        ("rm", "remove the prepared files; the original files stay"),
    ):
        action = actions.add_parser(name, help=text)
        if name != "list":
            action.add_argument("model", metavar="MODEL", help="a name, owner/name, or a folder")
            action.add_argument("--revision", help="commit, tag or branch on the hub")
            action.add_argument(
                "--engine", default="onnx", help="onnx or openvino (default: %(default)s)"
            )
            default = "both" if name == "rm" else "float32"
            action.add_argument("--precision", help=f"float32 or int8 (default: {default})")
            default = "both" if name == "rm" else "embedding"
            action.add_argument("--kind", help=f"embedding or reranker (default: {default})")
        if name in {"list", "show"}:
            action.add_argument("--json", action="store_true", help="write JSON")
        action.set_defaults(run=f"hotstart.cli.models:run_{name}")


def _add_profile(commands: Any) -> None:
    profile = commands.add_parser("profile", help="measure where the time to the first vector goes")
    profile.add_argument("model", metavar="MODEL", help="a name, owner/name, or a folder")
    profile.add_argument(
        "--strategy", metavar="NAME", help="loading strategy (default: the configured one)"
    )
    profile.add_argument(
        "--against", choices=["sentence-transformers"], help="measure this library too"
    )
    profile.add_argument(
        "--runs",
        type=int,
        default=5,
        metavar="N",
        help="number of processes of each kind (default: 5)",
    )
    profile.add_argument("--json", action="store_true", help="write one JSON object")
    profile.add_argument("--html", metavar="FILE", help="write a timeline as an HTML page")
    profile.set_defaults(run="hotstart.cli.profile:run")


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="serve the models over HTTP")
    serve.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (default: ./hotstart.toml, if it exists)",
    )
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument(
        "--port", type=int, metavar="N", help="port to listen on; 0 for a free one (default: 8080)"
    )
    serve.add_argument(
        "--uds", metavar="PATH", help="Unix socket to listen on, instead of host and port"
    )
    serve.add_argument("--workers", type=int, metavar="N", help="number of processes (default: 1)")
    serve.add_argument("--index", metavar="FOLDER", help="indexed folder for /search")
    serve.set_defaults(run="hotstart.cli.serve:run")


def _add_model(command: Any) -> None:
    command.add_argument(
        "--model", default=_MODEL, help="a name, owner/name, or a folder (default: %(default)s)"
    )
