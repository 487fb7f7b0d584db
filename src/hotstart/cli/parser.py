"""The argument parser. It imports no command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from hotstart._version import __version__

_MODEL = "all-MiniLM-L6-v2"
_KINDS = "embedding, reranker, sparse or multi_vector"
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (--?[\w-]+)")
_INVALID_CHOICE = re.compile(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser that suggests what was meant by a misspelt command or option."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **options)

    def parse_args(  # type: ignore[override]  # one signature instead of three
        self, args: Any = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Return the parsed `args`; the parser of the command names an unknown option."""
        parsed: argparse.Namespace
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print usage, the message and a suggestion, and exit with status 2."""
        if option := _UNKNOWN_OPTION.match(message):
            message += _suggestion(option[1], self._option_string_actions)
        elif choice := _INVALID_CHOICE.search(message):
            message += _suggestion(choice[1], re.findall(r"[\w-]+", choice[2]))
        super().error(message)


def _suggestion(got: str, known: Iterable[str]) -> str:
    import difflib  # only a misspelt command line needs it

    close = difflib.get_close_matches(got, sorted(known), n=1)
    return f". Did you mean {close[0]}?" if close else ""


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="hotstart",
        description="Embedding models and search without a cold start.",
        epilog="""examples:
  hotstart index                        index the files of this folder
  hotstart search "how is it built?"    search them
  hotstart embed "a text" --json        the vector of a text
  hotstart serve                        serve the models over HTTP

