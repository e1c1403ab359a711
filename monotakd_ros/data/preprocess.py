"""From a `Frame` to what a network takes: the only place where an image is resized.

Every image is brought to the network's own camera (`InputConfig`): scaled until its focal length is the
network's, moved until its principal point is the network's, then cropped or padded. One network pixel
therefore always spans the same viewing angle, which keeps predicted depth true for cameras of another
size or focal length. Training and serving both come through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from monotakd_ros.config import InputConfig
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import UNCERTAIN, Frame, FrameBatch, Labels3D
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, transform_boxes
from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift
from monotakd_ros.geometry.transforms import (
    LIDAR_HEIGHT_M,
    LIDAR_TO_OPTICAL_ROTATION,
    camera_height_m,
    invert_transform,
    nominal_cam_T_lidar,
    transform_points,
)

IGNORE_LABEL = -1
"""Class index of boxes that are neither object nor background (KITTI's neighbouring classes, uncertain labels, what
the image does not show)."""

NEIGHBOUR_CLASSES = {"Van": "Car", "Person_sitting": "Pedestrian"}
"""KITTI types that look so much like a detected class that finding them is no error."""

MAX_MOUNT_TILT_DEG = 15.0
"""A recorded LiDAR whose x axis is further than this from the viewing direction is replaced by a virtual one."""

MOUNT_HEIGHT_TOLERANCE_M = 0.2
"""Difference between a camera's height and the one in training from which it is said; an eighth of KITTI's."""

SCALE_TOLERANCE = 1.25
"""How far beyond the trained range an image may be scaled without a note."""

MIN_COVERED_SHARE = 0.6
"""Below this share of real image content the network sees less than it was trained on."""


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """One frame in the network's camera; numpy, ready for `collate`.

    Attributes:
        name: of the frame.
        image: (H, W, 3) uint8 RGB; black outside `valid_px`.
        valid_px: (4,) float32 left, top, right, bottom (exclusive) of real image content.
        img_P_cam: (3, 4) float64 projection of the network image.
        cam_T_lidar: (4, 4) float64.
        points_img: (M, 3) float32 u px, v px, depth m of the LiDAR points that fall on real image content.
        points_lidar: (M, 4) float32 x, y, z, intensity of the same points, in the lidar frame of `cam_T_lidar`.
        boxes_lidar: (N, 7) float32; None when the frame is unlabelled.
        labels: (N,) int64 class index or `IGNORE_LABEL`; None when unlabelled.
        notes: what had to be done that training did not cover, one sentence each.
        label_scores: (N,) float32 confidence of each label, by the teacher that made them; None where people (or a
            simulation) made them.
    """

    name: str
    image: np.ndarray
    valid_px: np.ndarray
    img_P_cam: np.ndarray
    cam_T_lidar: np.ndarray
    points_img: np.ndarray
    points_lidar: np.ndarray
    boxes_lidar: np.ndarray | None
    labels: np.ndarray | None
    notes: tuple[str, ...] = ()
    label_scores: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ImageMap:
    """How an image becomes the network's: resize to `resized`, then place it at `offset` on a canvas of `size`.

    All pairs are (width, height) or (u, v) in px; `offset` may be negative (crop).
    """

    resized: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]
    camera: CameraModel
    """The network image's camera."""

    @property
    def valid_px(self) -> np.ndarray:
        """(4,) float32 left, top, right, bottom (exclusive) of the canvas that real content covers."""
        left, top = (max(0, self.offset[axis]) for axis in range(2))
        right, bottom = (min(self.size[axis], self.offset[axis] + self.resized[axis]) for axis in range(2))
        return np.array([left, top, max(left, right), max(top, bottom)], dtype=np.float32)

    @property
    def covered_share(self) -> float:
        """Share of the canvas that real content covers, 0..1."""
        left, top, right, bottom = self.valid_px
        return float((right - left) * (bottom - top) / (self.size[0] * self.size[1]))


