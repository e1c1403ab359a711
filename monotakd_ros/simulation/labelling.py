"""Exact labels of what the simulated camera sees: 3D boxes, 2D boxes, KITTI truncation and occlusion.

The visible share of an object is the number of its pixels over the number it would have with nothing in
front, both on the same lattice of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, wrap_angle
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, rotation_about_z, transform_points
from monotakd_ros.simulation.objects import Placed
from monotakd_ros.simulation.scene import RayTarget

MAX_DISTANCE_M = 70.0
VISIBLE_SHARE = (0.8, 0.4)
"""At least this share visible: occlusion 0, 1; less: 2."""
MIN_VISIBLE_SHARE = 0.04
MIN_VISIBLE_PX = 12
"""Less than either is no target that anybody could find: a DontCare region, like an object too far away."""
_LATTICE = 28
_SLOT_M = 500.0


@dataclass(frozen=True)
class _Sight:
    """How an object is seen: its 2D box cut to the image, KITTI truncation, visible share, visible pixels."""

    box_px: np.ndarray
    truncation: float
    visible_share: float
    visible_px: int


class Labeller:
    """Labels the objects of one drive as seen by its camera."""

    def __init__(self, camera: CameraModel) -> None:
        self._camera = camera

    def label(
        self, objects: list[Placed], owner: np.ndarray, world_T_lidar: np.ndarray, cam_T_lidar: np.ndarray
    ) -> Labels3D:
        """Labels of `objects` in an image whose pixels show object `owner` (H, W)."""
        pixels = np.bincount(owner[owner >= 0], minlength=len(objects))
        lidar_T_world = invert_transform(world_T_lidar)
        seen = [int(index) for index in np.flatnonzero(pixels)]
        sights = self._sights(objects, seen, owner, pixels, cam_T_lidar @ lidar_T_world)
        rows, far = [], []
        for index, sight in zip(seen, sights):
            box = box_in_lidar(objects[index], lidar_T_world)
            hidden = sight.visible_share < MIN_VISIBLE_SHARE or sight.visible_px < MIN_VISIBLE_PX
            if np.hypot(box[0], box[1]) > MAX_DISTANCE_M or hidden:
                far.append(sight.box_px)
            else:
                rows.append((objects[index].shape.class_name, box, sight))
        return _labels(rows, far)

    def _sights(
        self, objects: list[Placed], seen: list[int], owner: np.ndarray, pixels: np.ndarray, cam_T_world: np.ndarray
    ) -> list[_Sight]:
        whole = [outline_px(objects[index], cam_T_world, self._camera) for index in seen]
        limit = np.array([self._camera.width - 1, self._camera.height - 1] * 2, dtype=np.float64)
        clipped = [np.clip(box, 0, limit) for box in whole]
        lattices = [_lattice(box) for box in clipped]
        alone = self._hits_alone([objects[index] for index in seen], lattices, cam_T_world)
        sights = []
        for index, box, inside, (u, v), own in zip(seen, whole, clipped, lattices, alone):
            truncation = float(np.clip(1 - _area(inside) / max(_area(box), 1e-9), 0, 1))
            visible = (owner[v, u] == index) & own
            share = float(visible.sum() / own.sum()) if own.any() else 1.0
            sights.append(_Sight(inside, truncation, share, int(pixels[index])))
        return sights

    def _hits_alone(
        self, objects: list[Placed], lattices: list[tuple[np.ndarray, np.ndarray]], cam_T_world: np.ndarray
    ) -> list[np.ndarray]:
        """Per object (N,) bool: whether the rays through its lattice hit it with nothing else in the world.

        All objects share one ray target, each far away from the others in a slot of its own: Open3D can hold
        about a thousand targets in a process, no more.
        """
        if not objects:
            return []
        world_T_cam = invert_transform(cam_T_world)
        slots = [np.array([_SLOT_M * (k % 8), _SLOT_M * (k // 8), 0.0]) for k in range(len(objects))]
        target = RayTarget(
            np.concatenate([item.shape.mesh.corners + slot.astype(np.float32) for item, slot in zip(objects, slots)])
        )
        packed = []
        for placed, slot, (u, v) in zip(objects, slots, lattices):
            to_object = rotation_about_z(-placed.heading)
            directions = self._camera.unproject(np.column_stack([u, v]).astype(np.float64), np.ones(len(u)))
            rays = np.empty((len(u), 6), dtype=np.float32)
            rays[:, :3] = to_object @ (world_T_cam[:3, 3] - placed.position) + slot
            rays[:, 3:] = directions @ (to_object @ world_T_cam[:3, :3]).T
            packed.append(rays)
        distance, _, _ = target.cast(np.concatenate(packed))
        cuts = np.cumsum([len(rays) for rays in packed])[:-1]
        return [part < 0.5 * _SLOT_M for part in np.split(distance, cuts)]


def outline_px(placed: Placed, cam_T_world: np.ndarray, camera: CameraModel) -> np.ndarray:
    """(4,) left, top, right, bottom px around the projected mesh, not cut to the image.

    A mesh that reaches behind the camera is replaced by its 3D box, cut at the near plane.
    """
    points_cam = transform_points(
        cam_T_world, placed.shape.points @ rotation_about_z(placed.heading).T + placed.position
    )
    if points_cam[:, 2].min() < 0.3:
        return boxes_img_from_lidar(placed.box_world[None], cam_T_world, camera, clip=False)[0]
    uv_px, _ = camera.project(points_cam)
    return np.concatenate([uv_px.min(axis=0), uv_px.max(axis=0)])


def _lattice(box_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole pixels (N,) u and v spread over a box."""
    u = np.unique(np.linspace(box_px[0], box_px[2], _LATTICE).round().astype(int))
    v = np.unique(np.linspace(box_px[1], box_px[3], _LATTICE).round().astype(int))
    columns, rows = np.meshgrid(u, v)
    return columns.ravel(), rows.ravel()


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
