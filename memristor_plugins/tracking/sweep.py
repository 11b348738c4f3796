"""What the jobs of a sweep found, in one table."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def gather(folder: Path) -> list[Row]:
    """Write `results.csv` of a sweep: one row a finished job, its overrides and its metrics; returns the rows.

    Overrides that all jobs share are left out. Written whole, by whichever job has just finished.
    """
    found: list[tuple[str, Row, Row]] = []
    for job in sorted(folder.glob("*/metrics.json"), key=lambda path: (len(path.parent.name), path.parent.name)):
        try:
            metrics = json.loads(job.read_text(encoding="utf-8"))
            overrides = json.loads((job.parent / "provenance.json").read_text(encoding="utf-8"))["overrides"]
        except (OSError, ValueError, KeyError):  # another job is writing there
            continue
        found.append((job.parent.name, dict(o.lstrip("+").split("=", 1) for o in overrides if "=" in o), metrics))
    settings = [key for key in _union(o for _, o, _ in found) if len({o.get(key) for _, o, _ in found}) > 1]
    rows = [{"job": name, **{key: o.get(key, "") for key in settings}, **m} for name, o, m in found]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["job", *settings, *_union(m for _, _, m in found)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    part = folder / f".results.csv.{os.getpid()}.part"
    part.write_text(text.getvalue(), encoding="utf-8")
    os.replace(part, folder / "results.csv")
    return [{**row, "settings": ", ".join(f"{key}={row[key]}" for key in settings)} for row in rows]


def _union(rows: Any) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))
