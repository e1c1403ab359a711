"""Maps over bird's-eye cells: what lies where in the picture, odd maps, and boxes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monotakd_ros.visualization.bev_maps import draw_bev_maps

RANGE = (0.0, -20.0, 40.0, 20.0)
GREY = np.full((64, 200, 3), 128, np.uint8)
BRIGHT = 600
"""Sum of three channels above which a pixel belongs to the brightest cells, and not to the grey image above."""


def picture(maps, boxes=(), image=GREY) -> np.ndarray:
    png = draw_bev_maps(image, maps, RANGE, np.reshape(boxes, (-1, 7)), "a frame")
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("corner", [(True, True), (True, False), (False, True), (False, False)])
def test_ahead_is_up_and_left_is_left(corner):
    far, left = corner
    strength = np.zeros((20, 20), np.float32)  # (Y, X)
    rows = slice(14, 18) if left else slice(2, 6)
    columns = slice(14, 18) if far else slice(2, 6)
    strength[rows, columns] = 1.0
    shown = picture({"map": strength})
    bright = np.argwhere((shown.astype(int).sum(axis=2) > BRIGHT) & (shown[..., 0] < 200))
    dark = np.argwhere(shown.astype(int).sum(axis=2) < 20)
    up, to_left = bright.mean(axis=0) < dark.mean(axis=0)
    assert (up, to_left) == (far, left)


def test_a_panel_for_each_map_and_boxes_as_outlines():
    maps = {f"map {number}": np.random.default_rng(number).random((20, 20)) for number in range(5)}
    one, five = picture({"map": np.zeros((20, 20))}), picture(maps)
    assert five.shape[1] > 2 * one.shape[1]
    box = [20.0, 0.0, 0.0, 12.0, 6.0, 1.5, 0.3]
    green = [
        (shown[..., 1].astype(int) - shown[..., 2] > 60).sum() for shown in (one, picture({"map": maps["map 0"]}, box))
    ]
    assert green[0] == 0 < green[1]


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_maps_of_one_value(value):
    assert picture({"map": np.full((4, 6), value)}).ndim == 3


def test_boxes_beyond_the_range_do_not_widen_the_view():
    strength = np.eye(20)
    assert picture({"m": strength}).shape == picture({"m": strength}, [500.0, 90.0, 0, 4, 2, 1.5, 0]).shape
