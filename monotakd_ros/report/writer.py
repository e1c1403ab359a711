"""Writes a report's folder whole or not at all: report.html for people, report.json for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import PendingFolder, output_errors, refuse_to_lose
from monotakd_ros.errors import OutputError
from monotakd_ros.report.boxes_file import BOXES_NAME
from monotakd_ros.report.page import render
from monotakd_ros.report.pictures import Picture

HTML_NAME = "report.html"
JSON_NAME = "report.json"
RESULTS_NAME = "kitti_results"
CONTENT = {HTML_NAME, JSON_NAME, BOXES_NAME, RESULTS_NAME}
"""All that a report's folder holds; with anything beside it, the folder is not replaced."""


def require_place_for_report(out: Path, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Check that a report may be written to `out`, before the work that fills it; see `refuse_to_lose`.

    Raises:
        OutputError: `out` exists and may not be replaced, is no report, or holds other files or an input.
    """
    refuse_to_lose(out, overwrite, inputs)
    names = {item.name for item in out.iterdir()} if out.is_dir() else set()
    if names and not {HTML_NAME, JSON_NAME} <= names:
        raise OutputError(f"{out}: exists and is no report; left alone, so that nothing is lost")
    if names - CONTENT:
        others = ", ".join(sorted(names - CONTENT)[:3])
        raise OutputError(f"{out}: holds more than a report ({others}); left alone, so that nothing is lost")


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
    require_place_for_report(out, overwrite)
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
