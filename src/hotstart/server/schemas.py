"""Request bodies: parsed beside the event loop, checked by pydantic.

A request can name registered models only: no field is a path, an address, a revision or a loader
option. Clients of other services send fields that hotstart does not have. Those that would change
the answer are refused by name, the others are ignored and named in the header `x-ignored-fields`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    model_validator,
)

from hotstart.pool.aio import in_thread

MOST_VALUES = 200_000
"""JSON values and names of a request: more take longer than a probe of the server may wait."""

_SMALL = 65_536  # bytes that are parsed in less than a millisecond
_PIECE = 65_536
_BYTES_OF_A_CHARACTER = 12  # at most: two escaped surrogates
_parsing = threading.Lock()


class BodyTooLarge(ValueError):
    """A request body has more values, or a longer text, than the server parses."""


async def parsed(body: bytes, longest: int) -> Any:
    """Return the parsed `body`.

    Args:
        body: JSON.
        longest: maximal characters of a text.

    Raises:
        BodyTooLarge: it has more than MOST_VALUES values, or a far longer text than `longest`.
        ValueError: it is not JSON.
    """
    return orjson.loads(body) if len(body) <= _SMALL else await in_thread(_parse, body, longest)


def _parse(body: bytes, longest: int) -> Any:
    with _parsing:  # several parsers would keep the interpreter from the event loop in turn
        if _count_values(body, _BYTES_OF_A_CHARACTER * longest) > MOST_VALUES:
            raise BodyTooLarge(f"The request has more than {MOST_VALUES} JSON values")
        return orjson.loads(body)


def _count_values(body: bytes, most_bytes: int) -> int:
    """Return an upper bound of the values in `body`, counted by marks outside of strings.

    The parser holds the interpreter from begin to end; this looks at a piece at a time.

    Raises:
        BodyTooLarge: a string certainly has more than `most_bytes` bytes.
    """
    count = 1
    in_string = False
    length = 0  # bytes of the string so far
    start = 0
    while start < len(body):
        end = start + _PIECE
        while body[end - 1 : end] == b"\\":  # an escaped mark stays in one piece
            end += 1
        parts = body[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[in_string::2])
        count += sum(map(outside.count, (b",", b"[", b"{", b":")))
        length = length + end - start if in_string and len(parts) == 1 else 0
        if length > most_bytes:
            most = most_bytes // _BYTES_OF_A_CHARACTER
            raise BodyTooLarge(f"A text of the request has more than {most} characters")
        in_string ^= len(parts) % 2 == 0
        start = end
    return count


ignored_fields: ContextVar[tuple[str, ...]] = ContextVar("ignored_fields", default=())
"""The fields of the current request that were ignored."""

_MOST_FIELDS = 100
_ABSENT = (("dimensions", 0), ("model", "default/not-specified"))
"""What infinity's client sends where its user says nothing."""

_TOKENS = (
    "token ids are not accepted, since they depend on the tokenizer of one model. "
    "Send texts (LangChain: check_embedding_ctx_length=False)"
)


def _texts(value: Any) -> Any:
    """Refuse token ids with a specific message, and anything else at its first fault."""
    if isinstance(value, list):
        for position, entry in enumerate(value):
            if not isinstance(entry, str):
                if isinstance(entry, (int, list)):
                    raise ValueError(_TOKENS)
                got = type(entry).__name__
                raise ValueError(f"a text must be a string, got {got} at position {position}")
    return value


def _documents(value: Any) -> Any:
    """Refuse what is neither a text nor a document at its first fault."""
    if isinstance(value, list):
        for position, entry in enumerate(value):
            if not isinstance(entry, (str, dict)):
                got = type(entry).__name__
                raise ValueError(f"a document must be a text, got {got} at position {position}")
            if isinstance(entry, dict) and not (
                isinstance(entry.get("text"), str) and len(entry) == 1
            ):
                raise ValueError(f"a document must have a text alone, at position {position}")
    return value


Texts = Annotated[str | list[str], BeforeValidator(_texts)]
ModelName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$",
        description="The name of a registered model.",
        examples=["all-MiniLM-L6-v2"],
    ),
]
_ROLES = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
    "retrieval.passage": "document",
}
"""What other services call the roles of a text."""


