"""What a graph shows beside its vectors, over some texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart.engines.graph import feed
from hotstart.engines.text import TOKENIZER, Tokenizer, pad
from hotstart.ort import input_types, open_session, session_options
from hotstart.types import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray


def greatest(prepared: Prepared, texts: Sequence[str], threads: int) -> dict[str, NDArray[Any]]:
    """Return of each output but the one that is read the greatest value of each of its numbers.

    The texts are run one by one, so that no padding is among what is seen.
    """
    graphs = prepared.graphs
    path = os.path.join(prepared.folder, graphs.encoder)
    session = open_session(path, session_options(threads, packed=False), optimize=False)
    inputs = input_types(session)
    names = [entry.name for entry in session.get_outputs() if entry.name != graphs.output]
    found: dict[str, NDArray[Any]] = {}
    for tokens in Tokenizer(os.path.join(prepared.folder, TOKENIZER)).tokens(texts):
        values = session.run(names, feed(inputs, pad([tokens], prepared.pad_token_id)))
        for name, value in zip(names, values, strict=True):
            found[name] = np.maximum(found[name], value) if name in found else value
    return found
