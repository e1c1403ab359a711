"""Self-calibrated convolutions on the BEV map: what adapts the camera's map to the LiDAR teacher's.

Names inside a block (K1 to K4) are those of the paper and of the published weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

POOL = 4


class BevAdaptation(nn.Sequential):
    """BEV map (B, C, Y, X) -> (B, C, Y, X) through `blocks` self-calibrated blocks; the identity without any.

    Y and X are at least 4; C is even.

    Source: CMKD (Hong et al., ECCV 2022), the BEV domain adaptation; SCNet (Liu et al., CVPR 2020).
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__(*(SelfCalibratedBlock(channels) for _ in range(blocks)))

    def pass_through(self) -> None:
        """Make this the identity of maps that are not negative, still able to learn: each block adds nothing."""
        for block in self:
            nn.init.zeros_(block.bn3.weight)
            nn.init.zeros_(block.bn3.bias)


class SelfCalibratedBlock(nn.Module):
    """(B, C, Y, X) -> (B, C, Y, X): two branches of C / 2, one plain and one self-calibrated, and a shortcut.

    Source: SCNet (Liu et al., CVPR 2020), sec. 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1_a = nn.Conv2d(channels, half, 1, bias=False)
        self.bn1_a = nn.BatchNorm2d(half)
        self.conv1_b = nn.Conv2d(channels, half, 1, bias=False)
        self.bn1_b = nn.BatchNorm2d(half)
        self.k1 = nn.Sequential(*_conv_norm(half), nn.ReLU(inplace=True))
        self.scconv = SelfCalibratedConv(half)
        self.conv3 = nn.Conv2d(2 * half, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, bev: torch.Tensor) -> torch.Tensor:
        plain = self.k1(F.relu(self.bn1_a(self.conv1_a(bev)), inplace=True))
        calibrated = self.scconv(F.relu(self.bn1_b(self.conv1_b(bev)), inplace=True))
        merged = self.bn3(self.conv3(torch.cat([plain, calibrated], dim=1)))
        return F.relu(merged + bev, inplace=True)


class SelfCalibratedConv(nn.Module):
    """(B, C, Y, X) -> (B, C, Y, X): K3 gated by the cell and its surroundings (K2 on a 4x4 mean), then K4.

    Source: SCNet (Liu et al., CVPR 2020), eq. 2 to 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k2 = nn.Sequential(nn.AvgPool2d(POOL), *_conv_norm(channels))
        self.k3 = nn.Sequential(*_conv_norm(channels))
        self.k4 = nn.Sequential(*_conv_norm(channels), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        surroundings = F.interpolate(self.k2(x), x.shape[-2:], mode="nearest")
        return self.k4(self.k3(x) * torch.sigmoid(x + surroundings))


def _conv_norm(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)]
