"""The Spatial Alignment Module: widens the view of the residual BEV map and mends shifts that wrong depth causes."""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.network.deformable_conv import DeformableConv2d
from monotakd_ros.network.norm import PooledBatchNorm2d

RATES = (6, 12)


class SpatialAlignmentModule(nn.Module):
    """BEV map (B, C, Y, X) -> aligned map (B, C, Y, X), not negative. C is even.

    The context of each cell weighs the input's channels; a deformable convolution, applied twice with the same
    weights, moves features to where they belong; two convolutions merge both.

    Source: MonoTAKD (Liu et al., CVPR 2025), the Spatial Alignment Module; wiring as in the released code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.context = ContextPyramid(channels)
        self.gate = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels, bias=False),
            nn.Sigmoid(),
        )
        self.shift = DeformableConv2d(channels)
        self.merge = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
        )

    def forward(self, bev: torch.Tensor) -> torch.Tensor:
        gate = self.gate(self.context(bev).mean(dim=(2, 3)))
        gated = bev * gate[:, :, None, None]
        return self.merge(gated + self.shift(self.shift(bev)))


class ContextPyramid(nn.Module):
    """Atrous spatial pyramid pooling (B, C, Y, X) -> (B, C, Y, X): the cell, two wider views and the whole map.

    Source: DeepLabV3 (Chen et al., 2017), sec. 3.3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.cell = _conv_norm_relu(nn.Conv2d(channels, half, 1))
        self.near, self.far = (
            _conv_norm_relu(nn.Conv2d(channels, half, 3, padding=rate, dilation=rate)) for rate in RATES
        )
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, half, 1), PooledBatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.project = _conv_norm_relu(nn.Conv2d(4 * half, channels, 1))

    def forward(self, bev: torch.Tensor) -> torch.Tensor:
        whole = self.whole(bev).expand(-1, -1, *bev.shape[-2:])
        return self.project(torch.cat([self.cell(bev), self.near(bev), self.far(bev), whole], dim=1))


def _conv_norm_relu(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))
