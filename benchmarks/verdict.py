"""A promise, and whether it was kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a promise was kept.

    Attributes:
        found: None where it could not be measured.
        applies: whether the promise is made for this machine; `note` says why not.
    """

    text: str
    bound: float
    at_most: bool
    found: float | None
    applies: bool = True
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether it was measured and kept; None where it is not made."""
        if not self.applies:
            return None
        if self.found is None:
            return False
        return self.found <= self.bound if self.at_most else self.found >= self.bound

    def __str__(self) -> str:
        word = {True: "KEPT  ", False: "BROKEN", None: "-     "}[self.kept]
        found = "not measured" if self.found is None else f"{self.found:.7g}"
        return f"{word} {self.text}: {found}" + (f" ({self.note})" if self.note else "")
