"""Read the configuration files of a model folder of sentence-transformers or transformers.

Files read: config.json, modules.json, sentence_*_config.json, config_sentence_transformers.json,
tokenizer_config.json, and the config.json of each module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hotstart.errors import ModelDamaged, described
from hotstart.files import read_bounded
from hotstart.models.architectures import FAMILIES, family_of
from hotstart.models.modules import CLASSES

RAW_ERRORS = (TypeError, LookupError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What a setting of another type or of an invalid value raises where it is used."""


class ConfigFiles(NamedTuple):
    """The configuration files of one model; an absent file is an empty dict.

    Attributes:
        config: config.json.
        sentence: config_sentence_transformers.json.
        tokenizer: tokenizer_config.json.
        transformer: sentence_bert_config.json, or its file under a legacy name.
        modules: the class and the sub-folder of each module of a route; empty for a bare
            transformer.
    """

    folder: str
    config: dict[str, Any]
    sentence: dict[str, Any]
    tokenizer: dict[str, Any]
    transformer: dict[str, Any]
    modules: Sequence[tuple[str, str]] = ()

    @property
    def model_type(self) -> str:
        """The model's family, as `family_of` names it."""
        return family_of(self.config)


def read_config_files(
    folder: str, part: str, tokenizer: str, modules: Sequence[tuple[str, str]]
) -> ConfigFiles:
    """Return the configuration files of `folder`.

    Without modules.json, the folder is a bare transformer: sentence-transformers reads no settings
    of its own then.

    Args:
        folder: the model folder.
        part: the sub-folder of the encoder, empty for the model folder itself.
        tokenizer: the file of the tokenizer, relative to `folder`; its configuration is beside it.
        modules: the class and the sub-folder of each module.

    Raises:
        ModelDamaged: a file is not JSON.
    """
    is_bare = not os.path.exists(os.path.join(folder, "modules.json"))
    return ConfigFiles(
        folder=folder,
        config=read_json(folder, inside(part, "config.json")),
        sentence={} if is_bare else read_json(folder, "config_sentence_transformers.json"),
        tokenizer=read_json(folder, beside(tokenizer, "tokenizer_config.json")),
        transformer={} if is_bare else _transformer_config(os.path.join(folder, part)),
        modules=modules,
    )


