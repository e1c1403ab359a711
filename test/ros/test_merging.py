"""Objects that two cameras see are kept once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar, rotation_about_z
from monotakd_ros.ros.merging import View, without_duplicates

CAM_T_LIDAR = nominal_cam_T_lidar()
CLASSES = ("Car", "Pedestrian")


def view(objects: list[tuple[float, float, float, int]], yaw: float = 0.0, spread_m: float = 1.0) -> View:
    """A camera at the origin that looks along `yaw`; objects as x, y in the shared frame, score, class."""
    frame_T_lidar = make_transform(rotation_about_z(yaw), np.zeros(3))
    boxes = []
    for x, y, _, label in objects:
        center = frame_T_lidar[:3, :3].T @ [x, y, 0.0]
        boxes.append([*center, *((4, 1.8, 1.5) if label == 0 else (0.6, 0.6, 1.8)), -yaw])
    count = len(objects)
    detections = Detections3D(
        boxes_lidar=np.array(boxes, np.float32).reshape(-1, 7),
        scores=np.array([item[2] for item in objects], np.float32),
        labels=np.array([item[3] for item in objects], np.int64),
        class_names=CLASSES,
        covariance_lidar=np.tile(np.diag([spread_m**2, 0.04, 0.04]).astype(np.float32), (count, 1, 1)),
        cam_T_lidar=CAM_T_LIDAR,
    )
    return View(detections, frame_T_lidar @ np.linalg.inv(CAM_T_LIDAR))


def kept(*views: View) -> list[list[bool]]:
    return [mask.tolist() for mask in without_duplicates(views, merge_iou=0.1, merge_distance_m=4.0)]


def test_an_object_seen_twice_is_kept_once_with_its_better_score() -> None:
    front = view([(15, 5, 0.6, 0), (20, -8, 0.9, 0)])
    left = view([(15.5, 5.2, 0.8, 0), (3, 12, 0.5, 0)], yaw=0.9)
    assert kept(front, left) == [[False, True], [True, True]]


def test_boxes_of_one_camera_never_pair() -> None:
    assert kept(view([(15, 5, 0.6, 0), (15, 5, 0.5, 0)])) == [[True, True]]


def test_classes_do_not_mix() -> None:
    assert kept(view([(15, 5, 0.6, 0)]), view([(15, 5, 0.8, 1)], yaw=0.9)) == [[True], [True]]


def test_depth_errors_pair_as_far_as_the_covariance_says() -> None:
    far, near = [(30, 0, 0.6, 1)], [(33, 0, 0.5, 1)]
    assert kept(view(far, spread_m=2.0), view(near, spread_m=2.0)) == [[True], [False]]
    assert kept(view(far, spread_m=0.5), view(near, spread_m=0.5)) == [[True], [True]]


def test_beside_each_other_is_two_although_depth_is_unsure() -> None:
    assert kept(view([(30, 0, 0.6, 1)], spread_m=3.0), view([(30, 2.0, 0.5, 1)], spread_m=3.0)) == [[True], [True]]


def test_a_box_pairs_with_the_nearest_only() -> None:
    row = [(30, 0, 0.6, 1)]
    assert kept(view(row, spread_m=2.0), view([(31, 0, 0.5, 1), (30.2, 0, 0.4, 1)], spread_m=2.0)) == [
        [True],
        [True, False],
    ]


def test_three_cameras_and_none() -> None:
    same = [(15, 5, 0.6, 0)]
    assert kept(view(same), view(same), view(same)) == [[True], [False], [False]]
    assert kept() == []
    assert kept(view([]), view(same)) == [[], [True]]


@given(st.lists(st.tuples(st.floats(5, 40), st.floats(-15, 15), st.floats(0.1, 1), st.integers(0, 1)), max_size=6))
def test_the_best_of_everything_stays(objects: list) -> None:
    front, left = view(objects), view(objects, yaw=0.5)
    masks = without_duplicates([front, left], 0.1, 4.0)
    assert sum(mask.sum() for mask in masks) >= len(objects)
    if objects:
        best = int(np.argmax(front.detections.scores))
        assert masks[0][best] or masks[1][best]
