"""Overlap of rotated boxes and non-maximum suppression, in plain torch (CPU and CUDA).

The overlap of two rectangles needs no polygon: by Green's theorem the area of box b inside the axis-aligned
box a is the sum, over b's four edges, of the integral of clamp(y, -h, h) dx on the part of the edge within a's
x range. This has no case distinction, so touching, identical and degenerate boxes are as safe as others in
float32. Boxes are (x, y, z, dx, dy, dz, heading).
"""

from __future__ import annotations

import numpy as np
import torch

PAIRS_PER_CHUNK = 1 << 18
CELLS_PER_CHUNK = 1 << 22
NMS_BLOCK = 64
MIN_UNION = 1e-8


def overlap_bev(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Overlap seen from above.

    Args:
        a: (N, 7) boxes.
        b: (M, 7) boxes of the same frame, dtype and device.

    Returns:
        (N, M) area, m^2.
    """
    overlap = a.new_zeros((len(a), len(b)))
    rows_per_chunk = max(1, CELLS_PER_CHUNK // max(1, len(b)))
    for start in range(0, len(a), rows_per_chunk):
        rows, columns = torch.nonzero(_circles_meet(a[start : start + rows_per_chunk], b), as_tuple=True)
        rows = rows + start
        for pairs in torch.arange(len(rows), device=a.device).split(PAIRS_PER_CHUNK):
            row, column = rows[pairs], columns[pairs]
            overlap[row, column] = _overlap_of_pairs(a[row], b[column])
    return overlap


def iou_bev(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union seen from above, (N, M) in 0..1, of boxes (N, 7) and (M, 7)."""
    return _ratio(overlap_bev(a, b), a[:, 3] * a[:, 4], b[:, 3] * b[:, 4])


def iou_3d(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of volumes, (N, M) in 0..1, of boxes (N, 7) and (M, 7)."""
    top = torch.minimum((a[:, 2] + 0.5 * a[:, 5])[:, None], (b[:, 2] + 0.5 * b[:, 5])[None])
    bottom = torch.maximum((a[:, 2] - 0.5 * a[:, 5])[:, None], (b[:, 2] - 0.5 * b[:, 5])[None])
    overlap = overlap_bev(a, b) * (top - bottom).clamp(min=0)
    return _ratio(overlap, a[:, 3:6].prod(dim=1), b[:, 3:6].prod(dim=1))


def nms_bev(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, max_keep: int) -> torch.Tensor:
    """Greedy non-maximum suppression seen from above.

    Works through the boxes in blocks of falling score: each block is settled in itself, then its survivors
    suppress all that follow. This equals the box-by-box rule, and far pairs are never looked at twice.

    Args:
        boxes: (N, 7).
        scores: (N,); equal scores keep their order.
        iou_threshold: a box goes when its BEV IoU with a kept one is greater.
        max_keep: stop after this many.

    Returns:
        (K,) int64 indices of the kept boxes, best first.
    """
    waiting = torch.argsort(scores, descending=True, stable=True)
    kept: list[torch.Tensor] = []
    count = 0
    while len(waiting) and count < max_keep:
        block, waiting = waiting[:NMS_BLOCK], waiting[NMS_BLOCK:]
        survivors = block[_settle_block(iou_bev(boxes[block], boxes[block]) > iou_threshold)]
        kept.append(survivors)
        count += len(survivors)
        if len(waiting):
            suppressed = (iou_bev(boxes[survivors], boxes[waiting]) > iou_threshold).any(dim=0)
            waiting = waiting[~suppressed]
    return torch.cat(kept)[:max_keep] if kept else waiting


def _settle_block(overlaps: torch.Tensor) -> torch.Tensor:
    """(n,) bool: the greedy choice within a block, from its (n, n) bool "overlaps too much", best box first."""
    rows = overlaps.cpu().numpy()
    alive = np.ones(len(rows), dtype=bool)
    for index in range(len(rows)):
        if alive[index]:
            alive[index + 1 :] &= ~rows[index, index + 1 :]
    return torch.from_numpy(alive).to(overlaps.device)


def _ratio(overlap: torch.Tensor, size_a: torch.Tensor, size_b: torch.Tensor) -> torch.Tensor:
    union = size_a[:, None] + size_b[None] - overlap
    return (overlap / union.clamp(min=MIN_UNION)).clamp(max=1.0)


def _circles_meet(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N, M) bool: whether the circles around the boxes meet; all other pairs have no overlap."""
    reach = 0.5 * (torch.hypot(a[:, 3], a[:, 4])[:, None] + torch.hypot(b[:, 3], b[:, 4])[None])
    x, y = a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]
    return x * x + y * y < reach * reach


def _overlap_of_pairs(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(P,) overlap area of the pairs a (P, 7), b (P, 7)."""
    x0, y0 = _corners_in_frame_of(a, b)
    half_x, half_y = 0.5 * a[:, 3:4], 0.5 * a[:, 4:5]
    x1, y1 = x0.roll(-1, dims=1), y0.roll(-1, dims=1)
    entry, exit_ = x0.clamp(-half_x, half_x), x1.clamp(-half_x, half_x)
    y_entry = y0 + _share(entry - x0, x1 - x0) * (y1 - y0)
    y_exit = y0 + _share(exit_ - x0, x1 - x0) * (y1 - y0)
    area = ((exit_ - entry) * _mean_clamped(y_entry, y_exit, half_y)).sum(dim=1)
    return area.abs()


def _corners_in_frame_of(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y (P, 4) of b's corners, in order around it, with a's centre as origin and a's heading as x."""
    signs = b.new_tensor([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    along, across = b[:, 3:4] * signs[:, 0], b[:, 4:5] * signs[:, 1]
    turn = b[:, 6:7] - a[:, 6:7]
    cos_a, sin_a = torch.cos(a[:, 6:7]), torch.sin(a[:, 6:7])
    offset_x, offset_y = b[:, 0:1] - a[:, 0:1], b[:, 1:2] - a[:, 1:2]
    x = along * torch.cos(turn) - across * torch.sin(turn) + offset_x * cos_a + offset_y * sin_a
    y = along * torch.sin(turn) + across * torch.cos(turn) - offset_x * sin_a + offset_y * cos_a
    return x, y


def _share(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """part / whole in 0..1; 0 where whole is 0 (an edge of no extent contributes nothing anyway)."""
    return (part / torch.where(whole == 0, torch.ones_like(whole), whole)).clamp(0, 1)


def _mean_clamped(start: torch.Tensor, end: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Mean of clamp(y, -limit, limit) while y runs linearly from start to end."""
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    length = high - low
    below, above = _share((-limit - low).clamp(min=0), length), _share((high - limit).clamp(min=0), length)
    middle = 0.5 * (low.clamp(-limit, limit) + high.clamp(-limit, limit))
    sloped = limit * (above - below) + middle * (1 - above - below)
    return torch.where(length > 0, sloped, middle)
