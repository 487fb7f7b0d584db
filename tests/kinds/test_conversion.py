from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hotstart.kinds.conversion import plain

pd = pytest.importorskip("pandas", reason="in the dev extra")


class Pair(NamedTuple):
    left: Any
    right: Any


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, width=32).filter(math.isfinite),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NUMBERS = arrays.boolean_dtypes() | arrays.integer_dtypes() | arrays.floating_dtypes()
TIMES = arrays.datetime64_dtypes() | arrays.timedelta64_dtypes()


@given(JSON_VALUES)
def test_plain_keeps_json_values(value: Any) -> None:
    assert plain(value) == value


@given(arrays.arrays(NUMBERS | TIMES, arrays.array_shapes(min_dims=0)))
def test_plain_converts_every_array_to_json(array: Any) -> None:
    converted = json.loads(json.dumps(plain(array), allow_nan=False))
    assert np.shape(converted) == array.shape
    flat = np.ravel(np.array(converted, dtype=object))
    for entry, value in zip(flat, array.ravel(), strict=True):
        if array.dtype.kind in "fmM" and not np.isfinite(value):
            assert entry is None
        elif array.dtype.kind in "mM":
            assert entry == str(value.astype(str))
        else:
            assert entry == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.array([0.5, np.inf], np.longdouble), [0.5, None]),
        (np.empty((2, 0)), [[], []]),
        (pd.DatetimeIndex(["2026-01-31", None]), ["2026-01-31T00:00:00", None]),
        (np.array(["2026-01-31", "NaT"], "datetime64[ns]").astype("M8[D]"), ["2026-01-31", None]),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.array([1, None, "a"], dtype=object), [1, None, "a"]),
        ((1, {2}), [1, [2]]),
        (Pair(np.float64(1), [np.nan]), [1.0, [None]]),
        ({np.int64(1): np.array([2])}, {"1": [2]}),
        (scipy.sparse.csr_matrix([[0, 1.5]]), [[0.0, 1.5]]),
        (pd.DataFrame({"a": [1, 2], "b": [np.nan, 1]}), [{"a": 1, "b": None}, {"a": 2, "b": 1.0}]),
        (pd.Series([1.5, None]), [1.5, None]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", None]),
        (pd.Index([1, 2]), [1, 2]),
        (pd.to_datetime(pd.Series(["2026-01-31", None])), ["2026-01-31T00:00:00", None]),
        (pd.Timestamp("2026-01-31 10:00"), "2026-01-31T10:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 2), "2026-01-31T02:00:00"),
    ],
)
def test_plain_converts_examples(value: Any, expected: Any) -> None:
    converted = plain(value)
    assert converted == expected
    json.dumps(converted, allow_nan=False)


def test_plain_keeps_unknown_objects() -> None:
    thing = object()
    assert plain(thing) is thing
    assert plain([thing, b"a"]) == [thing, b"a"]
