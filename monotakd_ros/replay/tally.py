"""What a replay counts while it runs, and the `summary.json` it becomes."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch

from monotakd_ros import __version__
from monotakd_ros.errors import FrameError
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, kitti_ap
from monotakd_ros.evaluation.kitti_frame import KittiFrame, kitti_frame_from_detections, kitti_frame_from_labels
from monotakd_ros.frame import Detections3D, Frame

STAGES = ("read", "prepare", "network", "decode", "write", "draw")
"""In the order of the work: source to frame, frame to tensors, forward pass, boxes, bag, pictures."""

DETECT_STAGES = ("prepare", "network", "decode")
MAX_REASONS = 50
NS_PER_S = 1e9


@dataclass
class Tally:
    """Counts of one replay.

    Attributes:
        class_names: of the detector.
        skipped: reasons of the frames that could not be used.
        stamps_ns: of the frames written.
        found: number of detections per class.
        truth: KITTI ground truth of the labelled frames.
        results: detections of the same frames.
    """

    class_names: tuple[str, ...]
    skipped: list[str] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    truth: list[KittiFrame] = field(default_factory=list)
    results: list[KittiFrame] = field(default_factory=list)

    def add(self, frame: Frame, detections: Detections3D) -> None:
        """Count one frame."""
        self.stamps_ns.append(frame.stamp_ns)
        self.found.update(detections.names)
        if frame.labels is not None:
            cam_T_lidar = detections.cam_T_lidar if frame.cam_T_lidar is None else frame.cam_T_lidar
            self.truth.append(kitti_frame_from_labels(frame.labels, frame.camera, cam_T_lidar))
            self.results.append(kitti_frame_from_detections(detections, frame.camera))

    def skip(self, error: FrameError) -> None:
        """Count a frame that could not be used."""
        self.skipped.append(str(error))

    def duration_s(self) -> float:
        """Recorded time from the first to the last frame."""
        return (self.stamps_ns[-1] - self.stamps_ns[0]) / NS_PER_S if self.stamps_ns else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values; `kitti_ap` is null where the source has no labels."""
        return {
            "frames": {"written": len(self.stamps_ns), "skipped": len(self.skipped), "labelled": len(self.truth)},
            "skipped": self.skipped[:MAX_REASONS],
            "recorded_s": round(self.duration_s(), 3),
            "detections": {name: self.found[name] for name in self.class_names},
            "kitti_ap": self.score(),
        }

    def score(self) -> dict[str, Any] | None:
        """KITTI AP of the labelled frames for the classes that KITTI and the detector share."""
        names = [name for name in KITTI_CLASSES if name in self.class_names]
        return kitti_ap(self.truth, self.results, names) if self.truth else None


def latency_ms(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Per stage and for `detect` (prepare + network + decode): p50, p95, mean, and the first frame by itself.

    The first frame pays for allocation and compilation, so it is left out of the other figures unless it is alone.
    """
    samples = {stage: seconds[stage] for stage in STAGES if seconds.get(stage)}
    if all(stage in samples for stage in DETECT_STAGES):
        samples["detect"] = [sum(parts) for parts in zip(*(samples[stage] for stage in DETECT_STAGES))]
    return {stage: _spread_ms(values) for stage, values in samples.items()}


def versions() -> dict[str, str]:
    """What ran."""
    return {
        "monotakd_ros": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _spread_ms(seconds: list[float]) -> dict[str, float]:
    warm = np.array(seconds[1:] or seconds) * 1e3
    figures = {
        "p50": np.percentile(warm, 50),
        "p95": np.percentile(warm, 95),
        "mean": warm.mean(),
        "first": seconds[0] * 1e3,
    }
    assert all(math.isfinite(value) for value in figures.values())
    return {name: round(float(value), 2) for name, value in figures.items()} | {"samples": len(warm)}
