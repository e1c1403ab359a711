"""How good the labels of a set are, where the recordings had labels: before and after cleaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.data.kitti_results import read_ground_truth, read_results
from monotakd_ros.evaluation.association import OperatingPoint, associate, operating_point
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame

MAX_FRAMES = 4000
"""More frames would say no more: so many are taken, evenly spread."""
BEFORE, AFTER = "teacher", "labels"


def label_quality(root: Path, names: Sequence[str], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Precision and recall per class: of the `teacher`'s boxes from the threshold on, and of the `labels` made of them.

    Boxes are associated as `evaluation.association` does it, near along and across the viewing ray; uncertain boxes
    count as not found. Objects that are hidden or cut off count too, so recall is of all that is labelled there.

    Args:
        root: of the set.
        names: of its frames; those without truth do not count.
        thresholds: per class.

    Returns:
        Number of `frames` that count, and per class `teacher` and `labels` with the fields of `OperatingPoint`; empty
        without any.

    Raises:
        LabelError: a file of the set is damaged.
    """
    known = [name for name in names if (root / "truth" / f"{name}.txt").is_file()]
    if not known:
        return {}
    chosen = [known[index] for index in np.unique(np.linspace(0, len(known) - 1, MAX_FRAMES).round().astype(int))]
    frames = {
        BEFORE: [_frame(root, name, root / "teacher") for name in chosen],
        AFTER: [_frame(root, name, root / "training" / "label_2") for name in chosen],
    }
    classes = {
        name: {side: _plain(operating_point(associate(frames[side], name), score)) for side in frames}
        for name, score in thresholds.items()
    }
    return {"frames": len(chosen), "classes": classes}


def _frame(root: Path, name: str, results: Path) -> EvaluationFrame:
    truth = read_ground_truth(root / "truth" / f"{name}.txt").frame
    return EvaluationFrame(name, truth, _shown(read_results(results / f"{name}.txt").frame))


def _shown(results: KittiFrame) -> KittiFrame:
    """Without boxes that a camera does not see: they are neither labels nor misses."""
    left, top, right, bottom = results.bbox_px.T
    return results.select((right > left) & (bottom > top))


def _plain(point: OperatingPoint) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(point).items()}
