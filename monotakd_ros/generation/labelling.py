"""Teacher and assistant over a frame and its neighbours: boxes, evidence, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monotakd_ros.detector import Detector
from monotakd_ros.errors import CheckpointError
from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.generation.cleaning import Evidence, Neighbour, SeenBoxes, Verdict, judge
from monotakd_ros.generation.settings import CleaningSettings, FeatureOf
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, points_in_boxes, transform_boxes

POINTS_MARGIN_M = 0.1
"""Points this far outside a box still count as inside: its surface is where LiDAR points are."""
KEPT_CLOUDS = 4
"""What the teacher saw in so many clouds is kept for the next frames."""


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """What the networks see in a frame, and what is made of it.

    Attributes:
        teacher: its boxes from the lowest threshold on.
        assistant: its boxes; None without an assistant.
        verdicts: on every box of the teacher.
        evidence: what they rest on.
        features: by network, as asked for, the map (C, Y, X) float16 that distillation compares.
    """

    teacher: SeenBoxes
    assistant: SeenBoxes | None
    verdicts: tuple[Verdict, ...]
    evidence: Evidence
    features: Mapping[FeatureOf, np.ndarray] = field(default_factory=dict)


class Labeller:
    """Labels frames that have clouds.

    Args:
        teacher: a LiDAR network, which must also tell what it is not sure of.
        assistant: the second opinion, or None.
        settings: the rules.
        features: of whom to keep the bird's-eye-view maps.

    Raises:
        CheckpointError: the teacher needs no cloud (it is a student), or the assistant knows other classes, or is
            missing where its maps are asked for.
    """

    def __init__(
        self,
        teacher: Detector,
        assistant: Detector | None,
        settings: CleaningSettings,
        features: Sequence[FeatureOf] = (),
    ) -> None:
        if not teacher.needs_cloud:
            raise CheckpointError("--teacher: expected a teacher (or an assistant), got a student, which sees no cloud")
        if assistant is not None and assistant.class_names != teacher.class_names:
            raise CheckpointError(
                f"--assistant: expected the teacher's classes {', '.join(teacher.class_names)}, got "
                f"{', '.join(assistant.class_names)}"
            )
        if assistant is None and "assistant" in features:
            raise CheckpointError("features of the assistant are asked for: expected its checkpoint (--assistant)")
        self._teacher, self._assistant, self._settings = teacher, assistant, settings
        self._features = tuple(features)
        self._seen: dict[tuple[str, int], tuple[SeenBoxes, np.ndarray | None]] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels."""
        return self._teacher.class_names

    def label(self, frame: Frame, neighbours: Sequence[Frame]) -> LabelledFrame:
        """Label one frame.

        Args:
            frame: with cloud and extrinsic.
            neighbours: frames of the clouds before and after it, as far as there are any.

        Raises:
            FrameError: the image contradicts its camera.
        """
        seen, teacher_bev = self._teacher_sees(frame)
        assistant, assistant_bev = None, None
        if self._assistant is not None:
            assistant, assistant_bev = self._look(self._assistant, "assistant", frame)
        evidence = Evidence(
            num_points=_num_points(frame, seen),
            in_image=_share_in_image(frame, seen),
            assistant=assistant,
            neighbours=tuple(self._neighbour(frame, other) for other in neighbours if has_cloud(other)),
        )
        maps: dict[FeatureOf, np.ndarray | None] = {"teacher": teacher_bev, "assistant": assistant_bev}
        features = {name: bev for name, bev in maps.items() if bev is not None}
        return LabelledFrame(seen, assistant, tuple(judge(seen, evidence, self._settings)), evidence, features)

    def forget(self) -> None:
        """Forget what was seen in the clouds of earlier frames."""
        self._seen.clear()

    def _look(self, detector: Detector, name: FeatureOf, frame: Frame) -> tuple[SeenBoxes, np.ndarray | None]:
        """Boxes, and the map (C, Y, X) float16 where it is asked for."""
        if name not in self._features:
            return recorded_boxes(detector.detect(frame), frame), None
        detections, bev = detector.detect_with_bev(frame)
        return recorded_boxes(detections, frame), bev.astype(np.float16)

    def _teacher_sees(self, frame: Frame) -> tuple[SeenBoxes, np.ndarray | None]:
        """Boxes and map; a cloud that is a neighbour twice, or a neighbour and itself, is looked at once."""
        key = (frame.name, frame.stamp_ns)
        if key not in self._seen:
            for known in list(self._seen)[:-KEPT_CLOUDS]:
                del self._seen[known]
            self._seen[key] = self._look(self._teacher, "teacher", frame)
        return self._seen[key]

    def _neighbour(self, frame: Frame, other: Frame) -> Neighbour:
        seen, _ = self._teacher_sees(other)
        apart_s = abs(_cloud_stamp_ns(other) - _cloud_stamp_ns(frame)) * 1e-9
        if frame.world_T_lidar is None or other.world_T_lidar is None:
            return Neighbour(seen, apart_s)
        lidar_T_other = np.linalg.inv(frame.world_T_lidar) @ other.world_T_lidar
        return Neighbour(SeenBoxes(transform_boxes(lidar_T_other, seen.boxes_lidar), seen.scores, seen.names), apart_s)


def has_cloud(frame: Frame) -> bool:
    """Whether a frame has all that a teacher needs."""
    return frame.points_lidar is not None and frame.cam_T_lidar is not None


def recorded_boxes(detections: Detections3D, frame: Frame) -> SeenBoxes:
    """Detections in the lidar frame that was recorded, which is not always the one that the network detects in."""
    boxes = np.asarray(detections.boxes_lidar, dtype=np.float64).reshape(-1, 7)
    if frame.cam_T_lidar is not None and not np.array_equal(detections.cam_T_lidar, frame.cam_T_lidar):
        boxes = transform_boxes(np.linalg.inv(frame.cam_T_lidar) @ detections.cam_T_lidar, boxes)
    return SeenBoxes(boxes, np.asarray(detections.scores, dtype=np.float64), detections.names)


def _cloud_stamp_ns(frame: Frame) -> int:
    return frame.stamp_ns if frame.points_stamp_ns is None else frame.points_stamp_ns


def _num_points(frame: Frame, seen: SeenBoxes) -> np.ndarray:
    assert frame.points_lidar is not None, "frames to label have clouds"
    return points_in_boxes(frame.points_lidar, seen.boxes_lidar, POINTS_MARGIN_M).sum(axis=0)


def _share_in_image(frame: Frame, seen: SeenBoxes) -> np.ndarray:
    """(N,) share of each projected box's area that the image shows; 0 behind the camera."""
    assert frame.cam_T_lidar is not None, "frames to label have an extrinsic"
    whole = boxes_img_from_lidar(seen.boxes_lidar, frame.cam_T_lidar, frame.camera, clip=False)
    shown = boxes_img_from_lidar(seen.boxes_lidar, frame.cam_T_lidar, frame.camera)
    areas = [np.prod(np.maximum(box[:, 2:] - box[:, :2], 0), axis=1) for box in (shown, whole)]
    return np.nan_to_num(areas[0] / np.maximum(areas[1], 1e-9))
