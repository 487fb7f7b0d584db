"""Bind a configured model to an instance of the pool; validate what it loads.

An embedding model is handed out as an `Embedder`, a reranker as a `Reranker`: faces that stand on
the instance. Of every other kind callers get the object itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.errors import CheckFailed
from hotstart.kinds import Kind, ModelSource, kind_named
from hotstart.kinds.files import bytes_on_disk
from hotstart.pool.instance import Instance
from hotstart.pool.loader import Limits, ModelFactory, factory_of
from hotstart.pool.pool import Pool
from hotstart.registry.config import ModelCheck, ModelConfig
from hotstart.scoring import ScoreRequest
from hotstart.system import return_freed_memory
from hotstart.types import EmbedOutput, ModelInfo, Progress, Stage

if TYPE_CHECKING:
    from hotstart.pool.loader import LoadedModel

ENTIRELY = math.inf
"""Of answers that do not have the same shape, or differ in what is no number."""


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference between numbers of two answers that stand in the same place.

    0 where they are equal, and where both are not a number or both nothing; `ENTIRELY` where their
    shapes, their keys, or anything else that is no number differ.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return ENTIRELY
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if _is_sequence(one) and _is_sequence(other):
        if len(one) != len(other):
            return ENTIRELY
        return max((difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if _is_number(one) and _is_number(other):
        same = one == other or (math.isnan(one) and math.isnan(other))
        apart = abs(one - other)
        return 0.0 if same else ENTIRELY if math.isnan(apart) else float(apart)
    return 0.0 if one == other else ENTIRELY


def is_finite(answer: Any) -> bool:
    """Return whether every number of `answer` is a finite one."""
    answer = _plain(answer)
    if isinstance(answer, Mapping):
        return all(map(is_finite, answer.values()))
    if _is_sequence(answer):
        return all(map(is_finite, answer))
    return not _is_number(answer) or math.isfinite(answer)


def _plain(answer: Any) -> Any:
    """NumPy's arrays and numbers as Python's."""
    return answer.tolist() if hasattr(answer, "tolist") else answer


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


Embed = Callable[[Sequence[Any]], Any]
CheckLoaded = Callable[[str, Embed, ModelInfo, Sequence[ModelCheck]], None]
"""Raises CheckFailed for what an engine of that card makes of texts, or of pairs."""

_PROBE = "hotstart"  # what an embedding model is asked in any case


def check_answers(name: str, ask: Callable[[Any], Any], checks: Sequence[ModelCheck]) -> None:
    """Ask each of `checks`; the first one also warms the model up.

    Raises:
        CheckFailed: an answer is not the expected one, has a number that is not finite, or the
            model raised in place of answering.
    """
    for check in checks:
        try:
            answer = ask(check.input)
        except Exception as error:
            reason = f"it raised {type(error).__name__}: {error}"
            raise CheckFailed(name, question=check.input, reason=reason) from error
        fault = _fault(answer, check)
        if fault:
            raise CheckFailed(name, question=check.input, reason=fault)


def check_vectors(name: str, embed: Embed, card: ModelInfo, checks: Sequence[ModelCheck]) -> None:
    """Embed a probe: the vector must be finite and of the model's dimension. Then run the
    checks.
    """
    vector = embed([_PROBE])[0]
    if not is_finite(vector):
        raise CheckFailed(name, question=_PROBE, reason="its vector is not finite")
    if card.dimension is not None and len(vector) != card.dimension:
        reason = f"its vector has {len(vector)} dimensions, not {card.dimension}"
        raise CheckFailed(name, question=_PROBE, reason=reason)
    check_answers(name, lambda text: embed([text])[0], checks)


def check_scores(name: str, embed: Embed, card: ModelInfo, checks: Sequence[ModelCheck]) -> None:
    """Score a probe: the logits must be finite. Then run the checks on scores."""
    if not is_finite(embed([(_PROBE, _PROBE)])):
        raise CheckFailed(name, question=_PROBE, reason="its scores are not finite")

    def score(inputs: Any) -> Any:
        request = ScoreRequest(inputs)
        return request.result(EmbedOutput(embed(request.inputs), card))

    check_answers(name, score, checks)


def _fault(answer: Any, check: ModelCheck) -> str | None:
    if check.output is None:
        return None if is_finite(answer) else "an answer has numbers that are not finite"
    apart = difference(answer, check.output)
    if apart <= check.tolerance:
        return None
    how = "entirely" if apart == ENTIRELY else f"by {apart:g}, tolerated is {check.tolerance:g}"
    return f"it answered {answer!r}, not {check.output!r} (apart {how})"


Ask = Callable[[Any, Any, "float | None"], Any]
AsyncAsk = Callable[[Any, Any, "float | None"], Awaitable[Any]]
Give = Callable[[Any], Any]


class Opened(NamedTuple):
    """A version's instance, and how it is used.

    Attributes:
        key: what it is called in the pool.
        give: what callers get, of what the instance holds.
        ask: the answer of what callers get, to inputs, within so many seconds.
        size: about how many bytes it takes while it is loaded.
        async_ask: the same as `ask` without holding up the event loop; None where a thread asks.
    """

    key: Hashable
    instance: Instance[Any]
    size: Callable[[], int]
    give: Give
    ask: Ask
    async_ask: AsyncAsk | None = None


class LoadedObject:
    """A loaded object of any kind. After `close` only callers still hold it."""

    __slots__ = ("model",)

    def __init__(self, model: Any) -> None:
        self.model = model

    def close(self) -> None:
        """Release the object and return freed memory to the system."""
        self.model = None
        return_freed_memory()


def open_version(config: ModelConfig, label: str, pool: Pool, key: Hashable) -> Opened:
    """Return the version `label` of a configured model, its instance called `key` where it is its
    own; this loads nothing. InvalidInput for a kind that there is not, or what it cannot take."""
    open_ = _open_face if config.kind in _FACES else _open_object
    return open_(config, label, pool, key)


def open_made(
    name: str, kind: str, make: Callable[[], Any], pool: Pool, key: Hashable, *, pinned: bool
) -> Opened:
    """Return a model that `make` gives, as code has it and no configuration."""

    def load(stage: Stage, report: Progress, beside: object) -> LoadedObject:
        report(stage, 0.5)
        return LoadedObject(make())

    recipe = ModelFactory(name, load, LoadedObject.close, pinned=pinned)
    ask = functools.partial(_ask_object, kind_named(kind), ModelSource(name, name))
    return _opened(key, pool.hold(key, recipe), pool, _held, ask)


def _open_object(config: ModelConfig, label: str, pool: Pool, key: Hashable) -> Opened:
    kind = kind_named(config.kind)
    source, sha256 = config.versions[label]
    material = ModelSource(config.name, source, sha256, config.trusted, config.options)
    ask = functools.partial(_ask_object, kind, material)

    def load(stage: Stage, report: Progress, beside: object) -> LoadedObject:
        holding = LoadedObject(kind.load(material, report))
        report("check", 0.9)
        check_answers(
            config.name, functools.partial(ask, holding.model, timeout=None), config.check
        )
        return holding

    size = functools.partial(bytes_on_disk, source)
    recipe = ModelFactory(config.name, load, LoadedObject.close, size=size, pinned=config.pinned)
    return _opened(key, pool.hold(key, recipe, _limits(config)), pool, _held, ask)


def _open_face(config: ModelConfig, label: str, pool: Pool, key: Hashable) -> Opened:
    """A model of hotstart's own, whose face stands on the instance and is made when it is ready."""
    from hotstart.pool.loader import spec_of

    face, options = _FACES[config.kind], _spec_options(config)
    spec, _ = spec_of(config.versions[label].source, kind=config.kind, **options)
    recipe = _checked(config, factory_of(spec), face.check)
    instance = pool.hold(spec, recipe, _limits(config))
    make = functools.partial(face.make, config, spec.source, pool=pool, **options)
    made = functools.cache(make)
    opened = _opened(spec, instance, pool, lambda loaded: made(), face.ask)
    return opened._replace(async_ask=face.async_ask)


