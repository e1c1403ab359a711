"""The covariance of a box's centre: shape along the ray, hand numbers, degenerate input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.position_covariance import position_covariance

BINS = DepthBins(2.0, 46.8, 64)
FOCAL = 480.0
IMG_P_CAM = torch.tensor([[FOCAL, 0, 406, 0], [0, FOCAL, 115, 0], [0, 0, 1, 0]])
CAM_T_LIDAR = torch.from_numpy(nominal_cam_T_lidar(0.0, 0.0)).float()
BEV_CELL_M = 0.64
VALID_PX = torch.tensor([0.0, 0.0, 832.0, 256.0])


def box(x: float, y: float = 0.0, z: float = -1.0, heading: float = 0.0) -> torch.Tensor:
    return torch.tensor([[x, y, z, 4.0, 1.6, 1.5, heading]])


def flat_logits() -> torch.Tensor:
    return torch.zeros(65, 32, 104)


def sure_of(depth: float) -> torch.Tensor:
    logits = flat_logits()
    logits[BINS.bin_index(torch.tensor(depth))] = 50.0
    return logits


def covariance(logits: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    return position_covariance(logits.softmax(dim=0), boxes, IMG_P_CAM, CAM_T_LIDAR, VALID_PX, BINS, BEV_CELL_M)


def test_by_hand_straight_ahead():
    """One sure bin: its own width along the ray; across it a feature cell, a BEV cell and a fifth of that width."""
    result = covariance(sure_of(20.0), box(20.0, z=0.0))[0]
    index = BINS.bin_index(torch.tensor(20.0))
    width = BINS.edges().diff()[index].item()
    cell = 8 * 20 / FOCAL
    expected = torch.diag(torch.tensor([width**2, cell**2 + BEV_CELL_M**2 + (0.2 * width) ** 2, cell**2])) / 12
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-4)


def test_two_equal_peaks_give_their_spread():
    logits = flat_logits()
    peaks = [BINS.bin_index(torch.tensor(depth)).item() for depth in (18.0, 22.0)]
    logits[peaks] = 50.0
    centers, widths = BINS.centers()[peaks], BINS.edges().diff()[peaks]
    expected = ((centers[1] - centers[0]) / 2) ** 2 + (widths**2).mean() / 12
    assert covariance(logits, box(20.0, z=0.0))[0, 0, 0].item() == pytest.approx(expected.item(), rel=1e-3)


def test_long_axis_lies_along_the_viewing_ray():
    where = box(30.0, 10.0, 2.0)
    values, vectors = torch.linalg.eigh(covariance(flat_logits(), where)[0])
    ray = where[0, :3] / where[0, :3].norm()
    assert abs(vectors[:, 2] @ ray).item() == pytest.approx(1.0, abs=1e-4)
    assert values[2] > 20 * values[1]
    assert values[1] > values[0]
    assert vectors[2, 1].item() == pytest.approx(0.0, abs=1e-4), "the middle axis is level"


def test_unsure_is_wider_than_sure_and_far_wider_than_near():
    def along(logits: torch.Tensor, x: float) -> float:
        return covariance(logits, box(x, z=0.0))[0, 0, 0].item()

    assert along(flat_logits(), 20.0) > 10 * along(sure_of(20.0), 20.0)
    assert along(sure_of(40.0), 40.0) > along(sure_of(10.0), 10.0)


def test_a_peak_far_from_the_box_counts_as_not_knowing():
    """Depth sure of 40 m where a box stands at 15 m: uniform over the window, not narrow."""
    window = 0.3 * 15
    deviation = math.sqrt(covariance(sure_of(40.0), box(15.0, z=0.0))[0, 0, 0])
    assert deviation == pytest.approx(2 * window / math.sqrt(12), rel=0.1)


def test_baseline_in_the_projection_moves_the_ray():
    shifted = IMG_P_CAM.clone()
    shifted[0, 3] = FOCAL * 2.0  # the optical centre lies 2 m to the left of cam's origin
    result = position_covariance(
        flat_logits().softmax(dim=0), box(20.0, 2.0, 0.0), shifted, CAM_T_LIDAR, VALID_PX, BINS, BEV_CELL_M
    )[0]
    axis = torch.linalg.eigh(result)[1][:, 2]
    assert abs(axis[0]).item() == pytest.approx(1.0, abs=1e-4)


def test_straight_up_is_defined():
    result = covariance(flat_logits(), box(0.0, 0.0, 5.0))[0]
    assert torch.isfinite(result).all()
    assert torch.linalg.eigvalsh(result.double()).min() > 0


NOISE = 5 * torch.randn((65, 32, 104), generator=torch.Generator().manual_seed(0))


@settings(max_examples=50, deadline=None)
@given(st.floats(-20, 80), st.floats(-40, 40), st.floats(-4, 4), st.floats(-4, 4))
def test_always_symmetric_positive_definite(x, y, z, heading):
    result = covariance(NOISE, box(x, y, z, heading))[0]
    assert torch.isfinite(result).all()
    assert torch.equal(result, result.T)
    assert torch.linalg.eigvalsh(result.double()).min() > 0


def test_no_boxes():
    assert covariance(flat_logits(), torch.zeros((0, 7))).shape == (0, 3, 3)
