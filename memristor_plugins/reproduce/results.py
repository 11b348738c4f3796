"""Measurements on disk: one row each, whole or not at all, so that a killed run loses none and repeats none."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


class Rows:
    """A CSV file that is appended to atomically.

    The file is written anew beside itself and renamed at every row: what a reader, or the next run after a kill, finds
    are whole rows. Values are kept as text, so that a resumed run writes the bytes of an uninterrupted one.

    Args:
        path: of the file; its folder is made if need be.
        columns: names; the first `keys` of them identify a row.
        keys: how many.
    """

    def __init__(self, path: Path, columns: Sequence[str], keys: int) -> None:
        self.path, self.columns, self.keys = path, tuple(columns), keys
        self.rows: list[tuple[str, ...]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                found = list(csv.reader(file))
            if not found or tuple(found[0]) != self.columns:
                raise ValueError(f"{path} has other columns than {', '.join(columns)}")
            self.rows = [tuple(row) for row in found[1:]]

    def __contains__(self, key: Sequence[object]) -> bool:
        wanted = tuple(str(part) for part in key)
        return any(row[: self.keys] == wanted for row in self.rows)

    def add(self, *values: object) -> None:
        """Append one row; a row with its key is there already: nothing happens."""
        if values[: self.keys] in self:
            return
        self.rows.append(tuple(str(value) for value in values))
        self._write()

    def dicts(self) -> list[dict[str, str]]:
        """Every row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        replace_text(self.path, text.getvalue())


def replace_text(path: Path, text: str) -> None:
    """Write a file whole: beside itself first, flushed to the disk, then renamed."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def value(row: Mapping[str, str], column: str) -> float:
    """A number of a row."""
    return float(row[column])
