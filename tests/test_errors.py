from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from hotstart import errors
from hotstart.errors import message

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.HotstartError)
]
EXAMPLES = [
    errors.InvalidInput("top_k", got=0, expected="a positive integer"),
    errors.InvalidText(3, reason="it is None", remedy="Pass strings"),
    errors.MissingExtra("tantivy", extra="search"),
    errors.MissingExtra("numpy", extra=None),
    errors.ModelNotFound("m", looked=["here", "there"], on_hub=True),
    errors.ModelFileMissing("m", path="/f/m.skops"),
    errors.FunctionMissing("m", source="a.b:c", missing="module a.b"),
    errors.ModelIncomplete("m", folder="/f", missing=["config.json"], on_hub=False),
    errors.ModelDamaged("/f/model.safetensors", reason="too short"),
    errors.UnsupportedModel("/f", feature="architecture", got="t5", supported=("bert",)),
    errors.WrongKind("m", kind="sparse", wanted="embedding"),
    errors.DownloadFailed("m", reason="no network"),
    errors.ArtifactMissing("m", folder="/f"),
    errors.ArtifactMissing("m", folder="/f", arguments="m --kind reranker"),
    errors.ArtifactDamaged("/f", reason="model.onnx is missing"),
    errors.CacheUnwritable("/c", reason="Read-only file system"),
    errors.CacheUnwritable("/c", reason="No space left on device", needed=91_000_000),
    errors.ConfigNotNamed("models.m.kind", got="custom", risk="it runs code", remedy="Name it"),
    errors.PickleRefused("/f/m.pkl"),
    errors.PickleRefused("/f/m.pkl", got="ab", expected="cd"),
    errors.TypesRefused("/f/m.skops", types=["os.system"]),
    errors.NotReady("m", state="loading", stage="engine", elapsed=1.0, expected=2.0),
    errors.LoadFailed("m", error=RuntimeError("no"), retry_in=0.5),
    errors.LoadTimeout("m", stage="engine", after=2.0),
    errors.CheckFailed("m", question=[1] * 100, reason="it answered 1, not 0"),
    errors.InsufficientMemory("m", needed=2 * 10**8, available=10**8, limit="RLIMIT_AS"),
    errors.StillComputing(3, after=0.5),
    errors.PredictionTimeout("m", after=0.5),
    errors.PredictionFailed("m", error=SystemExit(3)),
    errors.Overloaded("m", lane="bulk", tokens=1000, retry_after=2.5),
    errors.UnknownModel("m", known=["a", "b"]),
    errors.UnknownVersion("m", "v3", known=["v1", "v2"]),
    errors.RemoteUnavailable("openai:m@http://h", reason="HTTP 503: busy", retry_after=2.0),
    errors.RemoteUnavailable("openai:m@http://h", reason="again and again", retry_in=1.5),
    errors.RemoteTimeout("openai:m@http://h", after=0.4),
    errors.RemoteRefused("openai:m@http://h", status=401, message="no key"),
    errors.RemoteAnswerInvalid("openai:m@http://h", reason="it is no JSON"),
    errors.IndexMissing("/f"),
    errors.IndexBusy("/f"),
    errors.IndexDamaged("/f/index.db", reason="not a database"),
]


def test_the_tree_drawn_at_the_head_of_the_file_is_the_tree() -> None:
    drawn = []
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if found:
            depth = len(found[1]) // 4
            stack[depth:] = [found[2]]
            drawn.append((found[2], stack[depth - 1] if depth else "Exception", found[3]))
    actual = [
        (cls.__name__, cls.__bases__[0].__name__, *(b.__name__ for b in cls.__bases__[1:]))
        for cls in CLASSES
    ]
    assert sorted(tuple(filter(None, entry)) for entry in drawn) == sorted(actual)


def test_every_class_that_is_raised_has_an_example_here() -> None:
    groups = {
        *(errors.HotstartError, errors.ModelError, errors.ReadinessError),
        *(errors.RemoteError, errors.RegistryError, errors.SearchError),
    }
    assert {type(example) for example in EXAMPLES} == set(CLASSES) - groups


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_message_states_the_facts_and_the_remedy(error: errors.HotstartError) -> None:
    assert str(error) == message(error.facts, error.remedy)
    assert re.match(r"[A-Z/]|top_k|tantivy|numpy", error.facts)
    assert re.match(r"[A-Z][a-z]+\b", error.remedy) or " must be " in error.facts
    assert "\n" not in str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_to_another_process(error: errors.HotstartError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), error.again()):  # noqa: S301
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_they_are_caught_as_what_python_calls_them() -> None:
    assert issubclass(errors.InvalidInput, ValueError)
    assert issubclass(errors.MissingExtra, ImportError)
    late = (errors.NotReady, errors.StillComputing, errors.RemoteTimeout)
    assert all(issubclass(error, TimeoutError) for error in late)


def test_a_long_wrong_value_is_shortened() -> None:
    message = str(errors.InvalidInput("inputs", got=b"x" * 1_000_000, expected="a string"))
    assert len(message) < 500
    assert "(1000003 characters)" in message