TRANSFORMER_CONFIGS = [
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
"""Names of one file, in the order of sentence-transformers; later versions write the first."""


def _transformer_config(folder: str) -> dict[str, Any]:
    """Return the content of the first of TRANSFORMER_CONFIGS that exists."""
    for name in TRANSFORMER_CONFIGS:
        if os.path.exists(os.path.join(folder, name)):
            content: dict[str, Any] = read_json(folder, name)
            return content
    return {}


SPECIAL_TOKENS = "special_tokens_map.json"


def special_token(files: ConfigFiles, name: str) -> str | None:
    """Return the special token `name` of the tokenizer; None without one."""
    token = files.tokenizer.get(name) or read_json(files.folder, SPECIAL_TOKENS).get(name)
    content = token.get("content") if isinstance(token, Mapping) else token
    return None if content is None else str(content)


def prompts_of(sentence: dict[str, Any]) -> dict[str, str]:
    """Return the non-empty prompts of config_sentence_transformers.json."""
    return {name: text for name, text in (sentence.get("prompts") or {}).items() if text}


def check_prompts(sentence: dict[str, Any]) -> None:
    """Raise ValueError unless prompts are texts by name, and the default one is one of them."""
    prompts = sentence.get("prompts") or {}
    for name, text in prompts.items():
        f"{name}{'' if text is None else text}".encode()  # raises for a lone surrogate
        if not isinstance(text, (str, type(None))):
            raise TypeError(f"the prompt {name} is {str(text)[:100]!r}")
    default = sentence.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(f"default_prompt_name is {str(default)[:100]!r}, which is no prompt")


def truncate_dim(files: ConfigFiles, dimension: int) -> int | None:
    """Return the number of dimensions to keep; None for all, as for more than there are."""
    kept = files.sentence.get("truncate_dim")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise ValueError(f"truncate_dim is {str(kept)[:100]!r}")
    return None if kept is None or kept >= dimension else kept


def max_active_dims(files: ConfigFiles) -> int | None:
    """Return the number of values that a sparse embedding keeps; None for all."""
    kept = files.sentence.get("max_active_dims")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise ValueError(f"max_active_dims is {str(kept)[:100]!r}")
    return kept


def class_name(path: str) -> str:
    """Return the name of the class at `path`, or `path` for one that is not read.

    A class of another library keeps its full name too, so that it is not taken for one of the same
    name in sentence-transformers.
    """
    name = path.rpartition(".")[2]
    return name if path.startswith("sentence_transformers.") and name in CLASSES else path


def modules_of(folder: str) -> list[tuple[str, str]]:
    """Return (class name, sub-folder) of each entry of modules.json; empty without that file."""
    entries = read_json(folder, "modules.json", default=[])
    path = os.path.join(folder, "modules.json")
    try:
        modules = [(class_name(entry["type"]), str(entry["path"])) for entry in entries]
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelDamaged(path, reason=f"not a list of modules ({described(error)})") from error
    for _, inner in modules:
        check_inner(path, inner)
    return modules


def check_inner(path: str, name: str) -> None:
    """Raise ModelDamaged unless `name`, which the file `path` gives, stays within its folder."""
    if os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
        raise ModelDamaged(path, reason=f"it names {name!r}, which is outside of its folder")


_JSON_TYPES: dict[Any, str] = {dict: "object", list: "array"}
_LARGEST_CONFIG = 16_000_000  # bytes; the index of 1000 shards has less than one


def read_json(folder: str, name: str, default: Any = None) -> Any:
    """Return the JSON of the file `name`.

    If the file is absent, return `default`, or an empty dict if `default` is None.

    Raises:
        ModelDamaged: the file is not JSON of that type, cannot be read, or is too large.
    """
    path = os.path.join(folder, name)
    try:
        content = json.loads(read_bounded(path, _LARGEST_CONFIG))
    except FileNotFoundError:
        return {} if default is None else default
    except OSError as error:
        raise ModelDamaged(path, reason=str(error.strerror)) from error
    except ValueError as error:
        raise ModelDamaged(path, reason=f"not JSON ({error})") from error
    except RecursionError as error:
        raise ModelDamaged(path, reason="nested too deeply") from error
    expected = dict if default is None else type(default)
    if not isinstance(content, expected):
        raise ModelDamaged(path, reason=f"not a JSON {_JSON_TYPES[expected]}")
    return content


def inside(home: str, name: str) -> str:
    """Return the path of `name` in the sub-folder `home`; either may stand for the other."""
    return "/".join(part for part in (home, name) if part not in ("", "."))


def beside(name: str, other: str) -> str:
    """Return the path of the file `other` in the folder of `name`."""
    folder = os.path.dirname(name)
    return f"{folder}/{other}" if folder else other


_USUAL_POSITIONS = 512
MOST_POSITIONS = 1_000_000  # transformers writes 10**30 for a tokenizer without a limit


def max_seq_length(files: ConfigFiles, chosen: int | None) -> int:
    """Return the limit `chosen`, or sentence-transformers'.

    It is capped by the rows of the position embedding.
    """
    family = FAMILIES.get(files.model_type)
    limit = chosen or files.transformer.get("max_seq_length")
    limit = limit or files.tokenizer.get("model_max_length")
    if family is None:
        own = int(chosen or files.transformer.get("max_seq_length") or 0)
        if 0 < own <= MOST_POSITIONS:
            return own
        longest = int(files.tokenizer.get("model_max_length") or 0)
        positions = _positions_of_graph(files.config)
        if not 0 < longest <= MOST_POSITIONS:
            return positions or _USUAL_POSITIONS
        return min(longest, positions or longest)
    positions = positions_of(files)
    given = chosen or files.transformer.get("max_seq_length")
    if given and family.positions not in {"absolute", "after padding"}:
        return min(int(given), MOST_POSITIONS)  # no table ends there, so the model reads on
    return min(int(limit or positions), positions)


def positions_of(files: ConfigFiles) -> int:
    """Return the tokens that the position embedding of a built graph has rows for."""
    family = FAMILIES[files.model_type]
    settings = family.settings(files.config)
    positions = int(settings["max_position_embeddings"] or 512)
    if family.positions == "after padding":
        positions -= int(settings["pad_token_id"]) + 1
    return positions


def _positions_of_graph(config: Mapping[str, Any]) -> int:
    """Return the positions of a shipped graph, whose architecture is unknown; 0 if not stated."""
    names = ("max_position_embeddings", "n_positions", "max_trained_positions")
    return int(next((config[name] for name in names if config.get(name)), 0))
