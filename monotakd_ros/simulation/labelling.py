"""Exact labels of what the simulated camera sees: 3D boxes, 2D boxes, KITTI truncation and occlusion.

The visible share of an object is the number of its pixels over the number it would have with nothing in
front, both on the same lattice of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, wrap_angle
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, rotation_about_z, transform_points
from monotakd_ros.simulation.objects import Placed, Shape
from monotakd_ros.simulation.scene import RayTarget

MAX_DISTANCE_M = 70.0
VISIBLE_SHARE = (0.8, 0.4)
"""At least this share visible: occlusion 0, 1; less: 2."""
MIN_VISIBLE_SHARE = 0.04
MIN_VISIBLE_PX = 12
"""Less than either is no target that anybody could find: a DontCare region, like an object too far away."""
_LATTICE = 28


@dataclass(frozen=True)
class _Sight:
    box_px: np.ndarray
    truncation: float
    visible_share: float
    visible_px: int


@dataclass(eq=False)
class Labeller:
    """Labels the objects of one drive as seen by its camera."""

    camera: CameraModel
    _targets: dict[int, tuple[Shape, RayTarget]] = field(default_factory=dict)

    def label(
        self, objects: list[Placed], owner: np.ndarray, world_T_lidar: np.ndarray, cam_T_lidar: np.ndarray
    ) -> Labels3D:
        """Labels of `objects` in an image whose pixels show object `owner` (H, W)."""
        pixels = np.bincount(owner[owner >= 0], minlength=len(objects))
        lidar_T_world = invert_transform(world_T_lidar)
        rows, far = [], []
        for index in np.flatnonzero(pixels):
            placed = objects[index]
            sight = self._sight(placed, int(index), owner, int(pixels[index]), cam_T_lidar @ lidar_T_world)
            box = box_in_lidar(placed, lidar_T_world)
            hidden = sight.visible_share < MIN_VISIBLE_SHARE or sight.visible_px < MIN_VISIBLE_PX
            if np.hypot(box[0], box[1]) > MAX_DISTANCE_M or hidden:
                far.append(sight.box_px)
            else:
                rows.append((placed.shape.class_name, box, sight))
        return _labels(rows, far)

    def _sight(self, placed: Placed, index: int, owner: np.ndarray, visible_px: int, cam_T_world: np.ndarray) -> _Sight:
        whole = self._outline(placed, cam_T_world)
        limit = np.array([self.camera.width - 1, self.camera.height - 1] * 2, dtype=np.float64)
        clipped = np.clip(whole, 0, limit)
        area, inside = _area(whole), _area(clipped)
        truncation = float(np.clip(1 - inside / max(area, 1e-9), 0, 1))
        u = np.unique(np.linspace(clipped[0], clipped[2], _LATTICE).round().astype(int))
        v = np.unique(np.linspace(clipped[1], clipped[3], _LATTICE).round().astype(int))
        u, v = (part.ravel() for part in np.meshgrid(u, v))
        own = self._hits_alone(placed, u, v, cam_T_world)
        seen = owner[v, u] == index
        share = float((seen & own).sum() / own.sum()) if own.any() else 1.0
        return _Sight(clipped, truncation, share, visible_px)

    def _outline(self, placed: Placed, cam_T_world: np.ndarray) -> np.ndarray:
        """(4,) box px around the projected mesh, not clipped."""
        rotation = rotation_about_z(placed.heading)
        points = placed.shape.points @ rotation.T + placed.position
        points_cam = transform_points(cam_T_world, points)
        if points_cam[:, 2].min() < 0.3:
            return boxes_img_from_lidar(placed.box_world[None], cam_T_world, self.camera, clip=False)[0]
        uv_px, _ = self.camera.project(points_cam)
        return np.concatenate([uv_px.min(axis=0), uv_px.max(axis=0)])

    def _hits_alone(self, placed: Placed, u: np.ndarray, v: np.ndarray, cam_T_world: np.ndarray) -> np.ndarray:
        """(N,) bool: whether the rays through pixels hit the object with nothing else in the world."""
        world_T_cam = invert_transform(cam_T_world)
        to_object = rotation_about_z(-placed.heading)
        directions = self.camera.unproject(np.column_stack([u, v]).astype(np.float64), np.ones(len(u)))
        rays = np.empty((len(u), 6), dtype=np.float32)
        rays[:, :3] = to_object @ (world_T_cam[:3, 3] - placed.position)
        rays[:, 3:] = directions @ (to_object @ world_T_cam[:3, :3]).T
        return np.isfinite(self._target(placed.shape).cast(rays)[0])

    def _target(self, shape: Shape) -> RayTarget:
        if id(shape) not in self._targets:
            if len(self._targets) > 400:
                self._targets.clear()
            self._targets[id(shape)] = (shape, RayTarget(shape.mesh))
        return self._targets[id(shape)][1]


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def box_in_lidar(placed: Placed, lidar_T_world: np.ndarray) -> np.ndarray:
    """(7,) box of a placed object, lidar; the heading is its direction's azimuth there."""
    box = placed.box_world
    direction = lidar_T_world[:3, :3] @ [np.cos(placed.heading), np.sin(placed.heading), 0.0]
    centre = transform_points(lidar_T_world, box[None, :3])[0]
    return np.concatenate([centre, box[3:6], [wrap_angle(np.arctan2(direction[1], direction[0]))]])


def _labels(rows: list[tuple[str, np.ndarray, _Sight]], far: list[np.ndarray]) -> Labels3D:
    dont_care = np.array(far, dtype=np.float64).reshape(-1, 4)
    if not rows:
        empty = Labels3D.empty()
        return Labels3D(empty.boxes_lidar, (), empty.truncation, empty.occlusion, empty.boxes_img_px, dont_care)
    names, boxes, sights = zip(*rows)
    shares = np.array([sight.visible_share for sight in sights])
    occlusion = (shares < VISIBLE_SHARE[0]).astype(np.int64) + (shares < VISIBLE_SHARE[1])
    return Labels3D(
        np.stack(boxes),
        tuple(names),
        np.array([sight.truncation for sight in sights]),
        occlusion,
        np.stack([sight.box_px for sight in sights]),
        dont_care,
    )
