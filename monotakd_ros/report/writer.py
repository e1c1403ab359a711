"""Writes a report's folder whole or not at all: report.html for people, report.json for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.report.page import render
from monotakd_ros.report.pictures import Picture

HTML_NAME = "report.html"
JSON_NAME = "report.json"


def write_report(
    out: Path,
    report: dict[str, Any],
    pictures: Sequence[Picture] = (),
    overwrite: bool = False,
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Write the folder `out`.

    Args:
        out: the report's folder.
        report: its content, plain values; floats are finite or None.
        pictures: for the page.
        overwrite: whether an earlier report there may be replaced.
        extra: writes more files into the folder that it is given, before the folder gets its final name.

    Raises:
        OutputError: `out` exists and may not be replaced, or cannot be written.
        ValueError: a float of `report` is NaN or infinite.
    """
    html = render(report, pictures)
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    folder = PendingFolder(out, overwrite)
    try:
        with output_errors(folder.target):
            folder.path.mkdir()
            (folder.path / HTML_NAME).write_text(html, encoding="utf-8")
            (folder.path / JSON_NAME).write_text(text, encoding="utf-8")
        if extra is not None:
            extra(folder.path)
        folder.commit()
    finally:
        folder.discard()
