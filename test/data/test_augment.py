from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.config import AugmentConfig
from monotakd_ros.data.augment import augment, flip, jitter_colour
from monotakd_ros.data.preprocess import PreparedFrame
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, rotation_about_z, transform_points

WIDTH, HEIGHT = 40, 20
PROJECTION = np.array([[30.0, 0, 17.5, 4.0], [0, 30.0, 9.0, -1.0], [0, 0, 1, 0.003]])


def make_frame() -> PreparedFrame:
    generator = np.random.default_rng(0)
    tilted = nominal_cam_T_lidar()
    tilted[:3, :3] = tilted[:3, :3] @ rotation_about_z(0.05)
    points_img = generator.uniform([0, 0, 2], [WIDTH - 1, HEIGHT - 1, 40], (9, 3)).astype(np.float32)
    boxes = np.array([[9, 2, -1, 4, 1.6, 1.5, 0.4], [15, -3, -1, 0.8, 0.6, 1.7, -2.8]], dtype=np.float32)
    return PreparedFrame(
        name="7",
        image=generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        valid_px=np.array([3, 1, 38, 20], dtype=np.float32),
        img_P_cam=PROJECTION,
        cam_T_lidar=tilted,
        points_img=points_img,
        points_lidar=generator.uniform([2, -20, -2, 0], [40, 20, 1, 1], (9, 4)).astype(np.float32),
        boxes_lidar=boxes,
        labels=np.array([0, 1]),
    )


def project_corners(frame: PreparedFrame) -> np.ndarray:
    """(N, 8, 3) homogeneous image points of the box corners, divided by depth."""
    corners = corners_from_boxes(frame.boxes_lidar).reshape(-1, 3)
    homogeneous = transform_points(frame.cam_T_lidar, corners) @ frame.img_P_cam[:, :3].T + frame.img_P_cam[:, 3]
    return np.column_stack([homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2]]).reshape(-1, 8, 3)


class TestFlip:
    def test_twice_is_the_same_frame(self):
        frame = make_frame()
        again = flip(flip(frame))
        assert np.array_equal(again.image, frame.image)
        for name in ("valid_px", "img_P_cam", "cam_T_lidar", "points_img", "points_lidar", "boxes_lidar", "labels"):
            assert getattr(again, name) == pytest.approx(getattr(frame, name), abs=1e-5)

    def test_projected_boxes_follow_the_image(self):
        frame = make_frame()
        before, after = project_corners(frame), project_corners(flip(frame))
        left_and_right = [1, 0, 3, 2, 5, 4, 7, 6]
        expected = before[:, left_and_right]
        expected[..., 0] = WIDTH - 1 - expected[..., 0]
        assert after == pytest.approx(expected, abs=1e-4)

    def test_pixels_change_sides(self):
        frame = make_frame()
        flipped = flip(frame)
        assert np.array_equal(flipped.image[4, 30], frame.image[4, WIDTH - 1 - 30])
        assert flipped.valid_px.tolist() == [2, 1, 37, 20]
        assert flipped.points_img[:, 0] == pytest.approx(WIDTH - 1 - frame.points_img[:, 0])
        assert np.array_equal(flipped.points_img[:, 1:], frame.points_img[:, 1:])

    def test_the_mirrored_rig_is_a_rig(self):
        flipped = flip(make_frame())
        assert np.linalg.det(flipped.cam_T_lidar[:3, :3]) == pytest.approx(1.0)
        assert flipped.img_P_cam[0, 0] == 30.0 and flipped.img_P_cam[0, 2] == WIDTH - 1 - 17.5

    def test_the_input_stays(self):
        frame, untouched = make_frame(), make_frame()
        flip(frame)
        for name in ("image", "points_img", "boxes_lidar", "valid_px"):
            assert np.array_equal(getattr(frame, name), getattr(untouched, name))

    def test_unlabelled_and_empty_frames(self):
        bare = replace(make_frame(), boxes_lidar=None, labels=None, points_img=np.zeros((0, 3), dtype=np.float32))
        flipped = flip(bare)
        assert flipped.boxes_lidar is None and flipped.points_img.shape == (0, 3)


class TestJitterColour:
    def test_factors_of_one_change_nothing(self):
        image = make_frame().image
        assert np.array_equal(jitter_colour(image, 1, 1, 1), image)

    def test_hand_numbers(self):
        pixel = np.array([[[100, 200, 50]]], dtype=np.uint8)
        assert jitter_colour(pixel, 1.2, 1, 1)[0, 0].tolist() == [120, 240, 60]
        assert jitter_colour(pixel, 2.0, 1, 1)[0, 0].tolist() == [200, 255, 100]
        assert jitter_colour(pixel, 1, 0.5, 1)[0, 0].tolist() == [114, 164, 89]
        grey = round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)
        assert jitter_colour(pixel, 1, 1, 0)[0, 0].tolist() == [grey] * 3

    @given(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3))
    def test_grey_stays_grey(self, brightness, contrast, saturation):
        grey = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
        changed = jitter_colour(grey, brightness, contrast, saturation).astype(int)
        assert np.ptp(changed, axis=2).max() <= 1


class TestAugment:
    def test_is_a_function_of_the_generator(self):
        frames = [augment(make_frame(), AugmentConfig(), np.random.default_rng(5)) for _ in range(2)]
        assert np.array_equal(frames[0].image, frames[1].image)
        other = augment(make_frame(), AugmentConfig(), np.random.default_rng(6))
        assert not np.array_equal(frames[0].image, other.image)

    def test_switched_off_changes_nothing(self):
        frame = make_frame()
        assert augment(frame, AugmentConfig(0.0, 0.0, 0.0, 0.0), np.random.default_rng(0)) is frame

    def test_flips_as_often_as_asked(self):
        frame = make_frame()
        always = augment(frame, AugmentConfig(1.0, 0, 0, 0), np.random.default_rng(0))
        assert np.array_equal(always.image, frame.image[:, ::-1])
