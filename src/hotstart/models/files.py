"""Tell which files of a model folder are read, and which of them are absent."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hotstart.errors import ModelDamaged, described
from hotstart.models.architectures import FAMILIES
from hotstart.models.configuration import beside, check_inner, inside, modules_of, read_json
from hotstart.models.late_interaction import PYLATE, PYLATE_DENSE
from hotstart.models.modules import ROUTERS, TABLES, WEIGHTED
from hotstart.models.onnx_files import find_graph, graphs_in
from hotstart.models.routes import ROUTER_CONFIGS, router_config, routes_of
from hotstart.models.spec import is_static
from hotstart.types import TOKENIZER

SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
CHECKPOINT = "pytorch_model.bin"
CHECKPOINT_INDEX = "pytorch_model.bin.index.json"
SPARSE_LINEAR = "sparse_linear.pt"
COLBERT_LINEAR = "colbert_linear.pt"
ADAPTER = "adapter_config.json"
VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model")
VOCABULARY_SETTINGS = ("merges.txt", "added_tokens.json")
"""What older models have for tokenizer.json; see `hotstart.models.vocabulary`."""


def missing_files(folder: str, file: str | None = None) -> list[str]:
    """Return the required files that are absent from `folder`, sorted.

    A folder without modules.json is a bare transformer, as in sentence-transformers.
    The result is empty for an unsupported architecture; `describe` raises for one.

    Args:
        folder: the model folder.
        file: the ONNX file to run, relative to `folder`; None for the weights or the best file.
    """
    if is_static(folder):
        return _missing_static(folder)
    for kind, home in modules_of(folder):
        if kind in ROUTERS and not router_config(folder, home):
            return [inside(home, ROUTER_CONFIGS[0])]
    missing = (_missing_of(folder, route.modules, file) for route in routes_of(folder))
    return sorted({name for names in missing for name in names})


def _missing_of(folder: str, modules: Sequence[tuple[str, str]], file: str | None) -> list[str]:
    """Return the required files of a route that are absent from `folder`."""
    part = encoder_part(modules)
    config_file = inside(part, "config.json")
    config = read_json(folder, config_file)
    graph = file or graph_of(folder, part)
    weights = encoder_weights(folder, part)
    if modules and modules[0][0] in TABLES:
        needed = [inside(part, SINGLE_WEIGHTS), tokenizer_file(folder, part, None)]
    else:
        is_known = str(config.get("model_type")) in FAMILIES
        if config and graph is None and (not is_known or (not weights and graphs_in(folder))):
            return []
        needed = [config_file, tokenizer_file(folder, part, graph)]
        needed += [file] if file else weights or [graph or inside(part, SINGLE_WEIGHTS)]
    needed += _module_files(folder, modules)
    return [name for name in needed if not os.path.isfile(os.path.join(folder, name))]


def _missing_static(folder: str) -> list[str]:
    """Return the files that a static embedding model lacks."""
    parts = [path for kind, path in modules_of(folder) if kind == "StaticEmbedding"]
    part = os.path.normpath(parts[0] or ".") if parts else "."
    names = [inside("" if part == "." else part, name) for name in (SINGLE_WEIGHTS, TOKENIZER)]
    return [name for name in names if not os.path.isfile(os.path.join(folder, name))]


def encoder_part(modules: Sequence[tuple[str, str]]) -> str:
    """Return the sub-folder of the encoder; empty for the model folder itself.

    sentence-transformers wrote 0_Transformer until 2020.
    """
    for kind, path in modules:
        if kind in {"Transformer", "MLMTransformer", *TABLES}:
            part = os.path.normpath(path or ".")
            return "" if part == "." else part
    return ""


def graph_of(folder: str, part: str) -> str | None:
    """Return the ONNX file that is run, relative to `folder`; that of the encoder's sub-folder."""
    graph = find_graph(graphs_in(os.path.join(folder, part)))
    return None if graph is None else inside(part, graph)


def tokenizer_file(folder: str, part: str, graph: str | None) -> str:
    """Return the path of the tokenizer, relative to `folder`.

    It is tokenizer.json of the encoder or beside the ONNX file, or an older model's vocabulary.
    """
    usual = inside(part, TOKENIZER)
    vocabularies = [inside(part, name) for name in VOCABULARIES]
    for name in (usual, beside(graph or usual, TOKENIZER), *vocabularies):
        if os.path.isfile(os.path.join(folder, name)):
            return name
    return usual


def encoder_weights(folder: str, part: str) -> tuple[str, ...]:
    """Return the weight files that the encoder in `part` needs, including missing ones.

    They are safetensors, or else PyTorch checkpoints.
    """
    home = os.path.join(folder, part)
    for single, index in ((SINGLE_WEIGHTS, WEIGHTS_INDEX), (CHECKPOINT, CHECKPOINT_INDEX)):
        if os.path.isfile(os.path.join(home, single)):
            return (inside(part, single),)
        if os.path.isfile(os.path.join(home, index)):
            return tuple(inside(part, name) for name in _shards(home, index))
    return ()


def _shards(folder: str, index: str) -> tuple[str, ...]:
    path = os.path.join(folder, index)
    try:
        names = sorted(set(read_json(folder, index)["weight_map"].values()))
        for name in names:
            check_inner(path, name)
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelDamaged(path, reason=f"no weight_map ({described(error)})") from error
    return tuple(names)


def _module_files(folder: str, modules: Sequence[tuple[str, str]]) -> list[str]:
    files = []
    for kind, path in modules:
        is_weighted = kind in WEIGHTED or (kind == PYLATE_DENSE and _is_of_pylate(folder))
        if kind == "Pooling" or is_weighted:
            files.append(f"{path}/config.json")
        if is_weighted:
            files.append(module_weights(folder, path))
    return files


def module_weights(folder: str, path: str) -> str:
    """Return the weights file of the module in the sub-folder `path`, relative to `folder`.

    A path to a file is returned unchanged.
    """
    if path in (SPARSE_LINEAR, COLBERT_LINEAR):
        return path
    name = f"{path}/{SINGLE_WEIGHTS}"
    checkpoint = f"{path}/{CHECKPOINT}"
    is_there = os.path.isfile(os.path.join(folder, name))
    return checkpoint if not is_there and os.path.isfile(os.path.join(folder, checkpoint)) else name


def _is_of_pylate(folder: str) -> bool:
    sentence = read_json(folder, "config_sentence_transformers.json")
    return bool(sentence.get("model_type") == PYLATE)
