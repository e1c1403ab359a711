"""The residual branch: from the student's voxels to the BEV map that learns what only LiDAR shows."""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.network.height_collapse import HeightCollapse
from monotakd_ros.network.spatial_alignment import SpatialAlignmentModule


class ResidualBranch(nn.Module):
    """Voxels (B, C, Z, Y, X) -> residual BEV map (B, out, Y, X): a height collapse of its own, then the SAM.

    Args:
        channels: C.
        heights: Z.
        bev_channels: out.
        assistant_branch: also carry the released code's assistant, whose voxels are lifted with measured depth and
            which shares the SAM.

    Source: MonoTAKD (Liu et al., CVPR 2025), cross-modal residual distillation.
    """

    def __init__(self, channels: int, heights: int, bev_channels: int, assistant_branch: bool) -> None:
        super().__init__()
        self.collapse = HeightCollapse(channels, heights, bev_channels)
        self.alignment = SpatialAlignmentModule(bev_channels)
        self.assistant_collapse = HeightCollapse(channels, heights, bev_channels) if assistant_branch else None

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        return self.alignment(self.collapse(voxels))

    def assistant(self, measured_voxels: torch.Tensor) -> torch.Tensor:
        """The released code's F^A (B, out, Y, X) of the student's image feature lifted with measured depth."""
        assert self.assistant_collapse is not None, "this residual branch was built without its assistant"
        return self.alignment(self.assistant_collapse(measured_voxels))
