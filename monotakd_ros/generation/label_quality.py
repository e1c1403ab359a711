"""How good the labels of a set are, where the recordings had labels: before and after cleaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from monotakd_ros.data.kitti_results import ground_truth_from_text, results_from_text
from monotakd_ros.evaluation.association import OperatingPoint, associate, operating_point
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame

BEFORE, AFTER = "teacher", "labels"


class FrameTexts(NamedTuple):
    """What a set holds of a frame: the recording's labels, the teacher's boxes, and the labels made of them."""

    name: str
    truth: str
    teacher: str
    labels: str


def label_quality(frames: Sequence[FrameTexts], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Precision and recall per class: of the `teacher`'s boxes from the threshold on, and of the `labels` made of them.

    Boxes are associated as `evaluation.association` does it, near along and across the viewing ray; uncertain boxes
    count as not found. Objects that are hidden or cut off count too, so recall is of all that is labelled there.

    Args:
        frames: those whose truth is known.
        thresholds: per class.

    Returns:
        Number of `frames`, and per class `teacher` and `labels` with the fields of `OperatingPoint`; empty without any.

    Raises:
        LabelError: a text is malformed.
    """
    if not frames:
        return {}
    sides = {
        BEFORE: [_evaluation_frame(frame, frame.teacher, BEFORE) for frame in frames],
        AFTER: [_evaluation_frame(frame, frame.labels, AFTER) for frame in frames],
    }
    classes = {
        name: {side: _plain(operating_point(associate(sides[side], name), score)) for side in sides}
        for name, score in thresholds.items()
    }
    return {"frames": len(frames), "classes": classes}


def _evaluation_frame(frame: FrameTexts, results: str, side: str) -> EvaluationFrame:
    truth = ground_truth_from_text(frame.truth, f"truth of frame {frame.name}").frame
    found = results_from_text(results, f"{side} of frame {frame.name}").frame
    return EvaluationFrame(frame.name, truth, _shown(found))


def _shown(results: KittiFrame) -> KittiFrame:
    """Without boxes that a camera does not see: they are neither labels nor misses."""
    left, top, right, bottom = results.bbox_px.T
    return results.select((right > left) & (bottom > top))


def _plain(point: OperatingPoint) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(point).items()}