class Fields(BaseModel):
    """The fields of a request body: what is unknown is ignored or refused, null is absent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Names of fields in other services, and our name."""

    decisive: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields that would change the answer, and the values that do not."""

    @model_validator(mode="wrap")
    @classmethod
    def known_fields(cls, data: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """Check the fields that this body has; null is an absent field, or a required value."""
        if not isinstance(data, dict):
            return check(data)
        if len(data) > _MOST_FIELDS:
            raise ValueError(
                f"the request must have at most {_MOST_FIELDS} fields, got {len(data)}"
            )
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        given = {
            name: value
            for name, value in data.items()
            if (value is not None or name in required) and (name, value) not in _ABSENT
        }
        fields = cls.translated(given)
        unknown = [name for name in fields if name not in cls.model_fields]
        for name in unknown:
            _refuse_if_decisive(name, fields[name], cls)
        ignored_fields.set(tuple(name for name in unknown if _is_header_text(name)))
        return check({name: fields[name] for name in fields if name in cls.model_fields})

    @classmethod
    def translated(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Return `fields` under the names that this body has."""
        return {
            cls.renamed.get(name, name) if cls.renamed.get(name) not in fields else name: value
            for name, value in fields.items()
        }


class Body(Fields):
    """Fields of every request body that may load a model.

    Attributes:
        timeout: seconds to wait for the answer, at most what the server allows.
        keep_alive: seconds without use after which the model is unloaded, from now on; -1 for
            never; None leaves the setting unchanged.
    """

    timeout: float | None = Field(None, ge=0, le=86400, description="Seconds to wait.")
    keep_alive: float | None = Field(
        None,
        ge=-1,
        le=86400 * 365,
        description="Seconds of disuse before the model is unloaded; -1 for never.",
    )


_OF_THE_SERVER: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("source", "path", "revision", "engine", "precision", "device"), ()),
    "trust_remote_code": (False,),
}
"""What a model is, which the server's configuration says and no request."""


def _refuse_if_decisive(name: str, value: Any, body: type[Fields]) -> None:
    """Raise ValueError for a field that would change the answer, or is a misspelt one."""
    decisive = {**_OF_THE_SERVER, **body.decisive}
    if name in decisive:
        if value not in decisive[name]:
            harmless = " or ".join(repr(each) for each in decisive[name]) or "absent"
            raise ValueError(f"{name} must be {harmless}, got {str(value)[:100]!r}")
        return
    import difflib  # only an unknown field needs it

    close = difflib.get_close_matches(name[:100], body.model_fields, n=1, cutoff=0.85)
    if close:
        raise ValueError(f"{name[:100]} is unknown. Did you mean {close[0]}?")


def _is_header_text(name: str) -> bool:
    return len(name) <= 100 and name.isascii() and name.isprintable()


_EMBEDDING_ALIASES = {
    "output_dimension": "dimensions",
    "input_type": "prompt_name",
    "task": "prompt_name",
}
_EMBEDDING_DECISIVE: Mapping[str, tuple[Any, ...]] = {
    "output_dtype": ("float",),
    "embedding_type": ("float",),
    "embedding_types": (["float"],),
    "truncation": (True,),
    "truncate_prompt_tokens": (-1,),
    "late_chunking": (False,),
    "instruction": ("",),
    "pooling": (),
}


