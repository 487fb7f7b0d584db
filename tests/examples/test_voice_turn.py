"""The voice assistant: what prefetch hides, what it costs, and its parts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
from examples.voice_turn.audio import RATE, Audio, speak
from examples.voice_turn.questions import facts, normalised, questions
from examples.voice_turn.stand_in import vector
from examples.voice_turn.turn import Timeline

PREFETCH = "prefetch at the end of speech"


def test_two_hundred_questions_differ_and_each_is_nearest_to_its_fact() -> None:
    asked = questions(200)
    assert len({normalised(question.text) for question in asked}) == 200
    known = [vector(f"{fact.topic}. {fact.answer}") for fact in facts()]
    for question in asked:
        nearness = [float(vector(normalised(question.text)) @ one) for one in known]
        assert nearness.index(max(nearness)) == question.fact
    with pytest.raises(SystemExit, match="200"):
        questions(201)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Hello,  um what about   parcels ? ", "what about parcels"),
        ("er, er", ""),
        ("opening hours", "opening hours"),
    ],
)
def test_what_was_heard_becomes_text(said: str, text: str) -> None:
    assert normalised(said) == text


def test_speech_is_sound_of_some_length_and_can_be_written(tmp_path: Path) -> None:
    audio = asyncio.run(speak("The warranty lasts two years."))
    assert 0.8 < audio.seconds < 5
    audio.cut(0.2).write(tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() == 0.2 * RATE
    assert Audio(b"").cut(0.1).seconds == 0.1


def test_a_timeline_tells_what_the_embedding_held_up() -> None:
    timeline = Timeline()
    timeline.stages = {"filler": (0.0, 0.2), "embedding": (0.01, 0.71), "answer": (0.75, 0.85)}
    assert timeline.first_audio == 0.75
    assert timeline.embedding_seconds == pytest.approx(0.7)
    assert timeline.waited == pytest.approx(0.51)


@pytest.mark.integrations
def test_a_few_turns_from_end_to_end(tmp_path: Path, checkout: Path) -> None:
    told = run(checkout, tmp_path, questions=6, least=0.1, most=0.3)
    for way in told.values():
        assert way["repeats"] == 0
        assert way["requests"] == way["texts"]
        assert way["right"] == 1
    assert told[PREFETCH]["texts"] == told["without prefetch"]["texts"] == 6
    assert told[PREFETCH]["cold"]["p50"] < told["without prefetch"]["cold"]["p50"]
    assert (tmp_path / "turn.png").read_bytes().startswith(b"\x89PNG")
    assert len([*(tmp_path / "audio").glob("*.wav")]) == 12


@pytest.mark.integrations
def test_two_hundred_questions_hide_what_fits_behind_the_filler(
    tmp_path: Path, checkout: Path
) -> None:
    told = run(checkout, tmp_path, questions=200, least=0.39, most=1.16)
    assert told[PREFETCH]["hidden"] >= 0.9
    for way in told.values():
        assert way["repeats"] == 0
        assert way["requests"] == way["texts"]
    assert told[PREFETCH]["texts"] == 200


def run(checkout: Path, folder: Path, **options: object) -> dict[str, dict[str, Any]]:
    """The figures of the program, run as its README says."""
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    files = ("--json", "turn.json", "--picture", "turn.png", "--audio", "audio")
    places = [str(folder / word) if "--" not in word else word for word in files]
    command = [sys.executable, "-m", "examples.voice_turn", "--side-by-side", "8", *given, *places]
    done = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, dict[str, Any]] = json.loads((folder / "turn.json").read_text())
    return told
