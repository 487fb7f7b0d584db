"""The profile report and its advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hotstart.profiling.stages import PREPARING, StageTime

FORMAT = 1


class Advice(NamedTuple):
    """One piece of advice on a faster start, and what it saves.

    Attributes:
        finding: what is the case.
        remedy: what to do about it.
        saves_ms: measured, None if that cannot be.
    """

    name: str
    finding: str
    remedy: str
    saves_ms: float | None


class Peer(NamedTuple):
    """Another library over the same model; `ratio` is its total over hotstart's."""

    name: str
    total_ms: float
    ratio: float
    stages: list[StageTime]


class Report(NamedTuple):
    """A profile of one model under one strategy; times are medians of `runs` processes.

    Attributes:
        totals_ms: from the start of each process to its first vector.
        total_ms: their median.
        first_run_ms: the same of a first process, which is not among them: it may have had to
            prepare the model, compile bytecode and read from the disk.
        constructor_ms: of `Embedder(...)`.
        second_inference_ms: of the same text, at once after the first.
        beside: milliseconds of the stages that were loaded beside the work, after the first vector.
    """

    model: str
    strategy: str
    engine: str
    python: str
    cores: int
    runs: int
    totals_ms: list[float]
    total_ms: float
    first_run_ms: float
    constructor_ms: float
    second_inference_ms: float
    stages: list[StageTime]
    beside: dict[str, float]
    advice: list[Advice]
    against: Peer | None = None

    @property
    def imports(self) -> dict[str, float]:
        """Milliseconds by imported package, the longest first."""
        totals: dict[str, float] = {}
        for stage in self.stages:
            if stage.name.startswith("import "):
                package = stage.name.removeprefix("import ")
                totals[package] = totals.get(package, 0.0) + stage.ms
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        content = self._asdict() | {
            "format": FORMAT,
            "imports": self.imports,
            "stages": [stage._asdict() for stage in self.stages],
            "advice": [advice._asdict() for advice in self.advice],
        }
        if self.against:
            content["against"] = self.against._asdict() | {
                "stages": [stage._asdict() for stage in self.against.stages]
            }
        return content


_LEAST_MS, _LEAST_SHARE = 3.0, 0.03  # a saving below either is noise


class RunFacts(NamedTuple):
    """What the rules read; times in milliseconds.

    Attributes:
        loaded: the stages that were loaded, the first of them before the first vector.
        dont_write_bytecode: whether PYTHONDONTWRITEBYTECODE, or -B, is in force.
        uncompiled: modules that still had no usable bytecode when the first process had ended.
        other_file_system: whether the cache lies on another one than the model.
        marks: what the first process passed.
    """

    model: str
    strategy: str
    loaded: tuple[str, ...]
    dont_write_bytecode: bool
    uncompiled: tuple[str, ...]
    other_file_system: bool
    marks: tuple[str, ...]
    first_run_ms: float
    total_ms: float = 0.0
    stages: tuple[StageTime, ...] = ()

    def milliseconds(self, *names: str) -> float:
        """Return the milliseconds of the stages with these names."""
        return sum(stage.ms for stage in self.stages if stage.name in names)

    @property
    def prepared_now(self) -> bool:
        """Whether the first process had to prepare the model."""
        return bool(PREPARING & set(self.marks))


class Trial(NamedTuple):
    """A run that measures what a remedy saves; None if it cannot be tried."""

    strategy: str | None = None
    compiled: bool = False


class Rule(NamedTuple):
    """One rule that gives advice.

    Attributes:
        applies: to these facts. A rule with a `trial` is asked before it, without stages.
        finding: what is the case, `{}` filled by `says`.
        trial: what to run instead; the time it saves is measured.
        saves: milliseconds it saves, where that is known without a trial; None: not known.
        is_fact: whether it is said even if the saving is lost in the noise.
    """

    name: str
    applies: Callable[[RunFacts], bool]
    finding: str
    remedy: str
    says: Callable[[RunFacts], object] = lambda facts: ""
    trial: Trial | None = None
    saves: Callable[[RunFacts], float | None] = lambda facts: None
    is_fact: bool = False


def _environment(facts: RunFacts) -> float:
    """Milliseconds of imports before the program's first line."""
    return sum(stage.ms for stage in _before_program(facts.stages))


def _imports(facts: RunFacts) -> float:
    return sum(stage.ms for stage in facts.stages if stage.kind == "import")


def _before_program(stages: Sequence[StageTime]) -> list[StageTime]:
    names = [stage.name for stage in stages]
    known = [n for n, name in enumerate(names) if name in {"import hotstart", "constructor"}]
    early = stages[: known[0]] if known else []
    return [s for s in early if s.kind == "import" and s.name != "import standard library"]


