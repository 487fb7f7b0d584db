"""Request bodies, checked by pydantic.

A request can name registered models only: no field is a path, an address, a revision or a loader
option, and unknown fields are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_TOKENS = (
    "token ids are not accepted, since they depend on the tokenizer of one model. "
    "Send texts (LangChain: check_embedding_ctx_length=False)"
)


def _texts(value: Any) -> Any:
    """Refuse token ids with a specific message."""
    if isinstance(value, list) and value:
        first = value[0]
        if isinstance(first, int) or (isinstance(first, list) and first):
            raise ValueError(_TOKENS)
    return value


Texts = Annotated[str | list[str], BeforeValidator(_texts)]
ModelName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="The name of a registered model.",
        examples=["all-MiniLM-L6-v2"],
    ),
]


class Body(BaseModel):
    """Fields of every request body that may load a model.

    Attributes:
        timeout: seconds to wait for the answer, at most what the server allows.
        keep_alive: seconds without use after which the model is unloaded, from now on; -1 for
            never; None leaves the setting unchanged.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    timeout: float | None = Field(None, ge=0, le=86400, description="Seconds to wait.")
    keep_alive: float | None = Field(
        None,
        ge=-1,
        le=86400 * 365,
        description="Seconds of disuse before the model is unloaded; -1 for never.",
    )


class EmbeddingsBody(Body):
    """OpenAI's request for embeddings."""

    model: ModelName | None = Field(None, description="By default the first embedding model.")
    input: Texts = Field(description="A text, or a list of texts.", examples=["a text"])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, le=1_000_000, description="Leading dimensions kept.")
    user: str | None = Field(None, description="Accepted and ignored.")


class EmbedBody(Body):
    """The request of text-embeddings-inference's `/embed`."""

    inputs: Texts = Field(description="A text, or a list of texts.", examples=[["a", "b"]])
    model: ModelName | None = Field(None, description="By default the first embedding model.")
    normalize: bool = Field(True, description="Scale each vector to length 1.")
    truncate: Literal[True] | None = Field(
        None, description="Texts are always cut at the model's limit; false is refused."
    )
    truncation_direction: Literal["right", "Right"] | None = None
    prompt_name: str | None = Field(
        None, max_length=100, description="The name of one of the model's prompts."
    )
    dimensions: int | None = Field(None, ge=1, le=1_000_000, description="Leading dimensions kept.")

    @model_validator(mode="before")
    @classmethod
    def merge_parameters(cls, data: Any) -> Any:
        """Read the options of huggingface_hub before 1.0, which sends them as `parameters`."""
        if isinstance(data, dict) and isinstance(data.get("parameters"), dict):
            options = {key: value for key, value in data.items() if key != "parameters"}
            return {**data["parameters"], **options}
        return data


class RerankBody(Body):
    """The request of text-embeddings-inference's `/rerank`."""

    query: str = Field(examples=["which is it?"])
    texts: list[str] = Field(examples=[["this", "that"]])
    model: ModelName | None = Field(None, description="By default the first reranker.")
    raw_scores: bool = Field(False, description="Return raw logits instead of scores from 0 to 1.")
    return_text: bool = False
    truncate: Literal[True] | None = None
    truncation_direction: Literal["right", "Right"] | None = None


class Document(BaseModel):
    """A document of a rerank request: its text by name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str


class RankBody(Body):
    """The request of `/v1/rerank`."""

    model: ModelName
    query: str = Field(examples=["which is it?"])
    documents: Sequence[str | Document] = Field(examples=[["this", "that"]])
    top_n: int | None = Field(None, ge=1, le=1_000_000)
    return_documents: bool = False


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


class LoadBody(Body):
    """The request of a load; without `timeout` the load is only started."""


class NoBody(BaseModel):
    """An empty request body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ReloadBody(BaseModel):
    """The models to reload; empty for all loaded ones."""

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[ModelName] | None = Field(None, max_length=1000)
