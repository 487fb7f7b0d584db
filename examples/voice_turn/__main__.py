"""`python -m examples.voice_turn`: how soon a voice assistant answers, with prefetch or without."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and draw where that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m examples.voice_turn", description=__doc__)
    parser.add_argument("--questions", type=int, default=40, help="distinct ones, 200 at most")
    parser.add_argument("--side-by-side", type=int, default=6, help="conversations at a time")
    parser.add_argument(
        "--least", type=float, default=0.39, help="seconds a vector takes, at least"
    )
    parser.add_argument("--most", type=float, default=1.16, help="at most")
    parser.add_argument("--redis", metavar="URL", help="a Redis of yours; else one is started")
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="write the sound there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw one turn there, as PNG")
    chosen = parser.parse_args(arguments)

    from examples.voice_turn.bench import WAYS, Settings, as_json, measure, table
    from examples.voice_turn.servers import redis_server

    if chosen.audio:
        chosen.audio.mkdir(parents=True, exist_ok=True)
    with nullcontext(chosen.redis) if chosen.redis else redis_server() as redis:
        settings = Settings(
            *(chosen.questions, chosen.side_by_side, chosen.least, chosen.most),
            *(redis, chosen.audio),
        )
        runs = {name: measure(settings, way) for name, way in WAYS.items()}
    print(table(runs))
    if chosen.json:
        figures = {name: as_json(run) for name, run in runs.items()}
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if chosen.picture:
        from examples.voice_turn.picture import draw

        draw({name: run.typical for name, run in runs.items()}, chosen.picture)


if __name__ == "__main__":
    main()
