"""A table of a configuration file: each value is taken as what it has to be, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hotstart.errors import InvalidInput
from hotstart.sizes import bytes_of


class Table:
    """The table called `where`. Each method returns None, or what is empty, for an absent key.

    Every method raises InvalidInput for a value that is not what it takes.
    """

    def __init__(self, where: str, content: object) -> None:
        if not isinstance(content, Mapping):
            raise InvalidInput(where, got=content, expected="a table")
        self.where = where
        self.content: Mapping[str, Any] = content

    def refuse_others(self, known: Iterable[str]) -> None:
        """Raise InvalidInput where there is a key that is not `known`."""
        for key in self.content:
            if key not in known:
                expected = f"one of {', '.join(sorted(known))}"
                raise InvalidInput(f"a key of [{self.where}]", got=key, expected=expected)

    def table(self, key: str, at: str | None = None) -> Table:
        """Return the table `key`, called `at` where it is not called after this one."""
        return Table(at or f"{self.where}.{key}", self.content.get(key) or {})

    def tables(self, key: str) -> list[Table]:
        """Return the tables of the list `key`."""
        entries = self._take(key, list, "a list of tables") or []
        return [Table(f"{self.where}.{key}[{n}]", entry) for n, entry in enumerate(entries)]

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str | None:
        """Return a text that is not empty, of the `form` if one is given."""
        value = self._take(key, str, "a text")
        if value is not None and (not value or (form and not form.fullmatch(value))):
            expected = f"a text of the form {form.pattern}" if form else "a text that is not empty"
            raise self._refused(key, value, expected)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        entries = self._take(key, list, "a list of texts") or []
        if not all(isinstance(entry, str) for entry in entries):
            raise self._refused(key, entries, "a list of texts")
        return tuple(entries)

    def flag(self, key: str) -> bool:
        """Return true or false, false where it is absent."""
        return bool(self._take(key, bool, "true or false"))

    def count(self, key: str) -> int | None:
        """Return a whole number above 0."""
        value = self._take(key, int, "a whole number above 0")
        if value is not None and (isinstance(value, bool) or value < 1):
            raise self._refused(key, value, "a whole number above 0")
        return value

    def number(self, key: str) -> float | None:
        """Return a number not below 0, such as of seconds."""
        value = self._take(key, (int, float), "a number")
        if value is not None and (isinstance(value, bool) or not 0 <= value < float("inf")):
            raise self._refused(key, value, "a number not below 0")
        return value

    def size(self, key: str) -> int | None:
        """Return a number of bytes, given as such or as a text like 2GB or 512MiB."""
        value = self._take(key, (int, str), "a size such as 2GB")
        if value is None:
            return None
        try:
            return bytes_of(str(value))
        except ValueError:
            raise self._refused(key, value, "a size such as 2GB or 512MiB") from None

    def weights(self, key: str) -> dict[str, float]:
        """Return numbers not below 0, by name, at least one of them above 0."""
        table = self.table(key)
        taken = {name: table.number(name) or 0.0 for name in table.content}
        if taken and not any(taken.values()):
            raise self._refused(key, taken, "weights of which one is above 0")
        return taken

    def _take(self, key: str, form: type | tuple[type, ...], expected: str) -> Any:
        value = self.content.get(key)
        if value is not None and not isinstance(value, form):
            raise self._refused(key, value, expected)
        return value

    def _refused(self, key: str, got: object, expected: str) -> InvalidInput:
        return InvalidInput(f"{self.where}.{key}", got=got, expected=expected)
