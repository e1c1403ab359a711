"""Depth targets: the LiDAR points of a frame as one depth bin per cell of the depth map.

A cell takes its nearest point, because what is nearest hides the rest. Cells without a point have no target.
Cells inside the image region of a labelled box count as foreground (CaDDN, Reading et al., CVPR 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.network.measured_depth import CellLayout, nearest_depth

NEAR_M = 0.1


@dataclass(frozen=True, eq=False)
class DepthTargets:
    """Cells of the depth maps that have a target.

    Attributes:
        sample: (M,) int64 index of the frame in the batch.
        cell: (M,) int64 index into the flattened (Hf, Wf) map.
        bin: (M,) int64 depth bin; D means out of range.
        foreground: (M,) bool, inside the image region of a labelled box.
    """

    sample: torch.Tensor
    cell: torch.Tensor
    bin: torch.Tensor
    foreground: torch.Tensor

    def to(self, device: torch.device | str) -> DepthTargets:
        """The same targets with every tensor on `device`."""
        return DepthTargets(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


def image_regions(boxes_lidar: np.ndarray, img_P_cam: np.ndarray, cam_T_lidar: np.ndarray) -> np.ndarray:
    """Regions (N, 4) left, top, right, bottom px around the projected boxes (N, 7); NaN for a box behind the camera.

    Corners behind the camera are pulled to 0.1 m before it, which makes the region of a box beside the camera too
    large rather than too small.
    """
    corners = corners_from_boxes(boxes_lidar)
    corners_cam = corners @ cam_T_lidar[:3, :3].T.astype(np.float64) + cam_T_lidar[:3, 3]
    behind = (corners_cam[..., 2] < NEAR_M).all(axis=1)
    corners_cam[..., 2] = np.maximum(corners_cam[..., 2], NEAR_M)
    projected = corners_cam @ img_P_cam[:, :3].T.astype(np.float64) + img_P_cam[:, 3]
    uv_px = projected[..., :2] / np.maximum(projected[..., 2:], 1e-3)
    regions = np.concatenate([uv_px.min(axis=1), uv_px.max(axis=1)], axis=1)
    regions[behind] = np.nan
    return regions


def foreground_mask(regions_px: np.ndarray, cells_of_map: CellLayout) -> torch.Tensor:
    """(Hf, Wf) bool: cells that a region (N, 4) px touches."""
    height, width = cells_of_map.height, cells_of_map.width
    mask = np.zeros((height, width), dtype=bool)
    cells = cells_of_map.cell_of(regions_px[np.isfinite(regions_px).all(axis=1)])
    limit = np.array([width, height, width, height])
    for left, top, right, bottom in np.clip(cells, -1, limit).astype(np.int64):
        mask[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
    return torch.from_numpy(mask)


def depth_targets(batch: FrameBatch, bins: DepthBins, cells_of_map: CellLayout) -> DepthTargets:
    """Depth targets of a batch on the CPU; frames without points have none.

    Args:
        batch: with `points_img` and, where labelled, `boxes_lidar`.
        bins: the head's depth bins.
        cells_of_map: where the cells of the depth map lie.
    """
    depth = torch.stack([nearest_depth(points, cells_of_map) for points in batch.points_img])
    foreground = _foreground(batch, cells_of_map)
    sample, row, column = torch.nonzero(torch.isfinite(depth), as_tuple=True)
    return DepthTargets(
        sample=sample,
        cell=row * cells_of_map.width + column,
        bin=bins.bin_index(depth[sample, row, column]),
        foreground=foreground[sample, row, column],
    )


def _foreground(batch: FrameBatch, cells_of_map: CellLayout) -> torch.Tensor:
    """(B, Hf, Wf) bool: cells inside the image region of a labelled box."""
    if batch.boxes_lidar is None:
        return torch.zeros((len(batch.names), cells_of_map.height, cells_of_map.width), dtype=torch.bool)
    masks = []
    for boxes, projection, extrinsic in zip(batch.boxes_lidar, batch.img_P_cam, batch.cam_T_lidar):
        regions = image_regions(boxes.numpy(), projection.numpy(), extrinsic.numpy())
        masks.append(foreground_mask(regions, cells_of_map))
    return torch.stack(masks)