def _embedder(config: ModelConfig, source: str, **options: Any) -> Any:
    from hotstart.embedder import Embedder

    more = {name: getattr(config, name) for name in ("truncate_dim", "cache", "fallback")}
    return Embedder(source, **more, **options)


def _reranker(config: ModelConfig, source: str, **options: Any) -> Any:
    from hotstart.reranker import Reranker

    return Reranker(source, **options)


def _encode(model: Any, inputs: Any, timeout: float | None) -> Any:
    return model.encode(inputs, timeout=timeout)


def _score(model: Any, inputs: Any, timeout: float | None) -> Any:
    return model.predict(inputs, timeout=timeout)


async def _aencode(model: Any, inputs: Any, timeout: float | None) -> Any:
    return await model.aencode(inputs, timeout=timeout)


async def _ascore(model: Any, inputs: Any, timeout: float | None) -> Any:
    return await model.apredict(inputs, timeout=timeout)


def _opened(key: Hashable, instance: Instance[Any], pool: Pool, give: Give, ask: Ask) -> Opened:
    return Opened(key, instance, functools.partial(pool.size, key), give, ask)


def _checked(config: ModelConfig, recipe: ModelFactory, check: CheckLoaded) -> ModelFactory:
    """Return a copy of `recipe` that validates each loaded model, promotions included."""

    def load(stage: Stage, report: Progress, beside: LoadedModel | None) -> LoadedModel:
        loaded: LoadedModel = recipe.load(stage, report, beside)

        def embed(inputs: Any) -> Any:
            return loaded.engine.embed(inputs).vectors

        try:
            check(config.name, embed, loaded.info, config.check)
        except BaseException:
            loaded.close()
            raise
        return loaded

    return recipe._replace(load=load, pinned=config.pinned)


def _spec_options(config: ModelConfig) -> dict[str, Any]:
    names = ("revision", "strategy", "engine", "precision", "allow_download")
    return {name: getattr(config, name) for name in names}


def _limits(config: ModelConfig) -> Limits:
    return Limits(config.load_timeout, config.keep_alive)


def _held(holding: LoadedObject) -> Any:
    return holding.model


def _ask_object(
    kind: Kind, material: ModelSource, model: Any, inputs: Any, timeout: float | None
) -> Any:
    """Return the answer of a kind's model, computed in this thread."""
    return kind.predict(model, inputs, material)


class _Face(NamedTuple):
    """How an `Embedder` or `Reranker` is made, called and checked."""

    make: Callable[..., Any]
    ask: Ask
    async_ask: AsyncAsk
    check: CheckLoaded


_FACES = {
    "embedding": _Face(_embedder, _encode, _aencode, check_vectors),
    "reranker": _Face(_reranker, _score, _ascore, check_scores),
}
