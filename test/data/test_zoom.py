"""Zoom and crop: image, camera, points and boxes move together, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.config import AugmentConfig
from monotakd_ros.data.augment import augment, augment_and_keep_colours
from monotakd_ros.data.preprocess import IGNORE_LABEL, PreparedFrame
from monotakd_ros.data.zoom import random_zoom, zoom
from monotakd_ros.errors import ConfigError
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, transform_points

WIDTH, HEIGHT = 120, 60
CAMERA = CameraModel(np.array([[80.0, 0, 61.5, 4.0], [0, 80.0, 28.0, -1.0], [0, 0, 1, 0.003]]), WIDTH, HEIGHT)
VALID_PX = np.array([4, 2, 116, 58], dtype=np.float32)

factors = st.floats(0.5, 2.0)
pixels = st.tuples(st.floats(10, 110), st.floats(8, 52))


def project(frame: PreparedFrame, points_lidar: np.ndarray) -> np.ndarray:
    camera = CameraModel(frame.img_P_cam, frame.image.shape[1], frame.image.shape[0])
    return camera.project(transform_points(frame.cam_T_lidar, points_lidar.astype(np.float64)))[0]


def make_frame(image: np.ndarray | None = None) -> PreparedFrame:
    """A frame with points on a wall and two boxes, one in the middle and one at the left edge."""
    generator = np.random.default_rng(0)
    points = generator.uniform([8, -5, -2, 0], [30, 5, 2, 1], (300, 4)).astype(np.float32)
    cam_T_lidar = nominal_cam_T_lidar()
    uv_px, depth = CAMERA.project(transform_points(cam_T_lidar, points[:, :3].astype(np.float64)))
    seen = ((uv_px >= VALID_PX[:2] - 0.5) & (uv_px < VALID_PX[2:] - 0.5)).all(axis=1)
    if image is None:
        image = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return PreparedFrame(
        name="7",
        image=image,
        valid_px=VALID_PX,
        img_P_cam=CAMERA.img_P_cam,
        cam_T_lidar=cam_T_lidar,
        points_img=np.column_stack([uv_px, depth])[seen].astype(np.float32),
        points_lidar=points[seen],
        boxes_lidar=np.array([[15, 0, -0.5, 4, 1.6, 1.5, 0.4], [12, 7, -0.5, 0.8, 0.6, 1.7, 1.0]], dtype=np.float32),
        labels=np.array([0, 1]),
    )


class TestZoom:
    def test_hand_numbers(self):
        """Twice as large about the pixel (20, 10), which stays: u' = 20 + 2 (u - 20), rounded to whole shifts."""
        frame = make_frame()
        moved = zoom(frame, 2.0, (20.5, 10.5), (20.5, 10.5))
        # The content (112 x 56) becomes 224 x 112; its pixel 16.5 becomes 33.5, which is wanted at 20.5.
        assert moved.valid_px.tolist() == [0, 0, WIDTH, HEIGHT]
        assert moved.img_P_cam[0, 0] == moved.img_P_cam[1, 1] == 160.0
        assert moved.img_P_cam[0, 2] == pytest.approx(20.5 + 2 * (61.5 - 20.5))
        assert moved.img_P_cam[1, 2] == pytest.approx(10.5 + 2 * (28.0 - 10.5))

    def test_a_smaller_image_has_padding(self):
        moved = zoom(make_frame(), 0.5, (4, 2), (4, 2))
        assert moved.valid_px.tolist() == [4, 2, 60, 30]
        outside = np.ones((HEIGHT, WIDTH), dtype=bool)
        outside[2:30, 4:60] = False
        assert not moved.image[outside].any() and moved.image[~outside].any()

    @given(factors, pixels, pixels)
    def test_points_stay_where_they_are_in_the_world(self, factor, pivot, target):
        frame = make_frame()
        moved = zoom(frame, factor, pivot, target)
        assert len(moved.points_img) == len(moved.points_lidar)
        assert moved.points_img[:, :2] == pytest.approx(project(moved, moved.points_lidar[:, :3]), abs=2e-3)
        left, top, right, bottom = moved.valid_px - 0.5
        expected = project(moved, frame.points_lidar[:, :3])
        inside = (expected >= [left, top]).all(axis=1) & (expected < [right, bottom]).all(axis=1)
        assert abs(inside.sum() - len(moved.points_lidar)) <= 1  # one on the very edge may round otherwise
        assert np.isin(moved.points_img[:, 2], frame.points_img[:, 2]).all()

    @given(factors, pixels, pixels)
    def test_corners_of_boxes_move_with_the_image(self, factor, pivot, target):
        frame = make_frame()
        moved = zoom(frame, factor, pivot, target)
        assert np.array_equal(moved.boxes_lidar, frame.boxes_lidar)
        corners = corners_from_boxes(frame.boxes_lidar).reshape(-1, 3)
        ratio = moved.img_P_cam[0, 0] / CAMERA.fx, moved.img_P_cam[1, 1] / CAMERA.fy
        shift = moved.img_P_cam[:2, 2] - ratio * CAMERA.img_P_cam[:2, 2]
        assert project(moved, corners) == pytest.approx(project(frame, corners) * ratio + shift, abs=1e-6)
        assert ratio == pytest.approx((factor, factor), rel=0.02)
        assert np.array(pivot) * ratio + shift == pytest.approx(target, abs=0.51)

    @given(factors, pixels, pixels)
    def test_and_back_is_the_same_world(self, factor, pivot, target):
        frame = make_frame()
        moved = zoom(frame, factor, pivot, target)
        back = zoom(moved, 1 / factor, target, pivot)
        corners = corners_from_boxes(frame.boxes_lidar).reshape(-1, 3)
        assert np.array_equal(back.boxes_lidar, frame.boxes_lidar)
        assert np.array_equal(back.cam_T_lidar, frame.cam_T_lidar)
        # Sizes and shifts were rounded to whole pixels, twice.
        assert project(back, corners) == pytest.approx(project(frame, corners), abs=4)
        assert np.isin(back.points_lidar[:, 0], frame.points_lidar[:, 0]).all()

    @pytest.mark.parametrize("shift", [(7, -5), (-11, 3), (0, 0)])
    def test_a_moved_window_and_back_pixel_for_pixel(self, shift):
        frame = make_frame()
        there = (60 + shift[0], 30 + shift[1])
        moved = zoom(frame, 1.0, (60, 30), there)
        corners = corners_from_boxes(frame.boxes_lidar).reshape(-1, 3)
        assert project(moved, corners) == pytest.approx(project(frame, corners) + shift)
        assert np.array_equal(moved.image[30 + shift[1], 60 + shift[0]], frame.image[30, 60])
        back = zoom(moved, 1.0, there, (60, 30))
        assert back.img_P_cam == pytest.approx(frame.img_P_cam)
        left, top, right, bottom = back.valid_px.astype(int)
        assert np.array_equal(back.image[top:bottom, left:right], frame.image[top:bottom, left:right])
        assert (right - left, bottom - top) == (112 - max(abs(shift[0]) - 4, 0), 56 - max(abs(shift[1]) - 2, 0))

    @given(st.floats(0.8, 2.0), pixels, pixels, st.integers(0, 200))
    def test_a_painted_dot_moves_with_its_point(self, factor, pivot, target, index):
        frame = make_frame(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
        frame = replace(frame, points_img=frame.points_img[index % len(frame.points_img)][None])
        u, v = np.rint(frame.points_img[0, :2]).astype(int)
        frame.image[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2] = 240
        frame = replace(frame, points_img=np.array([[u, v, frame.points_img[0, 2]]], dtype=np.float32))
        frame = replace(frame, points_lidar=frame.points_lidar[:1])
        moved = zoom(frame, factor, pivot, target)
        for point in moved.points_img:
            if (point[:2] > 4).all() and point[0] < WIDTH - 5 and point[1] < HEIGHT - 5 and 6 < u < 113 and 4 < v < 55:
                weight = moved.image[..., 0].astype(float)
                rows, columns = np.mgrid[:HEIGHT, :WIDTH]
                center = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
                assert center == pytest.approx(point[:2], abs=0.35)

    def test_an_object_that_is_mostly_cut_off_is_neither_right_nor_wrong(self):
        frame = make_frame()
        boxes = boxes_px(frame)
        assert boxes[1, 0] < 20
        pushed_out = zoom(frame, 1.0, (60, 30), (60 - boxes[1, 2] + 1, 30))
        assert pushed_out.labels.tolist() == [0, IGNORE_LABEL]
        assert zoom(frame, 0.5, (60, 30), (60, 30)).labels.tolist() == [0, 1]
        assert frame.labels.tolist() == [0, 1]

    def test_the_input_stays(self):
        frame, untouched = make_frame(), make_frame()
        zoom(frame, 1.3, (60, 30), (50, 20))
        for name in ("image", "points_img", "points_lidar", "boxes_lidar", "valid_px", "img_P_cam", "labels"):
            assert np.array_equal(getattr(frame, name), getattr(untouched, name))

    def test_unlabelled_and_empty_frames(self):
        bare = replace(
            make_frame(),
            boxes_lidar=None,
            labels=None,
            points_img=np.zeros((0, 3), dtype=np.float32),
            points_lidar=np.zeros((0, 4), dtype=np.float32),
        )
        moved = zoom(bare, 1.5, (60, 30), (60, 30))
        assert moved.labels is None and moved.points_img.shape == (0, 3) and moved.points_lidar.shape == (0, 4)
        nothing = replace(bare, valid_px=np.zeros(4, dtype=np.float32))
        assert zoom(nothing, 1.5, (60, 30), (60, 30)) is nothing
        no_boxes = replace(make_frame(), boxes_lidar=np.zeros((0, 7), dtype=np.float32), labels=np.zeros(0, dtype=int))
        assert zoom(no_boxes, 1.5, (60, 30), (60, 30)).labels.shape == (0,)


def boxes_px(frame: PreparedFrame) -> np.ndarray:
    uv_px = project(frame, corners_from_boxes(frame.boxes_lidar).reshape(-1, 3)).reshape(-1, 8, 2)
    return np.concatenate([uv_px.min(axis=1), uv_px.max(axis=1)], axis=1)


class TestRandomZoom:
    @given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 0.5))
    def test_always_shows_some_of_the_image(self, seed, scale, crop):
        moved = random_zoom(make_frame(), scale, crop, np.random.default_rng(seed))
        left, top, right, bottom = moved.valid_px
        assert right > left and bottom > top
        factor = moved.img_P_cam[0, 0] / CAMERA.fx
        assert 0.97 / (1 + scale) <= factor <= 1.03 * (1 + scale)

    def test_is_part_of_augmentation(self):
        config = AugmentConfig(1.0, 0.2, 0.2, 0.2, scale=0.3, crop=0.1)
        frames = [augment_and_keep_colours(make_frame(), config, np.random.default_rng(5)) for _ in range(2)]
        (coloured, plain), (again, _) = frames
        assert np.array_equal(coloured.image, again.image) and not np.array_equal(coloured.image, plain.image)
        assert np.array_equal(coloured.img_P_cam, plain.img_P_cam)
        assert plain.points_img[:, :2] == pytest.approx(project(plain, plain.points_lidar[:, :3]), abs=2e-3)
        assert plain.img_P_cam[0, 0] != CAMERA.fx

    def test_switched_off_it_takes_no_random_numbers(self):
        generator, other = np.random.default_rng(3), np.random.default_rng(3)
        augment(make_frame(), AugmentConfig(), generator)
        augment(make_frame(), AugmentConfig(0.5, 0.2, 0.2, 0.2, 0.0, 0.0), other)
        other_state = other.bit_generator.state
        assert generator.bit_generator.state == other_state
        expected = np.random.default_rng(3)
        expected.random()
        expected.uniform(-1, 1, size=3)
        assert expected.bit_generator.state == other_state

    @pytest.mark.parametrize("settings", [{"scale": -0.1}, {"scale": 1.5}, {"crop": 0.6}, {"crop": -0.1}])
    def test_settings_out_of_range(self, settings):
        with pytest.raises(ConfigError, match=r"training\.augment"):
            AugmentConfig(**settings)
