"""What a model must answer before it serves: the sample answers of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hotstart.errors import CheckFailed
from hotstart.registry.config import Check
from hotstart.registry.difference import ENTIRELY, difference, is_finite
from hotstart.scoring import Scoring
from hotstart.types import Card

Embed = Callable[[Sequence[Any]], Any]
CheckLoaded = Callable[[str, Embed, Card, Sequence[Check]], None]
"""Raises CheckFailed for what an engine of that card makes of texts, or of pairs."""

_PROBE = "hotstart"  # what an embedding model is asked in any case


def check_answers(name: str, ask: Callable[[Any], Any], checks: Sequence[Check]) -> None:
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


def check_vectors(name: str, embed: Embed, card: Card, checks: Sequence[Check]) -> None:
    """Have a probe embedded, whose vector must be finite and as long as the model says; then as
    `check_answers`."""
    vector = embed([_PROBE])[0]
    if not is_finite(vector):
        raise CheckFailed(name, question=_PROBE, reason="its vector is not finite")
    if card.dimension is not None and len(vector) != card.dimension:
        reason = f"its vector has {len(vector)} dimensions, not {card.dimension}"
        raise CheckFailed(name, question=_PROBE, reason=reason)
    check_answers(name, lambda text: embed([text])[0], checks)


def check_scores(name: str, embed: Embed, card: Card, checks: Sequence[Check]) -> None:
    """Have a pair scored, whose logits must be finite; then as `check_answers`, of scores."""
    if not is_finite(embed([(_PROBE, _PROBE)])):
        raise CheckFailed(name, question=_PROBE, reason="its scores are not finite")

    def score(inputs: Any) -> Any:
        scoring = Scoring(inputs)
        return scoring.answer(embed(scoring.asked(card)), card)

    check_answers(name, score, checks)


def _fault(answer: Any, check: Check) -> str | None:
    if check.output is None:
        return None if is_finite(answer) else "an answer has numbers that are not finite"
    apart = difference(answer, check.output)
    if apart <= check.tolerance:
        return None
    how = "entirely" if apart == ENTIRELY else f"by {apart:g}, tolerated is {check.tolerance:g}"
    return f"it answered {answer!r}, not {check.output!r} (apart {how})"
