"""The short text that an evaluation ends with; the page has it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monotakd_ros.report.writer import HTML_NAME, JSON_NAME

SHOWN = (("strict", "3d"), ("strict", "bev"), ("loose", "3d"), ("loose", "bev"))


def summary(report: dict[str, Any], out: Path) -> str:
    """Headline table, warnings, and where the files are."""
    parts = [f"{report['run']['title']}: {report['frames']['evaluated']} frames", _table(report), *_intervals(report)]
    parts += [f"note: {warning}" for warning in report["warnings"]]
    return "\n".join([*parts, f"report:  {out / HTML_NAME}", f"figures: {out / JSON_NAME}"])


def _table(report: dict[str, Any]) -> str:
    heads = ("3D strict", "BEV strict", "3D loose", "BEV loose")
    lines = ["KITTI AP (R40, %): easy / moderate / hard", f"{'':>12}" + "".join(f"{head:>24}" for head in heads)]
    for name in report["classes"]:
        cells = [report["kitti_ap"][overlaps][name][metric] for overlaps, metric in SHOWN]
        values = [" / ".join("-" if value is None else f"{value:.1f}" for value in cell["R40"]) for cell in cells]
        lines.append(f"{name:>12}" + "".join(f"{value:>24}" for value in values))
    lines.append("strict: overlap over 0.7 for Car, 0.5 for others; loose: 0.5 and 0.25; - where nothing was found")
    return "\n".join(lines)


def _intervals(report: dict[str, Any]) -> list[str]:
    """One line per class: 3D moderate with its interval."""
    if report["kitti_ap_interval"] is None:
        return []
    lines = []
    for name in report["classes"]:
        parts = []
        for overlaps in ("strict", "loose"):
            interval = report["kitti_ap_interval"][overlaps][name]["3d"][1]
            if interval is not None and report["kitti_ap"][overlaps][name]["3d"]["n_gt"][1]:
                value = report["kitti_ap"][overlaps][name]["3d"]["R40"][1]
                parts.append(f"{overlaps} {value:.1f} ({interval[0]:.1f} to {interval[1]:.1f})")
        if parts:
            lines.append(f"{name}, 3D moderate with 95 % interval: {', '.join(parts)}")
    return lines