def image_map(camera: CameraModel, config: InputConfig) -> ImageMap:
    """How images of `camera` are brought to the network's camera.

    The resize is to whole pixels and the shift by whole pixels, so that the image is interpolated once; the
    returned camera accounts for the rounding exactly.
    """
    if config.focal_px is None or config.center_px is None:
        size = (camera.width, camera.height)
        return ImageMap(size, (0, 0), size, camera)
    resized = (
        max(1, round(camera.width * config.focal_px / camera.fx)),
        max(1, round(camera.height * config.focal_px / camera.fy)),
    )
    scale = (resized[0] / camera.width, resized[1] / camera.height)
    center = (scale[0] * (camera.cx + 0.5) - 0.5, scale[1] * (camera.cy + 0.5) - 0.5)
    offset = (round(config.center_px[0] - center[0]), round(config.center_px[1] - center[1]))
    size = (config.width, config.height)
    network_camera = camera.warped(pixel_scale_shift(*scale, *offset), *size)
    return ImageMap(resized, offset, size, network_camera)


def coverage_notes(camera: CameraModel, mapping: ImageMap, config: InputConfig) -> tuple[str, ...]:
    """Where bringing `camera` to the network's camera goes beyond what training covered."""
    if config.focal_px is None:
        return ()
    notes = []
    low, high = config.trained_scale or (0.0, np.inf)
    scale = config.focal_px / camera.fx
    if not low / SCALE_TOLERANCE <= scale <= high * SCALE_TOLERANCE:
        notes.append(
            f"images are scaled by {scale:.2f} (focal length {camera.fx:.0f} px to the network's "
            f"{config.focal_px:.0f} px); training covered {low:.2f} to {high:.2f}"
        )
    if mapping.covered_share < MIN_COVERED_SHARE:
        notes.append(
            f"images fill {mapping.covered_share:.0%} of the network's field of view; the rest is padding, of which "
            "training saw little"
        )
    return tuple(notes)


