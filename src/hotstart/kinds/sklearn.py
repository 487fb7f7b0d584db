"""Models of scikit-learn, from skops files, and from pickles that configuration names by hash."""

from __future__ import annotations

import zipfile
from typing import Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput, ModelDamaged, TypesRefused
from hotstart.kinds import pickles
from hotstart.kinds.base import Material
from hotstart.kinds.files import expect_file
from hotstart.kinds.plain import plain
from hotstart.types import Progress

METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError, OSError)


def load(material: Material, report: Progress) -> Any:
    """Return the estimator in the file `material.source`.

    Raises:
        TypesRefused: the skops file holds types that are neither scikit-learn's nor `trusted`.
        PickleRefused: it is a pickle, of which configuration does not name the SHA-256.
        ModelFileMissing: there is no such file.
        ModelDamaged: it is not what its name says.
        MissingExtra: scikit-learn or skops is not installed.
    """
    report("libraries", 0.1)
    require("sklearn", extra="sklearn")
    report("model", 0.5)
    if material.source.endswith(pickles.SUFFIXES):
        return pickles.load_pickle(material)
    return _load_skops(material)


def predict(model: Any, inputs: Any, material: Material) -> Any:
    """Return what the estimator says of `inputs`: rows of numbers, or of values by column name.

    `material.options["method"]` names which of METHODS is asked, by default `predict`. The answer
    has an entry for each row.
    """
    method = material.options.get("method", METHODS[0])
    if method not in METHODS or not hasattr(model, method):
        offered = [name for name in METHODS if hasattr(model, name)]
        raise InvalidInput("method", got=method, expected=f"one of {', '.join(offered)}")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput("inputs", got=inputs, expected="a list of rows, at least one")
    try:
        return plain(getattr(model, method)(_rows(inputs)))
    except (ValueError, TypeError, KeyError) as error:
        wanted = getattr(model, "n_features_in_", None)
        expected = "rows that the model takes" + (f", of {wanted} values" if wanted else "")
        raise InvalidInput("inputs", got=str(error), expected=expected) from error


def _rows(inputs: list[Any]) -> Any:
    """Rows as the estimator takes them: by column name where they come so."""
    if isinstance(inputs[0], dict):
        return require("pandas", extra="sklearn").DataFrame.from_records(inputs)
    return inputs


def _load_skops(material: Material) -> Any:
    """A pickle under that name is no zip archive, and what is in one is never unpickled."""
    io = require("skops.io", extra="sklearn")
    expect_file(material.source)
    try:
        untrusted = io.get_untrusted_types(file=material.source)
        refused = sorted(set(untrusted) - set(material.trusted))
        if refused:
            raise TypesRefused(material.source, types=refused)
        return io.load(material.source, trusted=list(untrusted))
    except _DAMAGED as error:
        reason = f"no skops file ({type(error).__name__}: {error})"
        raise ModelDamaged(material.source, reason=reason) from error
