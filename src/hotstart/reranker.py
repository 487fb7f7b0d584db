"""`Reranker`: pairs of texts to scores.

pairs ──check──▶ pool: loaded model ──▶ engine: logits of a classifier ──▶ scoring: scores
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hotstart.pool.handle import LoadableModel, ModelHandle
from hotstart.pool.loader import Limits, spec_of
from hotstart.pool.pool import Pool, default_pool
from hotstart.progress import bar
from hotstart.scoring import RankRequest, ScoreRequest
from hotstart.types import EmbedOutput, LoadingStrategy, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hotstart.scoring import RankOptions, ScoreOptions


class Reranker(LoadableModel):
    """A cross-encoder by name. The constructor loads nothing; the methods are thread-safe.

    Rerankers of one model share one loaded instance in the process. The first one sets strategy,
    load_timeout and keep_alive.

    Args:
        model: a repository of the hub (`owner/name`; without an owner, of `cross-encoder`), or a
            folder as sentence-transformers' CrossEncoder or transformers saves it.
        revision: commit, tag or branch of a hub repository.
        strategy: when and in which stages the model is loaded, see `Embedder`; `quantized` loads
            float32 at first use, because rerankers have no 8-bit weights.
        engine: `onnx` (the default), `openvino` or `torch`.
        precision: of the weights, `float32`.
        device: for the engine `torch`, see `Embedder`.
        trust_remote_code: for the engine `torch`, see `Embedder`.
        max_length: tokens kept of a pair, special tokens included; None for the model's own limit.
        file: the ONNX file of the model to run, see `Embedder`.
        allow_download: let a load download a model that is not on this machine.
        load_timeout: seconds after which a load fails.
        keep_alive: seconds without use after which the model is unloaded.
        on_progress: called by the loading thread with stage and fraction.
        pool: owner of the loaded model; by default the pool of the process.

    Raises:
        InvalidInput: an argument cannot be used, an engine or a precision for one.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        strategy: str | LoadingStrategy | None = None,
        engine: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        max_length: int | None = None,
        file: str | None = None,
        allow_download: bool = False,
        load_timeout: float | None = None,
        keep_alive: float | None = None,
        on_progress: Progress | None = None,
        pool: Pool | None = None,
    ) -> None:
        of_spec: dict[str, Any] = {
            "revision": revision,
            "strategy": strategy,
            "engine": engine,
            "precision": precision,
            "device": device,
            "trust_remote_code": trust_remote_code,
            "max_length": max_length,
            "allow_download": allow_download,
            "file": file,
        }
        self._spec, choice = spec_of(model, kind="reranker", **of_spec)
        limits = Limits.checked(load_timeout, keep_alive)
        instance = (pool or default_pool()).instance(self._spec, limits)
        arguments = of_spec | {
            "model": self._spec.source,
            "load_timeout": load_timeout,
            "keep_alive": keep_alive,
            "on_progress": on_progress,
            "pool": pool,
        }
        super().__init__(instance, choice, on_progress, arguments)
        self._model = ModelHandle(self._spec, instance)

    def __repr__(self) -> str:
        return f"Reranker({self.model!r}, state={self.state!r})"

    @property
    def model(self) -> str:
        """The name of the model, as the constructor got it."""
        return self._spec.source

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each output, without loading the model."""
        classifier = self._model.unprepared_info().classifier
        assert classifier is not None, "the folder of a reranker says so"
        return classifier.labels

    @property
    def max_seq_length(self) -> int | None:
        """Tokens kept of a pair, special tokens included, without loading the model; None: all."""
        return self._model.unprepared_info().max_seq_length

    def predict(
        self,
        inputs: Sequence[Any],
        *,
        activation: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Return the scores of `inputs`, as sentence-transformers' CrossEncoder does.

        A pair that is too long loses tokens at the end of the longer text.

        Args:
            inputs: one pair of texts, or a sequence of pairs.
            activation: function from logits to scores: `sigmoid`, `softmax`, `tanh`, or `identity`;
                None for the model's own.
            batch_size: maximal number of pairs in a batch; by default limited by a token budget.
            show_progress_bar: draw a bar on the terminal.
            timeout: seconds to wait for the model; None for no limit.

        Returns:
            float32 (n,) for n pairs and a model of one label, (n, labels) for several labels,
            n = 0 included; for one pair a float32 scalar, or (labels,).

        Raises:
            InvalidInput: an argument cannot be used; InvalidText for a pair, with its position.
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load failed.
        """
        request = ScoreRequest(
            inputs,
            activation=activation,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
        )
        return request.result(self._run(request, timeout))

    async def apredict(
        self,
        inputs: Sequence[Any],
        *,
        timeout: float | None = None,
        **options: Unpack[ScoreOptions],
    ) -> Any:
        """Await the scores of `inputs`; see `predict`.

        Cancelling one call does not affect others.
        """
        request = ScoreRequest(inputs, **options)
        return request.result(await self._arun(request, timeout))

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        activation: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        timeout: float | None = None,
    ) -> list[dict[str, Any]]:
        """Return the documents that answer `query` best, best first.

        Args:
            query: a text.
            documents: texts.
            top_k: how many to return; None for all.
            return_documents: return their texts too.
            activation: see `predict`.
            batch_size: see `predict`.
            show_progress_bar: see `predict`.
            timeout: see `predict`.

        Returns:
            A list of `{"corpus_id": position, "score": float}`, with `"text"` if requested; of
            equal scores the earlier document comes first.

        Raises:
            InvalidInput: an argument cannot be used, or the model has several labels.
            HotstartError: see `predict`.
        """
        request = RankRequest(
            query,
            documents,
            top_k=top_k,
            return_documents=return_documents,
            activation=activation,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
        )
        return request.result(self._run(request, timeout))

    async def arank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        timeout: float | None = None,
        **options: Unpack[RankOptions],
    ) -> list[dict[str, Any]]:
        """Await the best documents; see `rank`."""
        request = RankRequest(query, documents, **options)
        return request.result(await self._arun(request, timeout))

    def _run(self, request: ScoreRequest, timeout: float | None) -> EmbedOutput:
        if not request.show_progress_bar:
            return self._model.embed(request, timeout)
        with bar("Reranking", len(request.inputs), shown=True) as advance:
            return self._model.embed(request, timeout, advance)

    async def _arun(self, request: ScoreRequest, timeout: float | None) -> EmbedOutput:
        if request.runs_alone:
            return await self._model.in_thread(self._run, request, timeout)
        return await self._model.together(request, timeout)
