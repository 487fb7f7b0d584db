"""The catalogue: models that people use, by short name, with a pinned commit and their facts.

The models are the lines of catalogue.jsonl, one JSON object a line. Every first vector of a model
of the hub pays for one look-up, so a look-up parses only the line that contains the name: 0.03 ms
for all-MiniLM-L6-v2, 0.07 ms for a name that is not there. (On the same machine, a module with the
same entries takes 0.5 ms to import, and the file as a whole 0.6 ms to parse.)

The key `source` says where the facts of a line come from: `mteb` (its ModelMeta, version 2.26.24),
`fastembed` (its lists, version 0.9.1), `card` (the model card), `package` (the files themselves). A
revision that none of them gives is absent and means `main`.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_PATH = os.path.join(os.path.dirname(__file__), "catalogue.jsonl")


class KnownModel(NamedTuple):
    """A model of the catalogue.

    Attributes:
        name: the short name.
        repository: name of the repository on the hub.
        kind: `embedding`, `reranker`, `static`, `sparse` or `multi_vector`.
        architecture: a key of `hotstart.models.architectures.FAMILIES`, if a graph can be built.
        prompts: the texts that the model card puts before a query and a document.
        revision: the commit that `pull` downloads; None for the branch `main`.
        dimension: length of a vector; None for a reranker.
        max_seq_length: maximum tokens of a text; None for no limit, or if it is not known.
        license: the identifier of the hub; empty if it is not known.
        languages: ISO 639 codes and `code`, or `multilingual`, separated by spaces.
        aliases: other short names, among them those of Ollama.
        source: where these facts come from.
        weights_bytes: size of the published weights.
        weights_sha256: SHA-256 of the published `model.safetensors`.
        package: an installable package with the original files, and their folder in it.
    """

    name: str
    repository: str
    kind: str
    architecture: str
    prompts: dict[str, str]
    revision: str | None = None
    dimension: int | None = None
    max_seq_length: int | None = None
    parameters: int | None = None
    license: str = ""
    languages: str = ""
    aliases: tuple[str, ...] = ()
    source: str = ""
    weights_bytes: int | None = None
    weights_sha256: str | None = None
    package: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the model: the short one, the repository, the aliases."""
        return (self.name, self.repository, *self.aliases)


@functools.lru_cache(maxsize=64)
def known_model(source: str) -> KnownModel | None:
    """Return the catalogue's model for a short name, an alias or a repository, or None."""
    quoted = json.dumps(source)
    with open(_PATH, encoding="utf-8") as file:
        for line in file:
            if quoted in line:
                known = _read(line)
                if source in known.names:
                    return known
    return None


def known_models() -> Iterator[KnownModel]:
    """Yield the models of the catalogue in its order."""
    with open(_PATH, encoding="utf-8") as file:
        yield from map(_read, file)


def _read(line: str) -> KnownModel:
    entry: dict[str, Any] = json.loads(line)
    for name in ("aliases", "package"):
        if name in entry:
            entry[name] = tuple(entry[name])
    return KnownModel(**{"prompts": {}} | entry)


def search(words: list[str]) -> list[KnownModel]:
    """Return the models that match every one of `words`, in the order of the catalogue.

    A word is a part of a name, a kind, an architecture, a license, or a language: its code or its
    English name.
    """
    return [known for known in known_models() if all(_matches(known, word) for word in words)]


_LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "chinese": "zh",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "vietnamese": "vi",
}
_MANY = 5  # languages from which a model counts as multilingual


def _matches(known: KnownModel, word: str) -> bool:
    word = word.lower()
    spoken = known.languages.split()
    exact = [each for each in (known.kind, known.architecture, known.license, *spoken) if each]
    if len(spoken) >= _MANY:
        exact.append("multilingual")
    if word in exact or _LANGUAGES.get(word) in spoken:
        return True
    names = [name.lower() for name in known.names]
    starts = {part for name in names for part in re.split(r"[-/._ ]", name)}
    is_kind = word.replace("-", "_") == known.kind
    is_part = len(word) > 2 and word in names[0]
    return bool(word) and (
        is_kind or is_part or word in names or any(part.startswith(word) for part in starts)
    )


def near(source: str) -> list[str]:
    """Return up to three names of the catalogue that are like `source`, the likest first."""
    import difflib  # only an error needs it

    names = {name.lower(): name for known in known_models() for name in known.names}
    close = difflib.get_close_matches(source.lower(), names, n=3, cutoff=0.8)
    return [names[name] for name in close]
