"""Height collapse and BEV backbone: channel order, shapes, norm settings, key names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from monotakd_ros.config import BevConfig
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.height_collapse import HeightCollapse


def test_collapse_channel_is_c_times_z_plus_z():
    torch.manual_seed(0)
    collapse = HeightCollapse(3, 4, 5).eval()
    voxels = torch.randn(2, 3, 4, 6, 7)
    flat = torch.stack([voxels[:, c, z] for c in range(3) for z in range(4)], dim=1)
    expected = F.relu(collapse.bn(collapse.conv(flat)))
    torch.testing.assert_close(collapse(voxels), expected, atol=1e-5, rtol=1e-5)
    lifted = voxels.permute(0, 3, 4, 2, 1).contiguous().permute(0, 4, 3, 1, 2)  # the lift's memory order
    torch.testing.assert_close(collapse(lifted), expected, atol=1e-5, rtol=1e-5)


def test_backbone_keeps_the_map_size_also_when_odd():
    backbone = BevBackbone(4, BevConfig(4, (1, 1, 0), (1, 2, 2), (4, 6, 8), (3, 5, 7))).eval()
    for rows, columns in ((8, 12), (9, 13), (5, 7)):
        assert backbone(torch.zeros(1, 4, rows, columns)).shape == (1, 15, rows, columns)
    assert backbone.out_channels == 15


def test_paper_backbone():
    backbone = BevBackbone(128, BevConfig())
    assert sum(p.numel() for p in backbone.parameters()) == 4_429_312
    keys = set(backbone.state_dict())
    assert {"blocks.0.1.weight", "blocks.0.17.running_var", "blocks.1.16.weight", "deblocks.1.0.weight"} <= keys
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