`hotstart COMMAND --help` shows the options of a command.""",
    )
    parser.add_argument("-V", "--version", action="version", version=f"hotstart {__version__}")
    parser.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
    parser.set_defaults(run=None, parser=parser, quiet=False, verbose=False, kept=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_embed(commands)
    _add_index(commands)
    _add_search(commands)
    _add_get(commands)
    _add_status(commands)
    _add_forget(commands)
    _add_models(commands)
    _add_profile(commands)
    _add_serve(commands)
    return parser


def _command(
    commands: Any,
    name: str,
    run: str,
    help: str,
    *examples: str,
    verbose: str = "log what is done",
    **options: Any,
) -> Any:
    """Add a command with its help, its examples, and the options of every command."""
    epilog = "\n  ".join(["examples:", *examples]) if examples else None
    description = f"{help[0].upper()}{help[1:]}."
    command = commands.add_parser(
        name, help=help, description=description, epilog=epilog, **options
    )
    command.set_defaults(run=run, parser=command)
    amount = command.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    amount.add_argument("-v", "--verbose", action="store_true", help=verbose)
    command.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    return command


def _add_embed(commands: Any) -> None:
    embed = _command(
        commands,
        "embed",
        "hotstart.cli.embed:run",
        "write the vectors of texts",
        'hotstart embed "a text" "another text"',
        "hotstart embed --npy vectors.npy < lines.txt",
    )
    embed.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="a text; without one, or with -, each line of standard input",
    )
    form = embed.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write one JSON object per text")
    form.add_argument("--npy", metavar="FILE", help="write float32 (n, dimension) to a .npy file")
    embed.add_argument(
        "--prompt-name", metavar="NAME", help="put this prompt of the model before each text"
    )
    embed.add_argument(
        "--kind",
        choices=("embedding", "sparse", "multi_vector"),
        help="sparse and multi_vector print JSON (default: that of a known model, else embedding)",
    )
    embed.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    embed.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N dimensions")
    _add_model(embed)


def _add_index(commands: Any) -> None:
    index = _command(
        commands,
        "index",
        "hotstart.cli.index:run",
        "index the files of a folder; later, only the changed ones",
        "hotstart index",
        "hotstart index docs --lexical",
        "hotstart index notes papers --store ~/.cache/library",
        verbose="log what is done, and name what is skipped",
    )
    index.add_argument(
        "path",
        nargs="*",
        metavar="PATH",
        help="the folder to index (default: the current one); several with --store",
    )
    index.add_argument(
        "--store",
        metavar="FOLDER",
        help="keep the index here; later, alone, update its folders (default: PATH/.hotstart)",
    )
    index.add_argument(
        "--lexical", action="store_true", help="index words only, compute no vectors"
    )
    index.add_argument(
        "--include",
        action="append",
        metavar="GLOB",
        help="index only what this matches, as in .gitignore; may be repeated",
    )
    index.add_argument(
        "--exclude",
        action="append",
        metavar="GLOB",
        help="leave out what this matches, as in .gitignore; may be repeated",
    )
    index.add_argument(
        "--watch", action="store_true", help="go on: update the index at each change, until Ctrl-C"
    )
    index.set_defaults(kept="What is indexed is kept. Run the same command to go on.")
    _add_model(index)


def _add_search(commands: Any) -> None:
    search = _command(
        commands,
        "search",
        "hotstart.cli.search:run",
        "search an indexed folder",
        'hotstart search "who is unloaded first?"',
        "hotstart search eviction --path docs -n 3",
        "hotstart search 'upload \"connection pool\" -test path:src lang:go'",
        "hotstart search --regex 'class \\w+Pool'",
    )
    search.add_argument(
        "query",
        nargs="?",
        default="",
        metavar="QUERY",
        help='words or a question; "a phrase", -word, path:GLOB and lang:NAME narrow it',
    )
    search.add_argument(
        "--regex", metavar="PATTERN", help="find the matches of this regular expression (RE2)"
    )
    search.add_argument(
        "--path",
        action="append",
        help="an indexed folder or a folder below it (default: the current one); may be repeated",
    )
    search.add_argument(
        "--store",
        action="append",
        metavar="FOLDER",
        help="the index that is kept here; may be repeated",
    )
    search.add_argument(
        "-n", "--top-k", type=int, default=5, metavar="N", help="number of results (default: 5)"
    )
    search.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="wait so long for the model, then answer lexically; 0 for no wait (default: no limit)",
    )
    search.add_argument(
        "--min-score",
        type=float,
        default=0.0,
        metavar="SCORE",
        help="leave out what has a lower score, from 0 to 1 (default: 0)",
    )
    search.add_argument(
        "--reranker",
        metavar="MODEL",
        help="put the first 20 results in the order of this cross-encoder, if --timeout suffices",
    )
    _add_display(search)
    _add_model(search)


def _add_display(search: Any) -> None:
    search.add_argument(
        "-C",
        "--context",
        type=int,
        metavar="LINES",
        help="show so many lines around each that answers (default: three lines in all)",
    )
    form = search.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write one JSON object")
    form.add_argument(
        "-l", "--files", action="store_true", help="print the paths of the files and nothing else"
    )
    form.add_argument(
        "--explain", action="store_true", help="print what the rank of each result is the sum of"
    )
    search.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour the output (default: auto, on a terminal without NO_COLOR)",
    )


def _add_get(commands: Any) -> None:
    get = _command(
        commands,
        "get",
        "hotstart.cli.search:run_get",
        "print lines of a file in an indexed folder",
        "hotstart get docs/guide.md:40-60",
    )
    get.add_argument("place", metavar="PATH[:LINE[-LINE]]", help="the file, and which of its lines")
    get.add_argument("-N", "--no-line-number", action="store_true", help="print no line numbers")
    _add_store(get)


def _add_status(commands: Any) -> None:
    status = _command(
        commands,
        "status",
        "hotstart.cli.index:run_status",
        "show what is indexed, and what changed since",
        "hotstart status docs",
    )
    status.add_argument(
        "path",
        nargs="?",
        default=".",
        metavar="PATH",
        help="an indexed folder or a path below it (default: the current one)",
    )
    status.add_argument("--json", action="store_true", help="write one JSON object")
    _add_store(status)


def _add_forget(commands: Any) -> None:
    forget = _command(
        commands,
        "forget",
        "hotstart.cli.index:run_forget",
        "remove a file or a folder from an index, or the whole index",
        "hotstart forget notes/private",
        "hotstart forget --all",
    )
    forget.add_argument("path", nargs="?", metavar="PATH", help="the file or folder; it stays")
    forget.add_argument(
        "--all", action="store_true", help="remove the index of PATH (default: the current folder)"
    )
    _add_store(forget)


def _add_store(command: Any) -> None:
    command.add_argument("--store", metavar="FOLDER", help="the index that is kept here")


def _add_models(commands: Any) -> None:
    text = "list, search, download, prepare, calibrate and remove models"
    models = commands.add_parser("models", help=text, description=f"{text.capitalize()}.")
    models.set_defaults(parser=models)
    actions = models.add_subparsers(metavar="ACTION")
    find = _command(
        actions,
        "search",
        "hotstart.cli.models:run_search",
        "search the catalogue of known models",
        "hotstart models search multilingual",
        "hotstart models search reranker mit",
    )
    find.add_argument(
        "words", nargs="+", metavar="WORD", help="part of a name, a kind, a license or a language"
    )
    find.add_argument("--json", action="store_true", help="write JSON, with prompts and aliases")
    for name, text in (
        ("list", "list the prepared models"),
        ("show", "show the details of a model"),
        ("pull", "download a model from the Hugging Face hub"),
        ("prepare", "prepare a model for a fast load"),
        ("calibrate", "measure how much the cosines of a model count in hybrid search"),
        ("verify", "compare the files of a prepared model with their checksums"),
        ("rm", "remove the prepared files; the original files stay"),
    ):
        aliases = _ALIASES.get(name, [])
        run = f"hotstart.cli.models:run_{name}"
        example = f"hotstart models {name}" + (f" {_MODEL}" if name != "list" else "")
        action = _command(actions, name, run, text, example, aliases=aliases)
        if name != "list":
            action.add_argument("model", metavar="MODEL", help="a name, owner/name, or ./folder")
            action.add_argument("--revision", help="commit, tag or branch on the hub")
            action.add_argument(
                "--engine",
                choices=["onnx", "openvino"],
                default="onnx",
                help="the engine that reads the files (default: %(default)s)",
            )
            default = "all" if name == "rm" else "float32"
            known = "float32, bfloat16 or int8"
            action.add_argument("--precision", help=f"{known} (default: {default})")
            action.add_argument(
                "--file",
                metavar="NAME",
                help="the ONNX file of the repository to run, such as onnx/model_fp16.onnx",
            )
            default = "both" if name == "rm" else "that of a known model, else embedding"
            action.add_argument("--kind", help=f"{_KINDS} (default: {default})")
        if name == "pull":
            action.add_argument(
                "--update", action="store_true", help="ask the hub, even if the model is here"
            )
        if name in {"list", "show"}:
            action.add_argument("--json", action="store_true", help="write JSON")


def _add_profile(commands: Any) -> None:
    profile = _command(
        commands,
        "profile",
        "hotstart.cli.profile:run",
        "measure where the time to the first vector goes",
        f"hotstart profile {_MODEL}",
        f"hotstart profile {_MODEL} --against sentence-transformers --html profile.html",
    )
    profile.add_argument("model", metavar="MODEL", help="a name, owner/name, or ./folder")
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


_ALIASES = {"list": ["ls"], "pull": ["download"], "rm": ["remove"]}

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


def _add_serve(commands: Any) -> None:
    serve = _command(
        commands,
        "serve",
        "hotstart.cli.serve:run",
        "serve the models over HTTP",
        "hotstart serve",
        "hotstart serve --config hotstart.toml --index docs --port 9000",
    )
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
    serve.add_argument(
        "--store",
        dest="index_store",
        metavar="FOLDER",
        help="the index for /search that is kept here",
    )
    serve.add_argument(
        "--log-level", choices=LOG_LEVELS, help="what is logged on standard error (default: info)"
    )


def _add_model(command: Any) -> None:
    command.add_argument(
        "-m",
        "--model",
        default=_MODEL,
        help="a name, owner/name, or ./folder (default: %(default)s)",
    )
