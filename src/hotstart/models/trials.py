"""What runs a model for those who prepare it, which this part of the house cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hotstart.models.metadata import Measured
    from hotstart.preparation.graph.weights import Ranges
    from hotstart.types import Prepared


class Trials(NamedTuple):
    """The folders that these are given go away or move as soon as they return: they must have
    closed what they opened in them.

    Attributes:
        ranges: runs `measuring.PROBES`, one by one, through what `variant.write_observed` wrote;
            returns of each output but the vectors the greatest value of each of its numbers.
        measure: measures the first, through PROBES too, against the second, the same in float32.
    """

    ranges: Callable[[Prepared], Ranges]
    measure: Callable[[Prepared, Prepared], Measured]
