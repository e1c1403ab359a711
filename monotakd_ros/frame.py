"""What flows between the rooms: one moment of sensor data (`Frame`), labels, a batch, detections, and KITTI's records.

`Frame`, `Labels3D`, `Detections3D` and `KittiFrame` are numpy and immutable by convention: a stage returns a new one.
`FrameBatch` is what networks take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from monotakd_ros.errors import FrameError
from monotakd_ros.geometry.boxes import empty_boxes
from monotakd_ros.geometry.camera import CameraModel

DONT_CARE = "DontCare"
"""KITTI type of an image region in which labels are missing."""
UNCERTAIN = "Uncertain_"
"""Before a type's name: a box whose maker is not sure of it. It is neither an object nor background to a detector."""
NO_LOCATION = -1000.0
"""KITTI's coordinate of a box that has no place in 3D."""
BoxKind = Literal["labels", "uncertain", "teacher", "assistant", "truth"]
"""Whose boxes they are: what is learned from, what is left open, what the guides saw, what the recording knew."""


@dataclass(frozen=True, eq=False)
class Labels3D:
    """Ground truth of one frame.

    Attributes:
        boxes_lidar: (N, 7) float64, geometric centre, lidar.
        class_names: (N,) KITTI type per box ("Car", "Van", ...), never "DontCare".
        truncation: (N,) float64, share outside the image, 0..1; -1 unknown.
        occlusion: (N,) int64, KITTI 0 visible, 1 partly, 2 largely, 3 unknown; -1 unknown.
        boxes_img_px: (N, 4) float64 left, top, right, bottom; NaN when not given.
        dont_care_px: (M, 4) float64 image regions where labels are missing.
        scores: (N,) float64 confidence 0..1 of the detector that made the labels; None where people or a simulation
            made them.
    """

    boxes_lidar: np.ndarray
    class_names: tuple[str, ...]
    truncation: np.ndarray
    occlusion: np.ndarray
    boxes_img_px: np.ndarray
    dont_care_px: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.class_names)
        shapes = {
            "boxes_lidar": (self.boxes_lidar.shape, (count, 7)),
            "truncation": (self.truncation.shape, (count,)),
            "occlusion": (self.occlusion.shape, (count,)),
            "boxes_img_px": (self.boxes_img_px.shape, (count, 4)),
            "scores": ((count,) if self.scores is None else self.scores.shape, (count,)),
        }
        for name, (got, expected) in shapes.items():
            assert got == expected, f"Labels3D.{name}: expected shape {expected}, got {got}"

    def __len__(self) -> int:
        return len(self.class_names)

    @classmethod
    def empty(cls) -> Labels3D:
        """A frame that was looked at and holds nothing."""
        return cls(empty_boxes().astype(np.float64), (), np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros((0, 4)))

    def select(self, mask: np.ndarray) -> Labels3D:
        """The labels where `mask` (N,) bool is true; DontCare regions stay."""
        names = tuple(name for name, keep in zip(self.class_names, mask) if keep)
        return replace(
            self,
            boxes_lidar=self.boxes_lidar[mask],
            class_names=names,
            truncation=self.truncation[mask],
            occlusion=self.occlusion[mask],
            boxes_img_px=self.boxes_img_px[mask],
            scores=None if self.scores is None else self.scores[mask],
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment: a rectified colour image with its camera, and what else was recorded with it.

    Attributes:
        name: unique within its source, e.g. "000007".
        stamp_ns: time of the image, ns.
        image: (H, W, 3) uint8 RGB.
        camera: projection and size; `camera.width, camera.height` equal the image's.
        camera_frame_id: tf name of the optical frame `cam`.
        cam_T_lidar: (4, 4) float64 maps lidar points into cam; None when the source knows no LiDAR.
        points_lidar: (N, 4) float32 x, y, z, intensity, lidar; None when not recorded.
        points_stamp_ns: time of the cloud, ns; None when there is none.
        lidar_frame_id: tf name of the `lidar` frame.
        labels: ground truth; None when the source has none (an empty Labels3D means "nothing there").
        world_T_lidar: (4, 4) float64 ego pose in a fixed world; None when unknown.
    """

    name: str
    stamp_ns: int
    image: np.ndarray
    camera: CameraModel
    camera_frame_id: str = "camera"
    cam_T_lidar: np.ndarray | None = None
    points_lidar: np.ndarray | None = None
    points_stamp_ns: int | None = None
    lidar_frame_id: str = "lidar"
    labels: Labels3D | None = None
    world_T_lidar: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class BoxedFrame:
    """A frame to look at, with everything that is known about its objects.

    Attributes:
        frame: without labels of its own.
        boxes: by kind; a kind that nobody looked for is absent, one of which nothing was found is empty.
    """

    frame: Frame
    boxes: Mapping[BoxKind, Labels3D]


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """What networks take: B frames in the network's own camera.

    Attributes:
        images: (B, 3, H, W) uint8 RGB; outside `valid_px` the content is padding and means nothing.
        valid_px: (B, 4) float32 left, top, right, bottom (exclusive) of the real image content.
        img_P_cam: (B, 3, 4) float32 projection of the network image.
        cam_T_lidar: (B, 4, 4) float32.
        names: B frame names.
        points_img: per frame (M, 3) float32 u px, v px, depth m of the LiDAR points in the network image; empty
            when there is no cloud.
        points_lidar: per frame (M, 4) float32 x, y, z, intensity of the same points, lidar.
        boxes_lidar: per frame (N, 7) float32; None when unlabelled.
        labels: per frame (N,) int64 class index; None when unlabelled.
    """

    images: torch.Tensor
    valid_px: torch.Tensor
    img_P_cam: torch.Tensor
    cam_T_lidar: torch.Tensor
    names: tuple[str, ...]
    points_img: tuple[torch.Tensor, ...] = ()
    points_lidar: tuple[torch.Tensor, ...] = ()
    boxes_lidar: tuple[torch.Tensor, ...] | None = None
    labels: tuple[torch.Tensor, ...] | None = None

    def require_clouds(self, network: str) -> None:
        """Check that every frame of the batch has a cloud, which may be empty.

        Raises:
            FrameError: clouds are missing; the message says that `network` needs them.
        """
        if not len(self.points_img) == len(self.points_lidar) == len(self.names):
            raise FrameError(
                f"{network} needs the LiDAR cloud of every frame: expected {len(self.names)}, got "
                f"{len(self.points_lidar)}"
            )

    def to(self, device: torch.device | str) -> FrameBatch:
        """The same batch with every tensor on `device`."""

        def move(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return tuple(tensor.to(device, non_blocking=True) for tensor in tensors)

        return FrameBatch(
            images=self.images.to(device, non_blocking=True),
            valid_px=self.valid_px.to(device, non_blocking=True),
            img_P_cam=self.img_P_cam.to(device, non_blocking=True),
            cam_T_lidar=self.cam_T_lidar.to(device, non_blocking=True),
            names=self.names,
            points_img=move(self.points_img),
            points_lidar=move(self.points_lidar),
            boxes_lidar=None if self.boxes_lidar is None else move(self.boxes_lidar),
            labels=None if self.labels is None else move(self.labels),
        )


@dataclass(frozen=True, eq=False)
class Detections3D:
    """Boxes found in one frame, best score first.

    Attributes:
        boxes_lidar: (N, 7) float32, lidar.
        scores: (N,) float32 in 0..1.
        labels: (N,) int64 index into `class_names`.
        class_names: names of all classes the detector knows.
        covariance_lidar: (N, 3, 3) float32, m^2, of the centre, lidar; from the depth distribution on the viewing ray.
        cam_T_lidar: (4, 4) float64 extrinsic the boxes were made with (a nominal one for a camera without LiDAR).
    """

    boxes_lidar: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    covariance_lidar: np.ndarray
    cam_T_lidar: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> tuple[str, ...]:
        """Class name of each box."""
        return tuple(self.class_names[label] for label in self.labels)

    def select(self, mask: np.ndarray) -> Detections3D:
        """The detections where `mask` (N,) bool is true."""
        return replace(
            self,
            boxes_lidar=self.boxes_lidar[mask],
            scores=self.scores[mask],
            labels=self.labels[mask],
            covariance_lidar=self.covariance_lidar[mask],
        )

    @classmethod
    def empty(cls, class_names: tuple[str, ...], cam_T_lidar: np.ndarray) -> Detections3D:
        """No detections."""
        zeros = np.zeros(0)
        return cls(
            empty_boxes(),
            zeros.astype(np.float32),
            zeros.astype(np.int64),
            class_names,
            np.zeros((0, 3, 3), dtype=np.float32),
            cam_T_lidar,
        )


@dataclass(frozen=True, eq=False)
class KittiFrame:
    """Ground truth or results of one frame in KITTI's own encoding, in file order (the metric's ties depend on it).

    Attributes:
        names: N KITTI types; "DontCare" marks image regions.
        bbox_px: (N, 4) float64 left, top, right, bottom.
        hwl: (N, 3) float64 height, width, length, m.
        location_cam: (N, 3) float64 centre of the bottom face, m, cam.
        rotation_y: (N,) float64 rad.
        alpha: (N,) float64 observation angle, rad; -10 means not given.
        score: (N,) float64; ground truth has zeros.
        truncation: (N,) float64 0..1; -1 unknown.
        occlusion: (N,) int64 0..3; -1 unknown.
    """

    names: tuple[str, ...]
    bbox_px: np.ndarray
    hwl: np.ndarray
    location_cam: np.ndarray
    rotation_y: np.ndarray
    alpha: np.ndarray
    score: np.ndarray
    truncation: np.ndarray
    occlusion: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.names)
        widths = {"bbox_px": 4, "hwl": 3, "location_cam": 3}
        for name in ("bbox_px", "hwl", "location_cam", "rotation_y", "alpha", "score", "truncation", "occlusion"):
            expected = (count, widths[name]) if name in widths else (count,)
            got = getattr(self, name).shape
            assert got == expected, f"KittiFrame.{name}: expected shape {expected}, got {got}"

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def empty(cls) -> KittiFrame:
        """A frame without any box."""
        zeros = np.zeros(0)
        triples = np.zeros((0, 3))
        return cls((), np.zeros((0, 4)), triples, triples, zeros, zeros, zeros, zeros, zeros.astype(np.int64))

    def select(self, mask: np.ndarray) -> KittiFrame:
        """The boxes where `mask` (N,) bool is true."""
        arrays = {name: values[mask] for name, values in vars(self).items() if name != "names"}
        return replace(self, names=tuple(name for name, keep in zip(self.names, mask) if keep), **arrays)
