"""What every metric of this room takes: ground truth and results of one frame, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_detections, kitti_frame_from_labels
from monotakd_ros.frame import Detections3D, KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel


@dataclass(frozen=True, eq=False)
class EvaluationFrame:
    """One frame of an evaluation.

    Attributes:
        name: unique among the frames of one evaluation.
        truth: ground truth, cam.
        results: what was detected, cam; in the order in which the detector gave it.
        covariance_cam: (N, 3, 3) float64 m^2 of the results' centres, cam; all zero where unknown. None when the
            results come without any.
        stamp_ns: time of the frame, ns; None when unknown.
    """

    name: str
    truth: KittiFrame
    results: KittiFrame
    covariance_cam: np.ndarray | None = None
    stamp_ns: int | None = None

    @property
    def recording(self) -> str:
        """What the frame's name says before its last slash: its source, where an evaluation has several."""
        return self.name.rpartition("/")[0]

    def __post_init__(self) -> None:
        if self.covariance_cam is not None:
            expected, got = (len(self.results), 3, 3), self.covariance_cam.shape
            assert got == expected, f"EvaluationFrame.covariance_cam: expected shape {expected}, got {got}"


def evaluation_frame(
    name: str,
    labels: Labels3D,
    detections: Detections3D,
    camera: CameraModel,
    cam_T_lidar: np.ndarray | None = None,
    stamp_ns: int | None = None,
) -> EvaluationFrame:
    """Labels and detections of one frame side by side.

    Args:
        name: of the frame.
        labels: ground truth, lidar.
        detections: results, lidar; carried into cam by their own extrinsic.
        camera: the image's.
        cam_T_lidar: (4, 4) extrinsic of the labels; None takes that of the detections.
        stamp_ns: time of the frame, ns.
    """
    cam_T_labels = detections.cam_T_lidar if cam_T_lidar is None else cam_T_lidar
    cam_R_lidar = detections.cam_T_lidar[:3, :3]
    return EvaluationFrame(
        name=name,
        truth=kitti_frame_from_labels(labels, camera, cam_T_labels),
        results=kitti_frame_from_detections(detections, camera),
        covariance_cam=cam_R_lidar @ np.asarray(detections.covariance_lidar, dtype=np.float64) @ cam_R_lidar.T,
        stamp_ns=stamp_ns,
    )
