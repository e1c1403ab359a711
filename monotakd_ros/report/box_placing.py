"""Recorded boxes in the camera's optical frame, by tf, in KITTI's encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from monotakd_ros.data.bag_geometry import BagGeometry
from monotakd_ros.data.boxes_from_msg import RecordedBoxes
from monotakd_ros.data.recorded_boxes import read_transforms
from monotakd_ros.errors import BagError, LabelError
from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_boxes, kitti_frame_from_labels
from monotakd_ros.frame import KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel

FrameToCamera = Callable[[str], np.ndarray]
"""tf name of a frame -> cam_T_frame (4, 4)."""


class Transforms:
    """tf of the bag that boxes come from, and, where that does not connect two frames, of all bags together.

    Args:
        own: tf of that bag.
        bags: all bags; read when they are needed.
    """

    def __init__(self, own: BagGeometry, bags: Sequence[Path]) -> None:
        self._own = own
        self._bags = bags

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        """target_T_source (4, 4); None when the frames are not connected at that time."""
        if not source or not target:
            return None
        found = self._own.lookup(target, source, stamp_ns)
        return self._together.lookup(target, source, stamp_ns) if found is None else found

    def to_camera(
        self, names: Sequence[str], stamp_ns: int, where: str, known: Mapping[str, np.ndarray] | None = None
    ) -> FrameToCamera:
        """cam_T_frame at a time.

        Calling it raises a BagError that starts with `where` and names both frames when they are not connected.

        Args:
            names: that the camera's frame may have; the first that tf connects counts.
            stamp_ns: the time.
            where: topic and stamp, for messages.
            known: cam_T_frame of frames that tf need not know.
        """

        def cam_T_frame(frame: str) -> np.ndarray:
            for name in names:
                found = self.lookup(name, frame, stamp_ns)
                if found is not None:
                    return found
            if known and frame in known:
                return known[frame]
            if not frame:
                raise BagError(f"{where}: neither the array nor its detections name the frame of their boxes")
            bags = " and ".join(dict.fromkeys(str(bag) for bag in self._bags))
            camera = " or ".join(repr(name) for name in names)
            raise BagError(
                f"{where}: no transform from the boxes' frame {frame!r} to the camera's frame {camera} at that time in "
                f"the tf of {bags}; --allow-missing leaves such frames out"
            )

        return cam_T_frame

    @cached_property
    def _together(self) -> BagGeometry:
        return read_transforms(self._bags) if len(self._bags) > 1 else self._own


def cam_T_frames(boxes: RecordedBoxes, to_camera: FrameToCamera) -> np.ndarray:
    """(N, 4, 4) from each box's own frame into cam."""
    known = {name: to_camera(name) for name in dict.fromkeys(boxes.frame_ids)}
    return np.array([known[name] for name in boxes.frame_ids]).reshape(-1, 4, 4)


def results_of(
    boxes: RecordedBoxes, camera: CameraModel, cam_T_lidar: np.ndarray, to_camera: FrameToCamera
) -> tuple[KittiFrame, np.ndarray]:
    """Detections in KITTI's encoding, and their covariances (N, 3, 3) in cam.

    Args:
        boxes: detections of one moment.
        camera: the image's camera; the 2D boxes are projections.
        cam_T_lidar: (4, 4) of the frame in which boxes stand upright.
        to_camera: finds cam_T_frame.
    """
    to_cam = cam_T_frames(boxes, to_camera)
    boxes_lidar = boxes.upright_boxes(np.linalg.inv(cam_T_lidar) @ to_cam)
    results = kitti_frame_from_boxes(boxes_lidar, boxes.names, boxes.scores, camera, cam_T_lidar)
    return results, boxes.covariances_in(to_cam)


def truth_of(
    boxes: RecordedBoxes, camera: CameraModel, cam_T_lidar: np.ndarray, to_camera: FrameToCamera, where: str
) -> KittiFrame:
    """Ground truth in KITTI's encoding, as `results_of`; truncation and occlusion are unknown.

    Raises:
        LabelError: a size <= 0.
    """
    if len(boxes) and boxes.sizes.min() <= 0:
        raise LabelError(f"{where}: expected sizes > 0 of ground truth, got {boxes.sizes.min(axis=1).min():g}")
    count = len(boxes)
    labels = Labels3D(
        boxes_lidar=boxes.upright_boxes(np.linalg.inv(cam_T_lidar) @ cam_T_frames(boxes, to_camera)),
        class_names=boxes.names,
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1, dtype=np.int64),
        boxes_img_px=np.full((count, 4), np.nan),
    )
    return kitti_frame_from_labels(labels, camera, cam_T_lidar)