def network_extrinsic(frame: Frame, config: InputConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    """The cam_T_lidar (4, 4) to detect in, and what to know about it.

    It is the recorded one when that LiDAR looks where the camera looks, x forward and z up, as in training.
    Otherwise (no LiDAR, a side camera, other axes) it is a virtual LiDAR above the camera.
    """
    virtual = nominal_cam_T_lidar(config.camera_height_m - LIDAR_HEIGHT_M)
    if frame.cam_T_lidar is None:
        return virtual, (
            f"no LiDAR extrinsic: the camera is assumed level, {config.camera_height_m:g} m above the road",
        )
    tilt_rotation = LIDAR_TO_OPTICAL_ROTATION.T @ frame.cam_T_lidar[:3, :3]
    tilt_deg = float(np.degrees(np.arccos(np.clip((np.trace(tilt_rotation) - 1) / 2, -1, 1))))
    if tilt_deg <= MAX_MOUNT_TILT_DEG:
        return frame.cam_T_lidar, _height_notes(frame.cam_T_lidar, config)
    return virtual, (
        f"the LiDAR's axes are turned by {tilt_deg:.0f} degrees against the camera's (training: at most "
        f"{MAX_MOUNT_TILT_DEG:.0f}): detecting in a virtual lidar frame above the camera",
    )


def _height_notes(cam_T_lidar: np.ndarray, config: InputConfig) -> tuple[str, ...]:
    height_m = camera_height_m(cam_T_lidar)
    if abs(height_m - config.camera_height_m) <= MOUNT_HEIGHT_TOLERANCE_M:
        return ()
    return (
        f"the camera is {height_m - LIDAR_HEIGHT_M:+.1f} m above the LiDAR, {height_m:.1f} m above the road where that "
        f"is at {LIDAR_HEIGHT_M} m; training saw {config.camera_height_m:g} m: without LiDAR distances are misjudged",
    )


def frame_notes(frame: Frame, config: InputConfig) -> tuple[str, ...]:
    """Where a frame's camera and mount go beyond what training covered, one sentence each."""
    mapping = image_map(frame.camera, config)
    return coverage_notes(frame.camera, mapping, config) + network_extrinsic(frame, config)[1]


def warp_image(image: np.ndarray, mapping: ImageMap) -> np.ndarray:
    """Resize and place an image (H, W, 3) uint8 on the network's canvas; black where there is no content."""
    if (image.shape[1], image.shape[0]) != mapping.resized:
        shrinking = mapping.resized[0] < image.shape[1]
        image = cv2.resize(image, mapping.resized, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    if mapping.offset == (0, 0) and mapping.size == mapping.resized:
        return image
    canvas = np.zeros((mapping.size[1], mapping.size[0], 3), dtype=np.uint8)
    left, top, right, bottom = mapping.valid_px.astype(int)
    du, dv = mapping.offset
    canvas[top:bottom, left:right] = image[top - dv : bottom - dv, left - du : right - du]
    return canvas


def project_cloud(
    points_lidar: np.ndarray, cam_T_lidar: np.ndarray, camera: CameraModel, valid_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a cloud (N, 4) that the camera sees: finite points that project inside `valid_px`.

    Returns:
        (M, 3) float32 u px, v px, depth m, and the rows (M, 4) float32 of the cloud they belong to (an intensity
        that is not finite becomes 0).
    """
    finite = points_lidar[np.isfinite(points_lidar[:, :3]).all(axis=1)]
    uv_px, depth = camera.project(transform_points(cam_T_lidar, finite[:, :3].astype(np.float64)))
    left, top, right, bottom = valid_px - 0.5
    with np.errstate(invalid="ignore"):
        inside = (uv_px[:, 0] >= left) & (uv_px[:, 0] < right) & (uv_px[:, 1] >= top) & (uv_px[:, 1] < bottom)
    seen = finite[inside].astype(np.float32)
    seen[:, 3] = np.nan_to_num(seen[:, 3], nan=0.0, posinf=0.0, neginf=0.0)
    return np.column_stack([uv_px[inside], depth[inside]]).astype(np.float32), seen


def class_indices(labels: Labels3D, class_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Class index of each label.

    Returns:
        keep (N,) bool: labels of a known or neighbouring class, or perhaps of a known one (`UNCERTAIN`), and index
        (N,) int64 into `class_names` or `IGNORE_LABEL` (meaningless where `keep` is false).
    """
    position = {name: index for index, name in enumerate(class_names)}
    index = np.array([position.get(name, IGNORE_LABEL) for name in labels.class_names], dtype=np.int64)
    neighbour = np.array([_class_beside(name) in position for name in labels.class_names], dtype=bool)
    return (index != IGNORE_LABEL) | neighbour, index


def _class_beside(name: str) -> str | None:
    """The class that a label of another type may be taken for."""
    return name.removeprefix(UNCERTAIN) if name.startswith(UNCERTAIN) else NEIGHBOUR_CLASSES.get(name)


def prepare(frame: Frame, config: InputConfig, class_names: Sequence[str]) -> PreparedFrame:
    """Bring one frame to the network's camera.

    Args:
        frame: any camera; the image must have its camera's size.
        config: the network's camera.
        class_names: the detector's classes, for the label indices.

    Raises:
        FrameError: the image's size or type contradicts its camera, or nothing of it falls into the network's view.
    """
    expected = (frame.camera.height, frame.camera.width, 3)
    if frame.image.shape != expected or frame.image.dtype != np.uint8:
        raise FrameError(
            f"frame {frame.name}: expected an RGB uint8 image of shape {expected}, got {frame.image.dtype} "
            f"{frame.image.shape}"
        )
    mapping = image_map(frame.camera, config)
    if mapping.covered_share == 0:
        raise FrameError(
            f"frame {frame.name}: the image lies outside the network's field of view "
            f"(principal point {frame.camera.cx:.0f}, {frame.camera.cy:.0f} px)"
        )
    cam_T_lidar, _ = network_extrinsic(frame, config)
    points_img, points_lidar = _prepare_points(frame, cam_T_lidar, mapping)
    boxes_lidar, labels, label_scores = _prepare_labels(frame, cam_T_lidar, mapping, class_names)
    return PreparedFrame(
        name=frame.name,
        image=warp_image(frame.image, mapping),
        valid_px=mapping.valid_px,
        img_P_cam=mapping.camera.img_P_cam,
        cam_T_lidar=cam_T_lidar,
        points_img=points_img,
        points_lidar=points_lidar,
        boxes_lidar=boxes_lidar,
        labels=labels,
        notes=frame_notes(frame, config),
        label_scores=label_scores,
    )


def _prepare_points(frame: Frame, cam_T_lidar: np.ndarray, mapping: ImageMap) -> tuple[np.ndarray, np.ndarray]:
    if frame.points_lidar is None or frame.cam_T_lidar is None:
        return np.zeros((0, 3), dtype=np.float32), np.zeros((0, 4), dtype=np.float32)
    points_img, points = project_cloud(frame.points_lidar, frame.cam_T_lidar, mapping.camera, mapping.valid_px)
    if frame.cam_T_lidar is not cam_T_lidar:
        points[:, :3] = transform_points(invert_transform(cam_T_lidar) @ frame.cam_T_lidar, points[:, :3])
    return points_img, points


def visible_areas(
    boxes_lidar: np.ndarray, cam_T_lidar: np.ndarray, camera: CameraModel, valid_px: np.ndarray
) -> np.ndarray:
    """Area (N,) px^2 of the image content that the regions of boxes (N, 7) cover; 0 for a box behind the camera."""
    regions = boxes_img_from_lidar(boxes_lidar.astype(np.float64), cam_T_lidar, camera, clip=False)
    edges = valid_px - 0.5
    low, high = np.maximum(regions[:, :2], edges[:2]), np.minimum(regions[:, 2:], edges[2:])
    return np.nan_to_num(np.clip(high - low, 0, None).prod(axis=1))


def _prepare_labels(
    frame: Frame, cam_T_lidar: np.ndarray, mapping: ImageMap, class_names: Sequence[str]
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Boxes, labels and scores; what the network's image shows nothing of is neither right nor wrong."""
    if frame.labels is None:
        return None, None, None
    keep, index = class_indices(frame.labels, class_names)
    boxes = frame.labels.boxes_lidar[keep]
    recorded = cam_T_lidar if frame.cam_T_lidar is None else frame.cam_T_lidar
    if recorded is not cam_T_lidar:
        boxes = transform_boxes(invert_transform(cam_T_lidar) @ recorded, boxes)
    scores = frame.labels.scores
    unseen = visible_areas(boxes, cam_T_lidar, mapping.camera, mapping.valid_px) == 0
    labels = np.where(unseen, IGNORE_LABEL, index[keep])
    return boxes.astype(np.float32), labels, None if scores is None else scores[keep].astype(np.float32)


def collate(frames: Sequence[PreparedFrame]) -> FrameBatch:
    """Stack prepared frames; images of different size are padded at the right and bottom.

    The batch carries labels only when every frame has them.

    Raises:
        ValueError: no frames.
    """
    if not frames:
        raise ValueError("collate: expected at least one frame, got none")
    height = max(frame.image.shape[0] for frame in frames)
    width = max(frame.image.shape[1] for frame in frames)
    images = torch.zeros((len(frames), height, width, 3), dtype=torch.uint8)
    for canvas, frame in zip(images, frames):
        canvas[: frame.image.shape[0], : frame.image.shape[1]] = torch.from_numpy(frame.image)
    labelled = all(frame.labels is not None for frame in frames)
    return FrameBatch(
        images=images.permute(0, 3, 1, 2),
        valid_px=torch.from_numpy(np.stack([frame.valid_px for frame in frames])),
        img_P_cam=torch.from_numpy(np.stack([frame.img_P_cam for frame in frames])).float(),
        cam_T_lidar=torch.from_numpy(np.stack([frame.cam_T_lidar for frame in frames])).float(),
        names=tuple(frame.name for frame in frames),
        points_img=tuple(torch.from_numpy(frame.points_img) for frame in frames),
        points_lidar=tuple(torch.from_numpy(frame.points_lidar) for frame in frames),
        boxes_lidar=tuple(torch.from_numpy(frame.boxes_lidar) for frame in frames) if labelled else None,
        labels=tuple(torch.from_numpy(frame.labels) for frame in frames) if labelled else None,
    )
