"""A stored tensor as float32 numbers. Both widenings, of F16 and of BF16, are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotstart.safetensors import ITEM_BYTES, Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOATS = ("F32", "F16", "BF16")
"""The element types read here."""


def read_floats(tensor: Tensor, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
    """Return `count` numbers of `tensor`, by default all, from number `first` on; flat."""
    import numpy as np

    item = ITEM_BYTES[tensor.dtype]
    if count is None:
        count = tensor.length // item - first
    with open(tensor.path, "rb") as file:
        file.seek(tensor.offset + first * item)
        raw = file.read(count * item)
    if tensor.dtype == "F16":
        return np.frombuffer(raw, "<f2").astype("<f4")
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, "<f4")
