"""LID depth bins: hand numbers, edges, out of range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.errors import ConfigError
from monotakd_ros.geometry.depth_bins import DepthBins

HAND = DepthBins(2.0, 8.0, 3)  # widths 1, 2, 3 m: edges 2, 3, 5, 8
KITTI = DepthBins(2.0, 46.8, 120)


def test_edges_and_centers_by_hand():
    assert torch.allclose(HAND.edges(), torch.tensor([2.0, 3.0, 5.0, 8.0]))
    assert torch.allclose(HAND.centers(), torch.tensor([2.5, 4.0, 6.5]))


def test_bin_index_by_hand():
    depth = torch.tensor([2.0, 2.99, 3.01, 4.99, 5.01, 7.99, 8.01, 1.99, -5.0, float("nan"), float("inf")])
    assert HAND.bin_index(depth).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3]
    assert HAND.bin_index(torch.zeros((0,))).shape == (0,)


def test_continuous_index_is_whole_at_the_edges():
    expected = torch.arange(121, dtype=torch.float32)
    assert torch.allclose(KITTI.continuous_index(KITTI.edges()), expected, atol=2e-3)
    assert torch.isnan(KITTI.continuous_index(torch.tensor(0.0)))


@settings(deadline=None)
@given(st.floats(2.001, 46.79))
def test_a_depth_lies_between_the_edges_of_its_bin(depth):
    index = KITTI.bin_index(torch.tensor(depth, dtype=torch.float64)).item()
    assert KITTI.edges()[index] - 1e-4 <= depth <= KITTI.edges()[index + 1] + 1e-4


@pytest.mark.parametrize("settings_", [(0.0, 5.0, 3), (5.0, 5.0, 3), (2.0, 5.0, 0)])
def test_bad_bins_are_named(settings_):
    with pytest.raises(ConfigError, match="depth bins"):
        DepthBins(*settings_)
