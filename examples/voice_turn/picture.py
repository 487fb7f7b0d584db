"""The overlap, drawn: one turn with prefetch under one without. Only this file needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from examples.voice_turn.turn import Timeline

_STAGES = ("text", "filler", "embedding", "retrieval", "speech", "answer")
_COLOURS = ("#8d99a8", "#8d99a8", "#e4572e", "#5c7a99", "#5c7a99", "#2a6f4e")


def draw(turns: dict[str, Timeline], path: Path) -> None:
    """Draw the stages of each turn, by name, as bars over time, into the PNG `path`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(turns), sharex=True, figsize=(9, 2.2 * len(turns)), layout="constrained"
    )
    for axis, (name, turn) in zip(axes, turns.items(), strict=True):
        for row, (stage, colour) in enumerate(zip(_STAGES, _COLOURS, strict=True)):
            start, end = turn.stages[stage]
            axis.barh(row, max(end - start, 0.004), left=start, color=colour, height=0.66)
        axis.axvline(turn.first_audio, color="#2a6f4e", linewidth=1, linestyle=":")
        axis.set_title(f"{name}: the answer begins after {turn.first_audio:.2f} s", loc="left")
        axis.set_yticks(range(len(_STAGES)), _STAGES)
        axis.invert_yaxis()
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlabel("seconds since the end of speech")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
