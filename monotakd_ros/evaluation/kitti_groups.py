"""AP of parts of the ground truth: by distance, by occlusion, by truncation; matched and counted as KITTI does.

All labelled objects take part whatever their height in the image, so that far ones are seen; by distance, those that
"hard" leaves out as too hidden or cut off stay out. Ground truth of the other groups is ignored: to find it is
neither right nor wrong. A result that matches nothing counts against the distance band it stands in; occlusion and
truncation it has none, so, as with KITTI's difficulties, it counts against every group. Unlike in KITTI's own 3D
figures, results in DontCare regions are excused: far objects often have no labels.

AP is the mean over recall 1/40, 2/40 ... 1 of the best precision at that recall or above. That is R40 without the
devkit's choice of score limits, by which perfect results on seven objects score 15: groups can be small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from monotakd_ros.evaluation.kitti_ap import OVERLAPS, r40
from monotakd_ros.evaluation.kitti_counting import HARD, Selection, count, events, overlap_limit
from monotakd_ros.evaluation.kitti_pairs import PairTable

METRICS = ("3d", "bev")
DISTANCE_BANDS_M = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0), (40.0, 60.0), (60.0, np.inf))
OCCLUSIONS = {"visible": (0, 0), "partly occluded": (1, 1), "largely occluded": (2, 2), "unknown": (3, 3)}
TRUNCATIONS = {
    "up to 0.15": (-0.5, 0.15),
    "0.15 to 0.3": (0.15, 0.3),
    "0.3 to 0.5": (0.3, 0.5),
    "over 0.5": (0.5, 1.0),
}
_ANYTHING_KNOWN = Selection(excuse_dont_care=True, unknown_passes=False)


def distance_name(band_m: tuple[float, float]) -> str:
    """E.g. "10-20 m"."""
    low, high = band_m
    return f"{low:g}-{high:g} m" if np.isfinite(high) else f"over {low:g} m"


def distance_selections() -> dict[str, Selection]:
    """Group -> what counts, by ground distance from the camera."""
    seen = replace(HARD, min_height_px=0.0, excuse_dont_care=True)
    return {distance_name(band): replace(seen, distance_m=band) for band in DISTANCE_BANDS_M}


def occlusion_selections() -> dict[str, Selection]:
    """Group -> what counts, by KITTI's occlusion."""
    anything = replace(_ANYTHING_KNOWN, truncation=(-2.0, 1.0))
    return {name: replace(anything, occlusion=limits) for name, limits in OCCLUSIONS.items()}


def truncation_selections() -> dict[str, Selection]:
    """Group -> what counts, by the share outside the image."""
    anything = replace(_ANYTHING_KNOWN, occlusion=(-1, 3))
    return {name: replace(anything, truncation=limits) for name, limits in TRUNCATIONS.items()}


def ap_by_group(
    pairs: PairTable, class_names: Sequence[str], selections: dict[str, Selection]
) -> dict[str, list[dict[str, Any]]]:
    """AP of each group.

    Returns:
        class -> [{"group", "n_gt", "strict": {"3d", "bev"}, "loose": {...}}], per cent; None without ground truth.
    """
    return {
        name: [_group(pairs, name, group, selection) for group, selection in selections.items()] for name in class_names
    }


def _group(pairs: PairTable, class_name: str, group: str, selection: Selection) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group, "n_gt": 0}
    for overlaps in OVERLAPS:
        row[overlaps] = {}
        for metric in METRICS:
            limit = overlap_limit(class_name, metric, overlaps)
            found = events(pairs, count(pairs, class_name, selection, metric, limit))
            row["n_gt"] = found.num_counted()
            row[overlaps][metric] = float(r40(found.precision_at_recalls()[None])[0]) if row["n_gt"] else None
    return row
