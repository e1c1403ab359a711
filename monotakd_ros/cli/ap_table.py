"""KITTI AP as a table of plain text, the same after a replay and after an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COLUMNS = (
    ("strict", "3d", "3D strict"),
    ("strict", "bev", "BEV strict"),
    ("loose", "3d", "3D loose"),
    ("loose", "bev", "BEV loose"),
)
NOTE = "strict: overlap over 0.7 for Car, 0.5 for others; loose: 0.5 and 0.25; - where nothing was found"


def ap_table(kitti_ap: dict[str, Any], class_names: Iterable[str]) -> list[str]:
    """The lines of a table with a row per class that has ground truth; empty where none has.

    Args:
        kitti_ap: as `evaluation.kitti_ap.kitti_ap` returns.
        class_names: of the rows.
    """
    rows = [_row(kitti_ap, name) for name in class_names if any(kitti_ap["strict"][name]["3d"]["n_gt"])]
    head = f"{'':>12}" + "".join(f"{title:>24}" for _, _, title in COLUMNS)
    return [head, *rows, NOTE] if rows else []


def _row(kitti_ap: dict[str, Any], name: str) -> str:
    cells = [kitti_ap[overlaps][name][metric]["R40"] for overlaps, metric, _ in COLUMNS]
    triples = [" / ".join("-" if value is None else f"{value:.1f}" for value in cell) for cell in cells]
    return f"{name:>12}" + "".join(f"{triple:>24}" for triple in triples)
