"""LiDAR depth on the feature map: what the assistant lifts with, and where the student's depth loss gets its targets.

A cloud is projected to the network image (`FrameBatch.points_img`); every cell of the feature map takes one depth of
the points that fall into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from monotakd_ros.config import CellDepth, Sampling
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.network.image_encoder import FEATURE_STRIDE

OFFICIAL_FIRST_PX = 3.5
"""Centre of the first cell as `official` sampling reads it; `exact` reads cell i at pixel 8 i."""


@dataclass(frozen=True)
class CellLayout:
    """Where the cells of the feature map lie in the image: cell i is centred on pixel `stride_px` i + `first_px`."""

    height: int
    width: int
    stride_px: float
    first_px: float

    def cell_of(self, pixel: np.ndarray | torch.Tensor):
        """Cell coordinate, whole but of the input's type, of pixel coordinates (any shape); may lie outside."""
        return (pixel - self.first_px + 0.5 * self.stride_px) // self.stride_px


def cell_layout(image_size: Sequence[int], sampling: Sampling) -> CellLayout:
    """The cells of an image of (height, width) px, as the lift with this sampling reads them."""
    height, width = (-(-size // FEATURE_STRIDE) for size in image_size)
    return CellLayout(height, width, FEATURE_STRIDE, 0.0 if sampling == "exact" else OFFICIAL_FIRST_PX)


def nearest_depth(points_img: torch.Tensor, layout: CellLayout) -> torch.Tensor:
    """Depth (Hf, Wf) float32, m, of the nearest point in each cell; infinite where there is none.

    Args:
        points_img: (M, 3) float32 u px, v px, depth m; points outside the map or not in front do not count.
        layout: where the cells lie.
    """
    cells, depths = _points_on_map(points_img, layout)
    depth = depths.new_full((layout.height * layout.width,), torch.inf)
    depth.scatter_reduce_(0, cells, depths, reduce="amin")
    return depth.view(layout.height, layout.width)


def mean_depth(points_img: torch.Tensor, layout: CellLayout) -> torch.Tensor:
    """Mean depth (Hf, Wf) float32, m, of the points in each cell; infinite where there is none. See `nearest_depth`."""
    cells, depths = _points_on_map(points_img, layout)
    size = layout.height * layout.width
    count = torch.bincount(cells, minlength=size)
    total = depths.new_zeros(size).index_add_(0, cells, depths)
    return torch.where(count > 0, total / count, torch.inf).view(layout.height, layout.width)


def _points_on_map(points_img: torch.Tensor, layout: CellLayout) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat cell index (K,) int64 and depth (K,) of the points that count."""
    cells = layout.cell_of(points_img[:, :2])
    inside = (cells >= 0).all(dim=1) & (cells[:, 0] < layout.width) & (cells[:, 1] < layout.height)
    inside &= points_img[:, 2] > 0
    column, row = cells[inside].long().unbind(dim=1)
    return row * layout.width + column, points_img[inside, 2]


CELL_DEPTHS = {"nearest": nearest_depth, "mean": mean_depth}


def measured_distribution(
    points_img: Sequence[torch.Tensor], layout: CellLayout, bins: DepthBins, cell_depth: CellDepth
) -> torch.Tensor:
    """Depth distribution (B, D + 1, Hf, Wf) float32 of B clouds: one at the measured bin, zero elsewhere.

    Cells without a point, or with a depth out of range, have their one in class D, which is not lifted.

    Args:
        points_img: per frame (M, 3) float32 u px, v px, depth m.
        layout: where the cells lie.
        bins: D depth bins.
        cell_depth: which depth a cell with several points takes.
    """
    depth = torch.stack([CELL_DEPTHS[cell_depth](points, layout) for points in points_img])
    return F.one_hot(bins.bin_index(depth), bins.num_bins + 1).permute(0, 3, 1, 2).float()