_LOAD = (
    *("metadata", "library", "session", "tokenizer"),
    *("import numpy", "import onnxruntime", "import tokenizers"),
)


RULES = (
    Rule(
        "bytecode",
        lambda facts: len(facts.uncompiled) > 0,
        "{} were compiled from source in every process",
        "Unset PYTHONDONTWRITEBYTECODE, or compile once: python -m compileall -q SITE_PACKAGES",
        lambda facts: (
            ("Bytecode may not be written: " if facts.dont_write_bytecode else "")
            + f"{len(facts.uncompiled)} modules ({facts.uncompiled[0]} the first)"
        ),
        Trial(compiled=True),
    ),
    Rule(
        "prepare",
        lambda facts: facts.prepared_now,
        "The model was not prepared: the first process did it, and took {:.0f} ms in all",
        "Prepare it where you build or deploy: hotstart models prepare {model}",
        lambda facts: facts.first_run_ms,
        saves=lambda facts: facts.first_run_ms - facts.total_ms,
        is_fact=True,
    ),
    Rule(
        "cold files",
        lambda facts: not facts.prepared_now and facts.first_run_ms > 1.5 * facts.total_ms,
        "The first process took {:.0f} ms: files came from the disk, or bytecode was not there",
        "Run one process ahead of the one that counts, on the same machine",
        lambda facts: facts.first_run_ms,
        saves=lambda facts: facts.first_run_ms - facts.total_ms,
    ),
    Rule(
        "fast_start",
        lambda facts: facts.loaded[:1] == ("full",),
        "The strategy {} packs the weights before the first vector",
        "Use strategy='progressive': it answers first and packs beside the work",
        lambda facts: facts.strategy,
        Trial(strategy="progressive"),
    ),
    Rule(
        "start early",
        lambda facts: facts.strategy in {"lazy", "quantized"} and facts.milliseconds(*_LOAD) > 50,
        "The strategy {} loads nothing before the first text is there",
        "Call start_loading() at the start of your program, or use strategy='background': what "
        "your program does until then costs nothing any more, up to the time stated",
        lambda facts: facts.strategy,
        saves=lambda facts: facts.milliseconds(*_LOAD),
    ),
    Rule(
        "one process",
        lambda facts: _imports(facts) > 0.4 * facts.total_ms,
        "Imports are {:.0%} of the way, paid by every process",
        "Keep one process for many texts: hotstart embed - answers line by line",
        lambda facts: _imports(facts) / facts.total_ms,
        saves=_imports,
    ),
    Rule(
        "environment",
        lambda facts: _environment(facts) >= _LEAST_MS,
        ".pth files or a sitecustomize of this environment import packages in every process",
        "Install hotstart into an environment of its own",
        saves=_environment,
    ),
    Rule(
        "torch",
        lambda facts: facts.milliseconds("import torch", "import sentence_transformers") > 0,
        "The import of torch is on the way to the first vector",
        "Use a model that the onnx engine runs: of a known family, or with onnx/model.onnx in it",
        saves=lambda facts: facts.milliseconds("import torch", "import sentence_transformers"),
    ),
    Rule(
        "other file system",
        lambda facts: facts.other_file_system,
        "The model lies on another file system than the cache, so its weights were copied",
        "Set HOTSTART_CACHE_DIR to a folder on the model's file system: they are linked there, "
        "take no room, and share the page cache with the original",
    ),
)


def trials(facts: RunFacts) -> dict[str, Trial]:
    """Return what to try, by the name of its rule."""
    return {rule.name: rule.trial for rule in RULES if rule.trial and rule.applies(facts)}


def advise(facts: RunFacts, tried_ms: Mapping[str, float]) -> list[Advice]:
    """Return what would make it faster, the largest saving first.

    `tried_ms` holds the total of each trial that was run. What would save next to nothing is left
    out.
    """
    found = []
    for rule in RULES:
        if not rule.applies(facts) or (rule.trial and rule.name not in tried_ms):
            continue
        saves = facts.total_ms - tried_ms[rule.name] if rule.trial else rule.saves(facts)
        if saves is not None and saves < max(_LEAST_MS, _LEAST_SHARE * facts.total_ms):
            if not rule.is_fact:
                continue
            saves = None  # lost in the noise of two runs
        remedy = rule.remedy.replace("{model}", facts.model)
        found.append(Advice(rule.name, rule.finding.format(rule.says(facts)), remedy, saves))
    return sorted(found, key=lambda advice: -(advice.saves_ms or 0.0))
