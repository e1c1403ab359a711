"""Our labels and detections as `KittiFrame`, the encoding in which the KITTI metric is defined.

Bottom centre in rectified camera 0 (`cam`), sizes as (height, width, length), angles rotation_y and alpha: see
`geometry.boxes` for the conversion. Reading and writing KITTI's text files is `data.kitti_results`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monotakd_ros.frame import DONT_CARE, NO_LOCATION, Detections3D, KittiFrame, Labels3D
from monotakd_ros.geometry.boxes import alpha_from_rotation_y, boxes_img_from_lidar, kitti_from_lidar_boxes
from monotakd_ros.geometry.camera import CameraModel


def kitti_frame_from_labels(labels: Labels3D, camera: CameraModel, cam_T_lidar: np.ndarray) -> KittiFrame:
    """Ground truth of one frame.

    2D boxes that the labels lack (NaN) are the projections of the 3D boxes. DontCare regions come last. Unknown
    truncation and occlusion stay -1, which no difficulty excludes.

    Args:
        labels: ground truth, lidar.
        camera: the image's camera.
        cam_T_lidar: (4, 4) maps lidar points into cam.
    """
    hwl, location_cam, rotation_y = kitti_from_lidar_boxes(labels.boxes_lidar, cam_T_lidar)
    given = np.isfinite(labels.boxes_img_px).all(axis=1)
    bbox_px = np.where(given[:, None], labels.boxes_img_px, _projected_px(labels.boxes_lidar, cam_T_lidar, camera))
    count, regions = len(labels), len(labels.dont_care_px)
    nowhere = np.full((regions, 3), NO_LOCATION)
    return KittiFrame(
        names=(*labels.class_names, *[DONT_CARE] * regions),
        bbox_px=np.concatenate([bbox_px, labels.dont_care_px]),
        hwl=np.concatenate([hwl, np.full((regions, 3), -1.0)]),
        location_cam=np.concatenate([location_cam, nowhere]),
        rotation_y=np.concatenate([rotation_y, np.full(regions, -10.0)]),
        alpha=np.concatenate([alpha_from_rotation_y(rotation_y, location_cam), np.full(regions, -10.0)]),
        score=np.zeros(count + regions),
        truncation=np.concatenate([labels.truncation, np.full(regions, -1.0)]).astype(np.float64),
        occlusion=np.concatenate([labels.occlusion, np.full(regions, -1)]).astype(np.int64),
    )


def kitti_frame_from_detections(detections: Detections3D, camera: CameraModel) -> KittiFrame:
    """Results of one frame; see `kitti_frame_from_boxes`."""
    return kitti_frame_from_boxes(
        detections.boxes_lidar, detections.names, detections.scores, camera, detections.cam_T_lidar
    )


def kitti_frame_from_boxes(
    boxes_lidar: np.ndarray, names: Sequence[str], scores: np.ndarray, camera: CameraModel, cam_T_lidar: np.ndarray
) -> KittiFrame:
    """Results of one frame; 2D boxes are the projections of the 3D boxes, cut to the image.

    Args:
        boxes_lidar: (N, 7) lidar.
        names: N class names.
        scores: (N,).
        camera: the image's camera.
        cam_T_lidar: (4, 4) maps lidar points into cam.
    """
    boxes = np.asarray(boxes_lidar, dtype=np.float64)
    hwl, location_cam, rotation_y = kitti_from_lidar_boxes(boxes, cam_T_lidar)
    count = len(names)
    return KittiFrame(
        names=tuple(names),
        bbox_px=_projected_px(boxes, cam_T_lidar, camera),
        hwl=hwl,
        location_cam=location_cam,
        rotation_y=rotation_y,
        alpha=alpha_from_rotation_y(rotation_y, location_cam),
        score=np.asarray(scores, dtype=np.float64),
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1, dtype=np.int64),
    )


def _projected_px(boxes_lidar: np.ndarray, cam_T_lidar: np.ndarray, camera: CameraModel) -> np.ndarray:
    """(N, 4) px; boxes that no image pixel shows get a zero-size box, which the metric ignores for its height."""
    bbox_px = boxes_img_from_lidar(boxes_lidar, cam_T_lidar, camera).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        visible = (bbox_px[:, 2] > bbox_px[:, 0]) & (bbox_px[:, 3] > bbox_px[:, 1])
    return np.where(visible[:, None], bbox_px, 0.0)
