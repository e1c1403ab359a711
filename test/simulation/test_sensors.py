"""LiDAR and labels against hand-made scenes."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, make_transform, nominal_cam_T_lidar
from monotakd_ros.simulation.labelling import Labeller
from monotakd_ros.simulation.lidar_scan import RANGE_NOISE_M, SimulatedLidar, beam_directions
from monotakd_ros.simulation.mesh import box
from monotakd_ros.simulation.objects import Placed, Shape
from monotakd_ros.simulation.scene import Scene, group_objects

CAMERA = CameraModel.from_intrinsics(360.0, 360.0, 310.0, 90.0, 621, 188)
CAM_T_LIDAR = nominal_cam_T_lidar()
WORLD_T_LIDAR = make_transform(np.eye(3), np.array([0, 0, 1.73]))
GREY = (0.4, 0.4, 0.4)


def _block(name: str, x: float, y: float, size: tuple[float, float, float], heading: float = 0.0) -> Placed:
    shape = Shape(name, lambda: box((0, 0, 0), size, GREY).fitted())
    return Placed(shape, np.array([x, y, 0.0]), heading)


def _owner(scene: Scene) -> np.ndarray:
    """Objects seen by CAMERA at WORLD_T_LIDAR."""
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    directions = CAMERA.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(float), np.ones(u.size))
    world_T_cam = WORLD_T_LIDAR @ invert_transform(CAM_T_LIDAR)
    rays = np.empty((u.size, 6), dtype=np.float32)
    rays[:, :3], rays[:, 3:] = world_T_cam[:3, 3], directions @ world_T_cam[:3, :3].T
    return scene.owner_of(scene.cast(rays)).reshape(u.shape)


def _label(objects: list[Placed]):
    ground = box((0, 0, -0.5), (400, 400, 1), GREY)
    scene = Scene(group_objects(objects, 0, [ground]), objects, [])
    return Labeller(CAMERA).label(objects, _owner(scene), WORLD_T_LIDAR, CAM_T_LIDAR)


def test_free_object_is_labelled_exactly(open3d):
    labels = _label([_block("Car", 15, 1, (4, 1.6, 1.5), 0.4)])
    assert labels.class_names == ("Car",)
    np.testing.assert_allclose(labels.boxes_lidar[0], [15, 1, 0.75 - 1.73, 4, 1.6, 1.5, 0.4], atol=1e-5)
    assert labels.truncation[0] == 0
    assert labels.occlusion[0] == 0


@pytest.mark.parametrize(("wall_y", "occlusion"), [(-3.0, 0), (-1.2, 1), (-0.6, 2)])
def test_occlusion_grows_with_the_hidden_share(open3d, wall_y: float, occlusion: int):
    """The wall 10 m away hides what is right of its left end, seen at 20 m: y < about 2 (wall_y + 1)."""
    wall = _block("Truck", 10, wall_y, (0.2, 2.0, 4.0))
    labels = _label([_block("Car", 20, 0, (4, 1.8, 1.5)), wall])
    assert labels.occlusion[labels.class_names.index("Car")] == occlusion


def test_hidden_object_gives_no_label_and_no_region(open3d):
    labels = _label([_block("Car", 20, 0, (4, 1.8, 1.5)), _block("Truck", 10, 0, (0.5, 8, 5))])
    assert labels.class_names == ("Truck",)
    assert len(labels.dont_care_px) == 0


def test_object_behind_is_left_out(open3d):
    assert len(_label([_block("Car", -15, 0, (4, 1.8, 1.5))])) == 0


def test_far_object_becomes_a_region_to_ignore(open3d):
    labels = _label([_block("Car", 90, 0, (4, 1.8, 1.5))])
    assert len(labels) == 0
    assert len(labels.dont_care_px) == 1


def test_truncation_is_the_share_outside(open3d):
    """A flat board 10 m ahead of the camera whose left edge is the image's left edge, moved left by half its width."""
    depth = 10.0
    edge_y = (CAMERA.cx) / CAMERA.fx * depth
    labels = _label([_block("Car", depth + 0.27, edge_y, (0.01, 2.0, 1.5))])
    assert labels.truncation[0] == pytest.approx(0.5, abs=0.01)
    assert labels.boxes_img_px[0, 0] == 0


def test_object_reaching_behind_the_camera_is_truncated_but_labelled(open3d):
    labels = _label([_block("Car", 1.5, 2.0, (6, 1.8, 1.5))])
    assert len(labels) == 1
    assert 0.3 < labels.truncation[0] <= 1
    assert np.isfinite(labels.boxes_img_px).all()


def _scan(scene: Scene, seed: int = 0) -> np.ndarray:
    lidar = SimulatedLidar(beam_directions((-20, 20), 0.2))
    return lidar.scan(scene, WORLD_T_LIDAR, np.random.default_rng(seed))


def _wall_scene(distance: float) -> Scene:
    wall = box((distance + 0.5, 0, 0), (1, 400, 400), GREY)
    return Scene(group_objects([], 0, [wall]), [], [])


def test_ranges_are_right_on_average_and_noisy(open3d):
    points = _scan(_wall_scene(10.0))
    assert points.dtype == np.float32
    middle = points[np.abs(points[:, 1]) < 0.5]
    assert middle[:, 0].mean() == pytest.approx(10.0, abs=0.01)
    assert 0.3 * RANGE_NOISE_M < middle[:, 0].std() < 2 * RANGE_NOISE_M
    assert ((points[:, 3] >= 0) & (points[:, 3] <= 1)).all()


def test_returns_get_rarer_with_distance_and_end(open3d):
    counts = [len(_scan(_wall_scene(distance))) for distance in (10.0, 60.0, 110.0, 130.0)]
    assert counts[0] > counts[1] > counts[2] > 0
    assert counts[3] == 0


def test_scan_is_the_same_for_the_same_seed(open3d):
    scene = _wall_scene(20.0)
    np.testing.assert_array_equal(_scan(scene, 5), _scan(scene, 5))
    assert not np.array_equal(_scan(scene, 5)[:100], _scan(scene, 6)[:100])


def test_beams_cover_the_limits():
    directions = beam_directions((-40.0, 40.0), 0.2)
    assert len(directions) == 64 * 400
    elevation = np.degrees(np.arcsin(directions[:, 2]))
    assert elevation.max() == pytest.approx(2.0, abs=1e-3)
    assert elevation.min() == pytest.approx(-24.9, abs=1e-3)