class EmbeddingsBody(Body):
    """OpenAI's request for embeddings."""

    renamed = _EMBEDDING_ALIASES
    decisive = _EMBEDDING_DECISIVE

    model: ModelName | None = Field(None, description="By default the first embedding model.")
    input: Texts = Field(description="A text, or a list of texts.", examples=["a text"])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, le=1_000_000, description="Leading dimensions kept.")
    prompt_name: str | None = Field(
        None, max_length=100, description="The name of one of the model's prompts, or a role."
    )
    user: str | None = Field(None, description="Accepted and ignored.")

    @classmethod
    def translated(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Return `fields` under our names, with the role of the texts as a prompt."""
        translated = super().translated(fields)
        prompt = translated.get("prompt_name")
        if isinstance(prompt, str):
            translated["prompt_name"] = _ROLES.get(prompt, prompt)
        return translated


class EmbedBody(Body):
    """The request of text-embeddings-inference's `/embed`."""

    renamed = _EMBEDDING_ALIASES
    decisive = _EMBEDDING_DECISIVE

    inputs: Texts = Field(description="A text, or a list of texts.", examples=[["a", "b"]])
    model: ModelName | None = Field(None, description="By default the first embedding model.")
    normalize: bool = Field(True, description="Scale each vector to length 1.")
    truncate: bool = Field(True, description="Cut long texts; if false, a long text is an error.")
    truncation_direction: Literal["right", "Right"] | None = None
    prompt_name: str | None = Field(
        None, max_length=100, description="The name of one of the model's prompts."
    )
    dimensions: int | None = Field(None, ge=1, le=1_000_000, description="Leading dimensions kept.")

    @classmethod
    def translated(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Read the options of huggingface_hub before 1.0, which sends them as `parameters`."""
        parameters = fields.get("parameters")
        if isinstance(parameters, dict):
            fields = {**parameters, **{k: v for k, v in fields.items() if k != "parameters"}}
            fields = {name: value for name, value in fields.items() if value is not None}
        return super().translated(fields)


class Document(BaseModel):
    """A document of a rerank request: its text by name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str


Documents = Annotated[list[str | Document], BeforeValidator(_documents)]
_RANK_ALIASES = {"top_k": "top_n"}
_RANK_DECISIVE: Mapping[str, tuple[Any, ...]] = {
    "rank_fields": (["text"],),
    "truncation": (True,),
    "instruction": ("",),
}


class RankBody(Body):
    """The request of `/v1/rerank`."""

    renamed = _RANK_ALIASES
    decisive = _RANK_DECISIVE

    model: ModelName | None = Field(None, description="By default the first reranker.")
    query: str = Field(examples=["which is it?"])
    documents: Documents = Field(examples=[["this", "that"]])
    top_n: int | None = Field(None, ge=1, le=1_000_000)
    return_documents: bool = False


class RerankBody(Body):
    """The request of text-embeddings-inference's `/rerank`; with `documents`, of `/v1/rerank`."""

    renamed = _RANK_ALIASES
    decisive = _RANK_DECISIVE

    query: str = Field(examples=["which is it?"])
    texts: Annotated[list[str] | None, BeforeValidator(_texts)] = Field(
        None, examples=[["this", "that"]]
    )
    documents: Annotated[list[str | Document] | None, BeforeValidator(_documents)] = None
    model: ModelName | None = Field(None, description="By default the first reranker.")
    raw_scores: bool = Field(False, description="Return raw logits instead of scores from 0 to 1.")
    return_text: bool = False
    return_documents: bool = False
    top_n: int | None = Field(None, ge=1, le=1_000_000)
    truncate: bool = Field(True, description="Cut long texts; false is refused.")
    truncation_direction: Literal["right", "Right"] | None = None

    @model_validator(mode="after")
    def has_texts(self) -> RerankBody:
        """Refuse a request with both lists, or none."""
        if (self.texts is None) == (self.documents is None):
            raise ValueError("texts or documents must be given, and one of them alone")
        return self


class PredictBody(Body):
    """The request of a prediction."""

    inputs: Any = Field(
        description="Inputs in the form that the model's kind accepts.", examples=["a text"]
    )
    key: str | None = Field(
        None, max_length=512, description="Requests with one key are answered by one version."
    )


class SearchBody(Body):
    """The request of a search."""

    query: str = Field(min_length=1, examples=["how are models evicted?"])
    top_k: int = Field(10, ge=1, le=1000)
    timeout: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="Seconds to wait for the model; 0 searches lexically at once.",
    )
    min_score: float = Field(0.0, ge=0, le=1, description="Leave out hits with a lower score.")


class LoadBody(Body):
    """The request of a load; without `timeout` the load is only started."""


class NoBody(Fields):
    """An empty request body."""


class ReloadBody(Fields):
    """The models to reload; empty for all loaded ones."""

    models: list[ModelName] | None = Field(None, max_length=1000)
