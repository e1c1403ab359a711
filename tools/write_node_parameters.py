#!/usr/bin/env python3
"""Writes what is made from the nodes' settings: the parameter files of config/, and the tables of the docs.

Run it after a change to a settings dataclass of monotakd_ros/ros: `.venv/bin/python tools/write_node_parameters.py`.
"""

from __future__ import annotations

from pathlib import Path

from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.generate_settings import GenerateSettings
from monotakd_ros.ros.settings import commented_yaml, reference_table

ROOT = Path(__file__).resolve().parents[1]
NODES = {
    "detector": ("config/detector.yaml", "docs/ros.md", DetectorSettings),
    "generate": ("config/generate_node.yaml", "docs/ros_generate.md", GenerateSettings),
}
"""Name of the node -> its parameter file, its page, its settings."""


def contents() -> dict[Path, str]:
    """Every file that is made from settings, and what it should hold."""
    made = {}
    for name, (file, page, kind) in NODES.items():
        made[ROOT / file] = commented_yaml(kind, name)
        made[ROOT / page] = with_table((ROOT / page).read_text(encoding="utf-8"), name, reference_table(kind))
    return made


def with_table(page: str, name: str, table: str) -> str:
    """The page with the table between the marks of this name.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- parameters of {name}, from its settings -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page of {name} lacks the marks {begin.strip()} and {end.strip()}")
    return f"{before}{begin}{table}{end}{after}"


if __name__ == "__main__":
    for path, text in contents().items():
        path.write_text(text, encoding="utf-8")
