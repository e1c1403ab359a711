"""Anchors, box codes, direction bins and the way from maps to boxes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monotakd_ros.config import GridConfig, HeadConfig, PostprocessConfig
from monotakd_ros.geometry.boxes import wrap_angle
from monotakd_ros.network.anchor_head import AnchorHead, decode_boxes, direction_bins, encode_boxes, make_anchors

KITTI_GRID = GridConfig().build()
SMALL_GRID = GridConfig((0.0, -4.0, -3.0, 6.0, 4.0, 1.0), (1.0, 2.0, 1.0)).build()


def make_head(grid=SMALL_GRID, placement="cell_center", **postprocess) -> AnchorHead:
    torch.manual_seed(0)
    head = HeadConfig(placement=placement)
    return AnchorHead(5, head, dataclasses.replace(PostprocessConfig(), **postprocess), grid)


def empty_maps(head: AnchorHead) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = len(head.anchors)
    return torch.full((count, 3), -10.0), torch.zeros(count, 7), torch.zeros(count, 2)


def test_official_anchors():
    anchors = make_anchors(HeadConfig(), KITTI_GRID)
    assert anchors.shape == (188, 140, 3, 2, 7)
    car, pedestrian = anchors[1, 2, 0, 1], anchors[1, 2, 1, 0]
    x, y = 2 + 2 * 44.8 / 139, -30.08 + 60.16 / 187
    torch.testing.assert_close(car, torch.tensor([x, y, -1.0, 3.9, 1.6, 1.56, 1.57]))
    torch.testing.assert_close(pedestrian, torch.tensor([x, y, 0.265, 0.8, 0.6, 1.73, 0.0]))
    torch.testing.assert_close(anchors[-1, -1, 0, 0, :2], torch.tensor([46.8, 30.08]))


def test_cell_centred_anchors_lie_on_the_voxel_centres():
    anchors = make_anchors(HeadConfig(placement="cell_center"), KITTI_GRID)
    torch.testing.assert_close(anchors[:, :, 0, 0, :2], KITTI_GRID.centers()[0, ..., :2])


def test_flattening_is_y_x_class_rotation():
    head = make_head()
    anchors = make_anchors(HeadConfig(placement="cell_center"), SMALL_GRID)  # (4, 6, 3, 2, 7)
    assert head.anchors.shape == (4 * 6 * 6, 7)
    assert torch.equal(head.anchors[((2 * 6 + 5) * 3 + 1) * 2 + 1], anchors[2, 5, 1, 1])
    assert head.anchor_class[:7].tolist() == [0, 0, 1, 1, 2, 2, 0]
    bev = torch.randn(2, 5, 4, 6)
    cls_logits, box_codes, dir_logits = head(bev)
    assert cls_logits.shape == (2, 144, 3) and box_codes.shape == (2, 144, 7) and dir_logits.shape == (2, 144, 2)
    raw = head.conv_box(bev)
    torch.testing.assert_close(box_codes[1, ((2 * 6 + 5) * 3 + 1) * 2 + 1], raw[1, 3 * 7 : 4 * 7, 2, 5])


def test_prior_probability_is_one_percent():
    assert torch.sigmoid(make_head().conv_cls.bias).mean().item() == pytest.approx(0.01)


def test_codes_by_hand():
    anchor = torch.tensor([10.0, 2.0, -1.0, 4.0, 3.0, 1.5, 0.0])
    box = torch.tensor([15.0, -3.0, 0.5, 4.0 * math.e, 3.0, 1.5, 0.7])
    torch.testing.assert_close(encode_boxes(box, anchor), torch.tensor([1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.7]))


position = st.floats(-50, 50)
size = st.floats(0.2, 15)
boxes = st.tuples(position, position, position, size, size, size, st.floats(-3, 3)).map(torch.tensor)


@settings(max_examples=50, deadline=None)
@given(boxes, boxes)
def test_decode_undoes_encode(box, anchor):
    torch.testing.assert_close(decode_boxes(encode_boxes(box, anchor), anchor), box, atol=1e-4, rtol=1e-4)


HEAD = make_head()


@settings(max_examples=50, deadline=None)
@given(st.floats(-9, 9), st.sampled_from([0.0, 1.57]))
def test_heading_survives_the_direction_bin(heading, rotation):
    """Whatever half turn the residual lands in, residual and direction target together give the heading back."""
    head = HEAD
    chosen = torch.nonzero(head.anchors[:, 6] == rotation)[:1, 0]
    box = head.anchors[chosen].clone()
    box[:, 6] = heading
    for half_turns in (0, 1):
        target = box.clone()
        target[:, 6] += half_turns * math.pi
        codes = torch.zeros(len(head.anchors), 7)
        codes[chosen] = encode_boxes(target, head.anchors[chosen])
        dir_logits = torch.zeros(len(head.anchors), 2)
        dir_logits[chosen, direction_bins(box[:, 6], head.direction_offset)] = 1.0
        decoded = head.decode_at(chosen, codes, dir_logits)
        error = wrap_angle(decoded[0, 6].item() - heading)
        near_edge = abs(wrap_angle(2 * (heading - 0.78539))) < 1e-3  # there a rounding error may flip the bin
        assert near_edge or abs(error) < 1e-4


def test_nothing_above_the_threshold_gives_no_boxes():
    head = make_head()
    found = head.decode(*empty_maps(head))
    assert found.boxes.shape == (0, 7) and found.scores.shape == (0,) and found.labels.shape == (0,)
    assert len(found) == 0 and found.labels.dtype == torch.int64


def test_decode_by_hand():
    """Two far anchors and a rival of the first: the rival goes, the class is the best logit's, not the anchor's."""
    head = make_head()
    cls_logits, box_codes, dir_logits = empty_maps(head)
    first, far = 0, len(head.anchors) - 6
    cls_logits[first, 2], cls_logits[first + 1, 0], cls_logits[far, 0] = 2.0, 1.0, 3.0
    box_codes[first, 2] = 1.0
    found = head.decode(cls_logits, box_codes, dir_logits)
    assert found.labels.tolist() == [0, 2]
    torch.testing.assert_close(found.scores, torch.sigmoid(torch.tensor([3.0, 2.0])))
    torch.testing.assert_close(found.boxes[1, :6], torch.tensor([0.5, -3.0, 0.56, 3.9, 1.6, 1.56]))
    # heading 0 lies in the upper half turn of bin 0, (0.785, 3.927): half a turn away
    assert found.boxes[1, 6].item() == pytest.approx(math.pi, abs=1e-5)


def test_threshold_counts_and_limits():
    head = make_head(score_threshold=0.5, pre_nms_max=3, max_boxes=2, nms_iou=1.0)
    cls_logits, box_codes, dir_logits = empty_maps(head)
    cls_logits[:10, 1] = torch.linspace(-1, 1, 10)
    assert head.decode(cls_logits, box_codes, dir_logits).scores.tolist() == pytest.approx(
        torch.sigmoid(torch.linspace(-1, 1, 10))[[9, 8]].tolist()
    )
    cls_logits[:, 1] = 0.0
    assert len(head.decode(cls_logits, box_codes, dir_logits)) == 2, "a score on the threshold counts"


def test_boxes_that_are_not_finite_go():
    head = make_head()
    cls_logits, box_codes, dir_logits = empty_maps(head)
    cls_logits[0, 0], cls_logits[-1, 0] = 3.0, 2.0
    box_codes[0, 3] = 1000.0
    found = head.decode(cls_logits, box_codes, dir_logits)
    assert len(found) == 1 and torch.isfinite(found.boxes).all()
    cls_logits[:] = float("nan")
    assert len(head.decode(cls_logits, box_codes, dir_logits)) == 0


class TestDirectionBins:
    @pytest.mark.parametrize(("heading", "expected"), [(0.0, 1), (0.79, 0), (1.57, 0), (3.9, 0), (3.95, 1), (-3.14, 0)])
    def test_hand_values(self, heading, expected):
        assert direction_bins(torch.tensor([heading]), 0.78539).item() == expected

    @given(st.floats(-10, 10))
    def test_opposite_headings_differ(self, heading):
        assume(1e-6 < (heading - 0.78539) % np.pi < np.pi - 1e-6)
        both = direction_bins(torch.tensor([heading, heading + np.pi], dtype=torch.float64), 0.78539)
        assert both.sum() == 1

    @given(st.floats(-6, 6), st.sampled_from([0, 1]))
    def test_agrees_with_how_the_head_decodes(self, heading, rotation):
        past_a_bin_edge = (heading - 0.78539) % np.pi
        assume(1e-6 < past_a_bin_edge < np.pi - 1e-6)  # on the edge, rounding decides
        anchors = torch.tensor([[0, 0, 0, 4.0, 2.0, 1.5, (0.0, 1.57)[rotation]]], dtype=torch.float64)
        box = torch.tensor([[0, 0, 0, 4.0, 2.0, 1.5, heading]], dtype=torch.float64)
        decoded = decode_boxes(encode_boxes(box, anchors), anchors)[0, 6]
        turned = torch.remainder(decoded - 0.78539, torch.pi) + 0.78539 + torch.pi * direction_bins(box[:, 6], 0.78539)
        assert torch.cos(turned - heading).item() == pytest.approx(1.0, abs=1e-6)
