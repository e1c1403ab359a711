"""The short text that an evaluation ends with; the page has it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monotakd_ros.cli.ap_table import ap_table
from monotakd_ros.report.writer import HTML_NAME, JSON_NAME


def summary(report: dict[str, Any], out: Path) -> str:
    """Headline table, warnings, and where the files are."""
    parts = [f"{report['run']['title']}: {report['frames']['evaluated']} frames"]
    table = ap_table(report["kitti_ap"], report["classes"])
    parts += ["KITTI AP (R40, %): easy / moderate / hard", *table] if table else ["no ground truth that counts"]
    parts += _intervals(report)
    parts += [f"note: {warning}" for warning in report["warnings"]]
    return "\n".join([*parts, f"report:  {out / HTML_NAME}", f"figures: {out / JSON_NAME}"])


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
