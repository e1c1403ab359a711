"""Rotated overlap and NMS against shapely's polygon clipping and against the box-by-box rule."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from monotakd_ros.geometry import rotated_iou
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.rotated_iou import iou_3d, iou_bev, nms_bev, overlap_bev

coordinate = st.floats(-4, 4, width=32)
size = st.floats(0.0625, 6, width=32)
angle = st.floats(-7, 7, width=32)
boxes = st.tuples(coordinate, coordinate, coordinate, size, size, size, angle)


def box(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def polygon(values: tuple[float, ...]) -> Polygon:
    return Polygon(corners_from_boxes(np.array([values]))[0, :4, :2])


def random_boxes(count: int, seed: int, spread: float = 20.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand((count, 7), generator=generator)
    values[:, :2] *= spread
    values[:, 3:6] = values[:, 3:6] * 4 + 0.3
    values[:, 6] = values[:, 6] * 8 - 4
    return values


@settings(max_examples=200, deadline=None)
@given(boxes, boxes)
def test_overlap_equals_polygon_clipping(a, b):
    expected = polygon(a).intersection(polygon(b)).area
    assert overlap_bev(box(*a), box(*b)).item() == pytest.approx(expected, abs=2e-5 * (1 + expected))


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_iou_is_symmetric_and_between_zero_and_one(a, b):
    for iou in (iou_bev, iou_3d):
        forward, backward = iou(box(*a), box(*b)).item(), iou(box(*b), box(*a)).item()
        assert 0 <= forward <= 1
        assert forward == pytest.approx(backward, abs=2e-4)


@settings(max_examples=60, deadline=None)
@given(boxes, boxes, angle)
def test_turning_both_boxes_keeps_the_iou(a, b, turn):
    assume(min(*a[3:6], *b[3:6]) > 0.2)
    cos, sin = math.cos(turn), math.sin(turn)

    def turned(v):
        return box(v[0] * cos - v[1] * sin, v[0] * sin + v[1] * cos, *v[2:6], v[6] + turn)

    assert iou_bev(turned(a), turned(b)).item() == pytest.approx(iou_bev(box(*a), box(*b)).item(), abs=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "area"),
    [
        ((0, 0, 0, 4, 2, 1, 0), (0, 0, 0, 4, 2, 1, 0), 8.0),
        ((0, 0, 0, 4, 2, 1, 0), (0, 0, 0, 4, 2, 1, math.pi), 8.0),
        ((0, 0, 0, 4, 2, 1, 0), (0, 0, 0, 2, 4, 1, math.pi / 2), 8.0),
        ((0, 0, 0, 4, 2, 1, 0.3), (0, 0, 0, 1, 1, 1, 0.9), 1.0),
        ((0, 0, 0, 2, 2, 1, 0), (2, 0, 0, 2, 2, 1, 0), 0.0),
        ((0, 0, 0, 2, 2, 1, 0), (1, 1, 0, 2, 2, 1, 0), 1.0),
        ((0, 0, 0, 2, 2, 1, 0), (0, 0, 0, 2, 2, 1, math.pi / 4), 8 * (math.sqrt(2) - 1)),
        ((0, 0, 0, 4, 4, 1, 0), (0, 0, 0, 6, 1, 1, 0), 4.0),
        ((50, -30, 0, 4, 2, 1, 1.2), (50, -30, 0, 4, 2, 1, 1.2), 8.0),
        ((0, 0, 0, 4, 0, 1, 0), (0, 0, 0, 4, 2, 1, 0.2), 0.0),
        ((0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0), 0.0),
    ],
    ids=[
        "identical",
        "reversed",
        "swapped sides",
        "contained",
        "touching",
        "corner",
        "octagon",
        "cross",
        "far out",
        "line",
        "points",
    ],
)
def test_overlap_by_hand(a, b, area):
    assert overlap_bev(box(*a), box(*b)).item() == pytest.approx(area, abs=1e-5)
    assert overlap_bev(box(*b), box(*a)).item() == pytest.approx(area, abs=1e-5)


def test_volume_overlap_by_hand():
    low, high = box(0, 0, 0, 2, 2, 2, 0.4), box(0, 0, 1, 2, 2, 2, 0.4)
    assert iou_3d(low, high).item() == pytest.approx(4 / 12, abs=1e-6)
    assert iou_bev(low, high).item() == pytest.approx(1.0, abs=1e-6)
    assert iou_3d(low, box(0, 0, 2.5, 2, 2, 2, 0.4)).item() == 0.0


def test_no_boxes():
    none, some = torch.zeros((0, 7)), random_boxes(3, 0)
    assert overlap_bev(none, some).shape == (0, 3)
    assert iou_bev(some, none).shape == (3, 0)
    assert iou_3d(none, none).shape == (0, 0)
    kept = nms_bev(none, torch.zeros(0), 0.1, 5)
    assert kept.shape == (0,) and kept.dtype == torch.int64


def test_points_have_no_iou_with_themselves():
    assert iou_bev(torch.zeros((1, 7)), torch.zeros((1, 7))).item() == 0.0


def test_chunks_give_the_same_overlap(monkeypatch):
    a, b = random_boxes(60, 1), random_boxes(70, 2)
    whole = overlap_bev(a, b)
    monkeypatch.setattr(rotated_iou, "CELLS_PER_CHUNK", 200)
    monkeypatch.setattr(rotated_iou, "PAIRS_PER_CHUNK", 7)
    assert torch.equal(overlap_bev(a, b), whole)
    assert (whole > 0).sum() > 100


def greedy(values: torch.Tensor, scores: torch.Tensor, threshold: float, max_keep: int) -> list[int]:
    overlaps = iou_bev(values, values)
    kept: list[int] = []
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        if len(kept) < max_keep and all(overlaps[other, index] <= threshold for other in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("spread", [5.0, 40.0])
@pytest.mark.parametrize("threshold", [0.01, 0.5])
def test_nms_equals_the_box_by_box_rule(spread, threshold):
    values, scores = random_boxes(300, 3, spread), torch.rand(300, generator=torch.Generator().manual_seed(4))
    assert nms_bev(values, scores, threshold, 500).tolist() == greedy(values, scores, threshold, 500)


def test_nms_stops_at_max_keep_and_keeps_the_order_of_equal_scores():
    values = torch.zeros((200, 7))
    values[:, 0] = torch.arange(200) * 10.0
    values[:, 3:6] = 1.0
    assert nms_bev(values, torch.full((200,), 0.5), 0.1, 90).tolist() == list(range(90))


def test_nms_of_many_candidates_is_quick():
    generator = torch.Generator().manual_seed(5)
    centers = torch.rand((60, 2), generator=generator) * 45
    values = torch.zeros((4096, 7))
    chosen = torch.randint(0, 60, (4096,), generator=generator)
    values[:, :2] = centers[chosen] + 0.6 * torch.randn((4096, 2), generator=generator)
    values[:, 3:6] = torch.tensor([3.9, 1.6, 1.5])
    scores = torch.rand(4096, generator=generator)
    nms_bev(values, scores, 0.01, 500)
    start = time.process_time()
    nms_bev(values, scores, 0.01, 500)
    assert time.process_time() - start < 1.0, "some 10 ms are usual"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    a, b = random_boxes(300, 6), random_boxes(200, 7)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(8))
    assert torch.allclose(overlap_bev(a.cuda(), b.cuda()).cpu(), overlap_bev(a, b), atol=1e-4)
    assert torch.equal(nms_bev(a.cuda(), scores.cuda(), 0.1, 500).cpu(), nms_bev(a, scores, 0.1, 500))
