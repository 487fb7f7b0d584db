"""`hotstart models`: list, show, pull, prepare, calibrate, verify and remove models."""

from __future__ import annotations

import argparse
import json
import sys

from hotstart.cli.terminal import file_size, table, visible
from hotstart.config import Settings, read_settings
from hotstart.engines import engine_for
from hotstart.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    InvalidInput,
    ModelError,
)
from hotstart.models.artifacts import Artifact, find, list_artifacts, record_scale, verify
from hotstart.models.catalogue import KnownModel, known_models, near, search
from hotstart.models.description import describe
from hotstart.models.locate import locate
from hotstart.models.spec import KINDS, ModelSpec, artifact_folder, kind_known
from hotstart.preparation.prepare import prepare, prepare_once, remove
from hotstart.progress import bar, bytes_bar


def _shown(value: object) -> str:
    """Return a value of `models show` as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items()) or "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    return "-" if value is None or value == "" else str(value)


def _is_here(known: KnownModel) -> bool:
    """Return whether the model is on this machine."""
    try:
        locate(ModelSpec(known.name, kind=kind_known(known.name)), read_settings())
    except ModelError:
        return False
    return True


def run_list(arguments: argparse.Namespace) -> int:
    """Print the prepared models, and the known ones that only lie on this machine."""
    settings = read_settings()
    found = list(list_artifacts(settings))
    prepared = [artifact for artifact in found if isinstance(artifact, Artifact)]
    if arguments.json:
        print(json.dumps([_summary(artifact) for artifact in prepared], indent=1))
    else:
        rows = [_row(artifact) for artifact in prepared]
        sources = {artifact.metadata.source for artifact in prepared}
        known = [each for each in known_models() if not sources & {*each.names}]
        rows += [_known_row(each) for each in known if _is_here(each)]
        print(table(("MODEL", "KIND", "DIMENSION", "TOKENS", "SIZE", "PREPARED"), rows))
    for damaged in found:
        if isinstance(damaged, ArtifactDamaged):
            print(visible(f"damaged: {damaged.facts}"))
    return 0


def run_search(arguments: argparse.Namespace) -> int:
    """Print the models of the catalogue that match every word; the status is 1 without one."""
    found = search(arguments.words)
    if arguments.json:
        print(json.dumps([known._asdict() for known in found], indent=1, ensure_ascii=False))
        return 0 if found else 1
    if not found:
        words = " ".join(arguments.words)
        meant = " or ".join(near(words))
        hint = f"Did you mean {meant}?" if meant else "Any owner/name of the hub can be pulled."
        sys.stderr.write(visible(f"No model of the catalogue matches {words!r}. {hint}\n"))
        return 1
    head = ("MODEL", "KIND", "DIM", "TOKENS", "PARAMS", "LANGUAGES", "LICENSE")
    print(table(head, [_catalogue_row(known) for known in found], width=_TERMINAL))
    return 0


_TERMINAL = 80  # columns


def _catalogue_row(known: KnownModel) -> tuple[str, ...]:
    spoken = known.languages.split()
    return (
        known.name,
        known.kind,
        _shown(known.dimension),
        _shown(known.max_seq_length),
        count_shown(known.parameters),
        f"{len(spoken)} languages" if len(spoken) > _LISTED else _shown(known.languages),
        _shown(known.license),
    )


_LISTED = 4  # languages that a row lists


def count_shown(parameters: int | None) -> str:
    """Return a number of parameters as text, for example 22.7M."""
    if parameters is None:
        return "-"
    scale, unit = (1e9, "B") if parameters >= 1e9 else (1e6, "M")
    return f"{parameters / scale:.3g}{unit}"


def run_show(arguments: argparse.Namespace) -> int:
    """Print the details of one model, prepared or not."""
    spec = _spec(arguments)
    settings = read_settings()
    artifact = find(spec, settings)
    if artifact is not None:
        facts = _summary(artifact) | {"prepared": artifact.folder}
    else:
        located = locate(spec, settings)
        model = describe(located.folder, spec.source, spec.kind, spec.file, spec.max_length)
        facts = {
            "source": spec.source,
            "kind": spec.kind,
            "origin": located.origin,
            "original_folder": located.folder,
            "revision": located.revision,
            "dimension": model.dimension,
            "max_seq_length": model.max_seq_length,
            "prompts": model.prompts,
            "prepared": None,
        }
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print(table(("", ""), [(key, _shown(value)) for key, value in facts.items()]))
    return 0


def run_pull(arguments: argparse.Namespace) -> int:
    """Download one model; a model that is complete on this machine needs no network."""
    from hotstart.models.hub import complete_location, fetch

    spec = _spec(arguments)
    settings = read_settings()
    location = None if arguments.update else complete_location(spec, settings)
    if location is not None:
        print(f"{spec.source} is already in {location.folder}")
        return 0
    with bytes_bar(f"Downloading {spec.source}", shown=not arguments.quiet) as report:
        folder = fetch(spec, settings, report)
    print(f"{spec.source}: downloaded to {folder}")
    return 0


def run_prepare(arguments: argparse.Namespace) -> int:
    """Prepare one model again."""
    spec = _spec(arguments)
    settings = read_settings()
    with bar(f"Preparing {spec.source}", 100, shown=not arguments.quiet) as advance:
        done = 0

        def report(stage: str, fraction: float) -> None:
            nonlocal done
            advance(max(0, round(fraction * 100) - done))
            done = max(done, round(fraction * 100))

        artifact = prepare(spec, settings, report)
    print(f"{spec.source}: prepared in {artifact.folder}")
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Compare each file of one prepared model with its recorded SHA-256."""
    spec = _spec(arguments)
    settings = read_settings()
    artifact = find(spec, settings)
    if artifact is None:
        raise _missing(spec, settings)
    faults = verify(artifact)
    if faults:
        raise ArtifactDamaged(artifact.folder, reason="; ".join(faults), arguments=spec.arguments)
    print(f"{spec.source}: {len(artifact.metadata.files)} files match their checksums")
    return 0


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Measure how far the cosines of one model spread, for hybrid search."""
    from hotstart.embedder import Embedder
    from hotstart.preparation.calibrate import PASSAGES, QUESTIONS, similarity_scale

    spec, settings = _spec(arguments), read_settings()
    artifact = find(spec, settings) or prepare_once(spec, settings)
    embedder = Embedder(
        spec.source,
        revision=spec.revision,
        engine=spec.engine,
        precision=spec.precision,
        file=spec.file,
    )
    questions = embedder.encode_query(QUESTIONS, normalize_embeddings=True)
    passages = embedder.encode_document(PASSAGES, normalize_embeddings=True)
    scale = similarity_scale(questions, passages)
    if scale is None:
        raise InvalidInput("MODEL", got=spec.source, expected="a model that tells texts apart")
    record_scale(artifact, scale)
    print(f"{spec.source}: hybrid search multiplies its cosines with {scale:.3g}")
    return 0


def run_rm(arguments: argparse.Namespace) -> int:
    """Remove the prepared files of one model; of one kind and precision, if they are given."""
    spec = _spec(arguments)
    settings = read_settings()
    if not remove(spec, settings, kind=arguments.kind, precision=arguments.precision):
        raise _missing(spec, settings)
    variant = " ".join(filter(None, (arguments.kind, arguments.precision)))
    print(f"{spec.source}: prepared files removed" + f" ({variant})" * bool(variant))
    return 0


def _spec(arguments: argparse.Namespace) -> ModelSpec:
    kind = arguments.kind or kind_known(arguments.model)
    if kind not in KINDS:
        raise InvalidInput("--kind", got=kind, expected=f"one of {', '.join(KINDS)}")
    return ModelSpec(
        arguments.model,
        arguments.revision,
        engine=engine_for(arguments.model, arguments.engine, kind),
        precision=arguments.precision or "float32",
        kind=kind,
        file=arguments.file,
    )


def _missing(spec: ModelSpec, settings: Settings) -> ArtifactMissing:
    return ArtifactMissing(
        spec.source, folder=artifact_folder(spec, settings), arguments=spec.arguments
    )


def _summary(artifact: Artifact) -> dict[str, object]:
    computed = {"kind": artifact.metadata.kind, "total_bytes": artifact.metadata.total_bytes}
    facts = artifact.metadata._asdict() | computed
    measured = artifact.metadata.measured
    facts["measured"] = measured._asdict() if measured else None
    classifier = artifact.metadata.classifier
    facts["classifier"] = classifier._asdict() if classifier else None
    graphs = artifact.metadata.graphs
    facts["graph"] = "built" if graphs.optimized else graphs.encoder
    for bulky in ("files", "original_files", "graphs"):
        del facts[bulky]
    return facts


def _row(artifact: Artifact) -> tuple[str, ...]:
    facts = artifact.metadata
    size = file_size(facts.total_bytes)
    variant = f"{facts.engine} {facts.precision}"
    limit = str(facts.max_seq_length)
    return facts.source, facts.kind, str(facts.dimension), limit, size, variant


def _known_row(known: KnownModel) -> tuple[str, ...]:
    size = file_size(known.weights_bytes) if known.weights_bytes else "-"
    limit = _shown(known.max_seq_length)
    return known.name, known.kind, _shown(known.dimension), limit, size, "no"
