"""Overlaps of KITTI boxes, against hand numbers and polygon clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.evaluation.overlaps import iou_bev_and_3d, iou_img


def box(hwl: tuple, bottom: tuple, yaw: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array([hwl], dtype=np.float64), np.array([bottom], dtype=np.float64), np.array([yaw], dtype=np.float64)


def test_image_boxes_by_hand() -> None:
    a = np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    b = np.array([[1.0, 1.0, 3.0, 3.0], [1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert iou_img(a, b) == pytest.approx([1 / 7, 0.0, 0.0])


def test_same_box_overlaps_fully_at_any_yaw() -> None:
    for yaw in np.linspace(-4, 4, 23):
        same = box((1.5, 1.6, 4.0), (3.0, 1.7, 22.0), yaw)
        bev, space = iou_bev_and_3d(same, same)
        assert bev[0] == pytest.approx(1.0, abs=1e-12)
        assert space[0] == pytest.approx(1.0, abs=1e-12)


def test_quarter_turn_shares_the_square_in_the_middle() -> None:
    bev, space = iou_bev_and_3d(box((2, 2, 4), (0, 0, 10), 0.0), box((2, 2, 4), (0, 1, 10), np.pi / 2))
    assert bev[0] == pytest.approx(4 / 12)
    assert space[0] == pytest.approx(4 / (16 + 16 - 4))


@pytest.mark.parametrize("width", [0.0, -1.0, -2.0])
def test_a_footprint_turned_inside_out_covers_nothing(width: float) -> None:
    bev, space = iou_bev_and_3d(box((1.5, width, 2.0), (0, 0, 10), 0.3), box((1.5, 2, 4), (0, 0, 10), 0.3))
    assert (bev[0], space[0]) == (0.0, 0.0)


def test_yaw_turns_the_length_towards_negative_z() -> None:
    """KITTI: rotation_y about the downward axis, zero along +x, so +pi/2 points to -z."""
    bev, _ = iou_bev_and_3d(box((1, 0.1, 10), (0, 0, 10), np.pi / 4), box((1, 0.1, 0.1), (3, 0, 7), np.pi / 4))
    assert bev[0] == pytest.approx(0.01)


numbers = st.floats(-3, 3)
sizes = st.floats(0.2, 6)


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, numbers, sizes, sizes, numbers, numbers, numbers)
def test_footprints_agree_with_polygon_clipping(w1, l1, yaw1, w2, l2, yaw2, x, z) -> None:
    affinity, geometry = pytest.importorskip("shapely.affinity"), pytest.importorskip("shapely.geometry")

    def polygon(w: float, length: float, yaw: float, x: float, z: float):
        flat = geometry.box(-length / 2, -w / 2, length / 2, w / 2)
        return affinity.translate(affinity.rotate(flat, -yaw, origin=(0, 0), use_radians=True), x, z)

    p, q = polygon(w1, l1, yaw1, 0, 0), polygon(w2, l2, yaw2, x, z)
    shared = p.intersection(q).area
    bev, space = iou_bev_and_3d(box((1, w1, l1), (0, 0, 0), yaw1), box((1, w2, l2), (x, 0.5, z), yaw2))
    assert bev[0] == pytest.approx(shared / (p.area + q.area - shared), abs=1e-9)
    assert space[0] == pytest.approx(shared * 0.5 / (p.area + q.area - shared * 0.5), abs=1e-9)
