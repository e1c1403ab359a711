"""How well LiDAR depth edges meet image edges, for the recorded extrinsic and for others beside it.

The score of a frame is the mean strength of image edges at the projected depth edges (`depth_edges`, `image_edges`),
less what the image has on average: 0 is chance. It is compared within a frame only, since scenes differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift
from monotakd_ros.geometry.transforms import LIDAR_TO_OPTICAL_ROTATION, transform_points
from monotakd_ros.inspection.depth_edges import DepthEdges, find_depth_edges
from monotakd_ros.inspection.image_edges import MAX_WIDTH_PX, edge_maps

NEAR_M = 1.0
MIN_EDGES = 15
"""A frame with fewer depth edges in the image says nothing."""
SHIFTS = (-2, -1, 0, 1, 2)
"""Clouds before and after the one that goes with an image."""


@dataclass(frozen=True, eq=False)
class EdgeFrame:
    """The edges of an image and of the clouds around it.

    Attributes:
        stamp_ns: of the image.
        camera: of the maps.
        maps: (2, H, W) uint8, see `edge_maps`.
        edges: shift -> depth edges in cam, as recorded, that the image shows; shift 0 is the cloud nearest to it.
        cloud_stamps_ns: shift -> stamp of the cloud.
    """

    stamp_ns: int
    camera: CameraModel
    maps: np.ndarray
    edges: Mapping[int, DepthEdges]
    cloud_stamps_ns: Mapping[int, int]


def edge_frame(
    stamp_ns: int,
    image: np.ndarray,
    camera: CameraModel,
    edges: Mapping[int, DepthEdges],
    cloud_stamps_ns: Mapping[int, int],
) -> EdgeFrame:
    """Find the edges of an image (H, W, 3) uint8 RGB, rectified; see `EdgeFrame`."""
    factor = min(1.0, MAX_WIDTH_PX / camera.width)
    size = round(camera.width * factor), round(camera.height * factor)
    scaling = pixel_scale_shift(size[0] / camera.width, size[1] / camera.height, 0.0, 0.0)
    shrunk = camera.warped(scaling, *size)
    maps = edge_maps(cv2.resize(image, size, interpolation=cv2.INTER_AREA), shrunk.fx)
    return EdgeFrame(stamp_ns, shrunk, maps, {s: _in_view(e, shrunk) for s, e in edges.items()}, cloud_stamps_ns)


def rotation_of(degrees_xyz: Sequence[float]) -> np.ndarray:
    """(3, 3) rotation by a rotation vector (3,) in degrees."""
    return cv2.Rodrigues(np.deg2rad(np.asarray(degrees_xyz, dtype=np.float64)))[0]


def edges_in_camera(points: np.ndarray, cam_T_cloud: np.ndarray) -> DepthEdges:
    """The depth edges of a cloud (N, 3), carried into cam; found from where the sensor is."""
    ahead_R_cloud = _ahead_from_cloud(cam_T_cloud[:3, :3])
    edges = find_depth_edges(points @ ahead_R_cloud.T)
    return DepthEdges(transform_points(cam_T_cloud, edges.points @ ahead_R_cloud), edges.weights, edges.is_upright)


class Alignment:
    """Scores of candidates over sampled frames.

    Args:
        frames: of one camera; frames of another size or projection than the first are passed over.

    Attributes:
        shifts: those for which every frame that counts has a cloud.
        num_frames: frames that count.
        num_edges: their depth edges, shift 0.
        offsets_ms: shift -> median of cloud stamp less image stamp.
    """

    def __init__(self, frames: Sequence[EdgeFrame]) -> None:
        frames = [frame for frame in frames if frame.camera.same_as(frames[0].camera) and 0 in frame.edges]
        with_all = [frame for frame in frames if all(shift in frame.edges for shift in SHIFTS)]
        # A short recording has no frame with all neighbours; the rotation can be told without them.
        frames, self.shifts = (with_all, SHIFTS) if len(with_all) >= max(len(frames) / 2, 1) else (frames, (0,))
        frames = [frame for frame in frames if min(len(frame.edges[shift]) for shift in self.shifts) >= MIN_EDGES]
        self.num_frames = len(frames)
        self.num_edges = sum(len(frame.edges[0]) for frame in frames)
        self.offsets_ms = {shift: _median_offset_ms(frames, shift) for shift in self.shifts}
        if frames:
            self._camera = frames[0].camera
            self._maps = np.stack([frame.maps for frame in frames])
            self._means = self._maps.mean(axis=(2, 3))
            self._edges = {shift: _joined([frame.edges[shift] for frame in frames]) for shift in self.shifts}

    def scores(self, degrees_xyz: Sequence[float], shift: int) -> np.ndarray:
        """(F,) score of each frame with the extrinsic turned about the camera's axes, and clouds `shift` later."""
        points, frame, channel, weights = self._edges[shift]
        turned = points @ rotation_of(degrees_xyz).T
        homogeneous = turned @ self._camera.img_P_cam[:, :3].T + self._camera.img_P_cam[:, 3]
        scale = np.maximum(homogeneous[:, 2], 1e-6)
        u = np.round(homogeneous[:, 0] / scale)
        v = np.round(homogeneous[:, 1] / scale)
        inside = (homogeneous[:, 2] > NEAR_M) & (u >= 0) & (v >= 0) & (u < self._maps.shape[3])
        inside &= v < self._maps.shape[2]
        values = np.zeros(len(u))  # what leaves the image counts as chance
        k = frame[inside], channel[inside]
        values[inside] = self._maps[(*k, v[inside].astype(np.intp), u[inside].astype(np.intp))] - self._means[k]
        totals = np.bincount(frame, weights * values, self.num_frames)
        return totals / (255.0 * np.maximum(np.bincount(frame, weights, self.num_frames), 1e-9))


def _in_view(edges: DepthEdges, camera: CameraModel) -> DepthEdges:
    return edges.select((edges.points[:, 2] > NEAR_M) & camera.contains(camera.project(edges.points)[0]))


def _joined(edges: Sequence[DepthEdges]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, frame numbers, map channels (0 upright, 1 level) and weights of all frames."""
    frame = np.repeat(np.arange(len(edges)), [len(item) for item in edges])
    upright = np.concatenate([item.is_upright for item in edges])
    points = np.concatenate([item.points for item in edges])
    return points, frame, np.where(upright, 0, 1), np.concatenate([item.weights for item in edges])


def _median_offset_ms(frames: Sequence[EdgeFrame], shift: int) -> float:
    offsets = [(frame.cloud_stamps_ns[shift] - frame.stamp_ns) / 1e6 for frame in frames]
    return float(np.median(offsets)) if offsets else 0.0


def _ahead_from_cloud(cam_R_cloud: np.ndarray) -> np.ndarray:
    """(3, 3) into axes with x where the camera looks.

    An upright sensor is turned about its own z, so that its rings stay level; one with other axes (a depth camera's)
    becomes upright as the camera is.
    """
    if cam_R_cloud[1, 2] > -0.5:
        return LIDAR_TO_OPTICAL_ROTATION.T @ cam_R_cloud
    look = cam_R_cloud[2]
    heading = np.arctan2(look[1], look[0])
    cos, sin = np.cos(heading), np.sin(heading)
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
