"""Speech as WAV: by espeak-ng where it is installed, else silence of the length it would have."""

from __future__ import annotations

import asyncio
import io
import shutil
import wave
from pathlib import Path
from typing import NamedTuple

RATE = 22_050
_WORDS_A_SECOND = 2.8
_PATIENCE = 20  # seconds for espeak-ng


class Audio(NamedTuple):
    """Samples, 16 bits, mono, `RATE` a second."""

    samples: bytes

    @property
    def seconds(self) -> float:
        """How long it is heard."""
        return len(self.samples) / 2 / RATE

    def cut(self, seconds: float) -> Audio:
        """Return it exactly so long: cut, or followed by silence."""
        wanted = 2 * round(seconds * RATE)
        return Audio(self.samples[:wanted].ljust(wanted, b"\0"))

    def write(self, path: Path) -> None:
        """Write it as a WAV file."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(self.samples)


async def speak(text: str) -> Audio:
    """Return `text` as it sounds."""
    if shutil.which("espeak-ng") is None:
        return Audio(b"").cut(len(text.split()) / _WORDS_A_SECOND)
    process = await asyncio.create_subprocess_exec(
        *("espeak-ng", "--stdout", "-v", "en", text),
        stdout=asyncio.subprocess.PIPE,
    )
    raw, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
    with wave.open(io.BytesIO(raw)) as file:  # its header promises more frames than there are
        return Audio(file.readframes(file.getnframes()))


class Speaker:
    """Takes audio in real time, as a telephone line does. Nothing is heard; it may be written."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    async def play(self, name: str, audio: Audio) -> None:
        """Return when the last sample was taken."""
        if self._folder is not None:
            await asyncio.to_thread(audio.write, self._folder / f"{name}.wav")
        await asyncio.sleep(audio.seconds)
