"""What a replay counts while it runs, and the `summary.json` it becomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from monotakd_ros.errors import FrameError
from monotakd_ros.evaluation.evaluation_frame import evaluation_frame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, kitti_ap
from monotakd_ros.frame import Detections3D, Frame, KittiFrame

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
            scored = evaluation_frame(frame.name, frame.labels, detections, frame.camera, frame.cam_T_lidar)
            self.truth.append(scored.truth)
            self.results.append(scored.results)

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
