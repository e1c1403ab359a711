"""The Feature Fusion Module: joins the student's visual BEV map and the residual branch's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class FeatureFusionModule(nn.Module):
    """Visual and residual BEV map (B, C, Y, X) -> fused map (B, C, Y, X): their sum through three convolutions.

    The first and the last convolution share one BatchNorm, as the published weights do.

    Source: MonoTAKD (Liu et al., CVPR 2025), the Feature Fusion Module (two convolutions there, three in the
    released code).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.reduce = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.expand_norm = nn.BatchNorm2d(2 * channels)

    def forward(self, visual: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        mixed = F.relu(self.norm(self.mix(visual + residual)), inplace=True)
        expanded = F.relu(self.expand_norm(self.expand(mixed)), inplace=True)
        return F.relu(self.norm(self.reduce(expanded)), inplace=True)
