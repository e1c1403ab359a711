"""The Feature Fusion Module: joins the student's visual BEV map and the residual branch's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class FeatureFusionModule(nn.Module):
    """Visual and residual BEV map (B, C, Y, X) -> fused map (B, C, Y, X): their sum through three convolutions.

    Args:
        channels: C.
        shared_norm: the first and the last convolution share one BatchNorm, as the published weights do. In training
            each is then normalised by its own batch, in use both by one running mean and variance of the two together,
            which fit neither: a student trained so may see nothing once it is deployed. Only for those weights.

    Source: MonoTAKD (Liu et al., CVPR 2025), the Feature Fusion Module (two convolutions there, three in the
    released code).
    """

    def __init__(self, channels: int, shared_norm: bool = False) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.reduce = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.expand_norm = nn.BatchNorm2d(2 * channels)
        self.reduce_norm = None if shared_norm else nn.BatchNorm2d(channels)

    @torch.no_grad()
    def pass_through(self) -> None:
        """Let the sum of both maps through, channel by channel, still able to learn.

        In use the identity of sums that are not negative, until the norms' statistics move; in training the norms
        scale and shift each channel. The second half of the expansion keeps its weights, unread at first.
        """
        channels = self.mix.out_channels
        nn.init.dirac_(self.mix.weight)
        nn.init.dirac_(self.reduce.weight)
        nn.init.dirac_(self.expand.weight[:channels])
        for conv in (self.mix, self.expand, self.reduce):
            nn.init.zeros_(conv.bias)

    def forward(self, visual: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        mixed = F.relu(self.norm(self.mix(visual + residual)), inplace=True)
        expanded = F.relu(self.expand_norm(self.expand(mixed)), inplace=True)
        reduce_norm = self.norm if self.reduce_norm is None else self.reduce_norm
        return F.relu(reduce_norm(self.reduce(expanded)), inplace=True)
