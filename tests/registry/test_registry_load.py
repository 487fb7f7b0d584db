from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hotstart.errors import InvalidInput, LoadFailed, UnknownModel, UnknownVersion
from registry.conftest import Make, custom
from registry.models import gates


def test_load_all_takes_as_long_as_slowest_model(make: Make) -> None:
    """Two slow, one failing, one without its extra: none of them holds up another."""
    quick = {f"quick{n}": custom(bias=n, seconds=0.05) for n in range(6)}
    registry = make(
        **quick,
        slow=custom(seconds=1.0),
        slower=custom(seconds=1.5),
        failing=custom(error="its file is gone"),
        missing={"kind": "sentiment", "source": "/nowhere", "options": {}},
    )
    ready: dict[str, float] = {}
    began = time.monotonic()
    registry.on_change(
        lambda change: (
            ready.setdefault(change.name, time.monotonic() - began)
            if change.status == "ready"
            else None
        )
    )

    async def main() -> dict[str, Any]:
        loading = asyncio.ensure_future(registry.aload_all())
        assert await registry.await_ready("quick0", timeout=1.0)  # before the slow ones are
        assert registry.get_model("quick0").predict([1]) == [1]
        assert not loading.done()
        return await loading

    entries = asyncio.run(main())
    took = time.monotonic() - began
    assert 1.5 <= took < 2.4  # the sum is 2.8 and more
    assert max(ready[name] for name in quick) < 0.9
    assert sorted(registry.loaded_models) == sorted([*quick, "slow", "slower"])
    assert registry.failed_models.keys() == {"failing"}
    assert "its file is gone" in registry.failed_models["failing"]
    assert "on the next call after" in registry.failed_models["failing"]
    assert registry.skipped_models.keys() == {"missing"}
    assert "pip install 'hotstart[sentiment]'" in registry.skipped_models["missing"]
    assert entries["slower"].load_duration == pytest.approx(1.5, abs=0.3)
    assert {name: entry.status for name, entry in entries.items()} == {
        **dict.fromkeys([*quick, "slow", "slower"], "ready"),
        "failing": "failed",
        "missing": "skipped",
    }


def test_most_loads_bounds_concurrent_loads(make: Make) -> None:
    from hotstart.pool.pool import Pool

    models = {f"m{n}": custom(seconds=0.2) for n in range(4)}
    registry = make(pool=Pool(most_loads=2), **models)
    began = time.monotonic()
    registry.load_all()
    assert time.monotonic() - began >= 0.4
    assert len(registry.loaded_models) == 4


def test_load_all_timeout_does_not_cancel_loads(make: Make) -> None:
    gates.pop("late", None)
    registry = make(late=custom("gated", name="late"), early=custom())
    entries = registry.load_all(timeout=0.3)
    assert (entries["late"].status, entries["early"].status) == ("loading", "ready")
    assert asyncio.run(registry.aload_all(timeout=0.1))["late"].status == "loading"
    gates["late"].set()
    assert registry.load_all()["late"].status == "ready"


def test_load_selected_loads_only_named_models(make: Make) -> None:
    registry = make(a=custom(), b=custom(), c=custom())
    assert registry.load_selected(name for name in "a").keys() == {"a"}
    assert asyncio.run(registry.aload_selected(["b"])).keys() == {"b"}
    assert registry.loaded_models == ["a", "b"]
    with pytest.raises(UnknownModel, match="no model 'd'; it has: a, b, c"):
        registry.load_selected(["d"])


def test_unloaded_model_is_loaded_again_on_demand(make: Make) -> None:
    registry = make(a=custom(bias=1), b=custom())
    registry.load_all()
    registry.unload_all()
    assert registry.loaded_models == []
    assert registry.models()["a"].reason == "unload() was called"
    assert registry.predict("a", [1]).output == [2]
    registry.start_loading("b")
    assert asyncio.run(registry.await_ready("b"))


def test_failed_reload_keeps_old_model_and_records_error(
    make: Make, tmp_path: Any, no_backoff: None
) -> None:
    file = tmp_path / "bias"
    file.write_text("1")
    registry = make(m=custom("from_file", path=str(file)))
    registry.load_all()
    file.write_text("no number")
    with pytest.raises(LoadFailed, match="no number"):
        registry.reload("m")
    entry = registry.models()["m"]
    assert entry.status == "ready"
    assert "could not convert" in str(entry.last_error)
    assert "still serves" in entry.reason
    assert registry.predict("m", [1]).output == [2]
    file.write_text("2")
    registry.reload("m")
    assert registry.predict("m", [1]).output == [3]
    assert registry.models()["m"].last_error is None


def test_reload_all_reloads_loaded_models(make: Make, tmp_path: Any) -> None:
    file = tmp_path / "bias"
    file.write_text("1")
    registry = make(a=custom("from_file", path=str(file)), b=custom(), idle=custom())
    registry.load_selected(["a", "b"])
    file.write_text("5")
    entries = registry.reload_all()
    assert registry.predict("a", [0]).output == [5]
    assert entries["idle"].status == "unloaded"


def routed(make: Make, **more: Any) -> Any:
    table = {"kind": "custom", "versions": {}, **more}
    for label in ("one", "two", "broken"):
        table["versions"][label] = f"registry.versions:{label}"
    return make(m=table)


def test_set_route_loads_version_before_routing_to_it(make: Make) -> None:
    registry = routed(make, version="one")
    assert registry.predict("m", 0).output == 1
    registry.set_route("m", {"two": 1.0})
    assert registry.predict("m", 0).output == 2
    assert registry.models()["m"].version == "two"
    assert registry.rollback("m").version == "one"
    assert registry.predict("m", 0) == (1, "m", "one", None)
    with pytest.raises(InvalidInput, match="nothing served before"):
        registry.rollback("m")


def test_last_error_includes_versions_of_small_share(make: Make) -> None:
    registry = routed(make, route={"one": 90, "broken": 10})
    entry = registry.load_all()["m"]
    assert (entry.status, entry.version) == ("ready", "one")
    assert "it is broken" in str(entry.last_error)


def test_set_route_to_broken_version_keeps_route(make: Make) -> None:
    registry = routed(make, version="one")
    with pytest.raises(LoadFailed, match="it is broken"):
        registry.set_route("m", {"one": 50, "broken": 50})
    assert registry.predict("m", 0).version == "one"
    assert registry.models()["m"].route == {"one": 1.0}


@pytest.mark.parametrize("weights", [{}, {"one": 0}, {"one": -1, "two": 2}])
def test_set_route_refuses_invalid_weights(make: Make, weights: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="the route"):
        routed(make, version="one").set_route("m", weights)


def test_unknown_version_error_names_known_versions(make: Make) -> None:
    registry = routed(make, version="one")
    with pytest.raises(UnknownVersion, match="no version 'three'; it has one, two, broken"):
        registry.set_route("m", {"three": 1})
    with pytest.raises(UnknownVersion):
        registry.set_shadow("m", "three")
    with pytest.raises(UnknownVersion):
        registry.reload("m", "three")
