"""Anchor head: class, box and direction maps; anchors; the residual box coder; from maps to boxes.

Anchors are flattened as (y, x, class, rotation); every anchor has a logit for every class. Boxes are
(x, y, z, dx, dy, dz, heading), geometric centre, lidar frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from monotakd_ros.config import HeadConfig, PostprocessConfig
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.geometry.rotated_iou import nms_bev
from monotakd_ros.network.detection_output import DetectionOutput

BOX_CODE = 7
DIRECTION_BINS = 2
PRIOR_PROBABILITY = 0.01
MIN_SIZE_M = 1e-5


@dataclass(frozen=True, eq=False)
class DecodedBoxes:
    """Boxes of one frame, best score first.

    Attributes:
        boxes: (N, 7) float32, lidar.
        scores: (N,) float32 in 0..1.
        labels: (N,) int64 class index.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.scores)


def make_anchors(config: HeadConfig, grid: VoxelGrid) -> torch.Tensor:
    """Anchors (Y, X, num_classes, num_rotations, 7) float32, lidar."""
    columns, rows, _ = grid.shape_xyz
    x = _anchor_positions(grid.range_m[0], grid.range_m[3], columns, config.placement)
    y = _anchor_positions(grid.range_m[1], grid.range_m[4], rows, config.placement)
    anchors = torch.zeros((rows, columns, len(config.anchors), len(config.rotations), BOX_CODE), dtype=torch.float64)
    anchors[..., 0] = x[None, :, None, None]
    anchors[..., 1] = y[:, None, None, None]
    for index, anchor in enumerate(config.anchors):
        anchors[:, :, index, :, 2] = anchor.bottom_z_m + 0.5 * anchor.size_m[2]
        anchors[:, :, index, :, 3:6] = torch.tensor(anchor.size_m, dtype=torch.float64)
    anchors[..., 6] = torch.tensor(config.rotations, dtype=torch.float64)
    return anchors.float()


def _anchor_positions(low: float, high: float, count: int, placement: str) -> torch.Tensor:
    if placement == "stretched":
        return torch.linspace(low, high, count, dtype=torch.float64)
    return low + (torch.arange(count, dtype=torch.float64) + 0.5) * (high - low) / count


def encode_boxes(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Codes (..., 7) of boxes (..., 7) relative to anchors (..., 7): the inverse of `decode_boxes`.

    Source: SECOND (Yan et al., Sensors 2018), sec. 3.2.1.
    """
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])[..., None]
    return torch.cat(
        [
            (boxes[..., 0:2] - anchors[..., 0:2]) / diagonal,
            (boxes[..., 2:3] - anchors[..., 2:3]) / anchors[..., 5:6],
            torch.log(boxes[..., 3:6].clamp(min=MIN_SIZE_M) / anchors[..., 3:6]),
            boxes[..., 6:7] - anchors[..., 6:7],
        ],
        dim=-1,
    )


def decode_boxes(codes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Boxes (..., 7) from codes (..., 7) and anchors (..., 7); the heading is known up to half a turn."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])[..., None]
    return torch.cat(
        [
            codes[..., 0:2] * diagonal + anchors[..., 0:2],
            codes[..., 2:3] * anchors[..., 5:6] + anchors[..., 2:3],
            torch.exp(codes[..., 3:6]) * anchors[..., 3:6],
            codes[..., 6:7] + anchors[..., 6:7],
        ],
        dim=-1,
    )


def direction_bins(headings: torch.Tensor, offset: float) -> torch.Tensor:
    """The direction bin (...,) int64 of box headings (...,) rad: 0 within half a turn above the offset, else 1."""
    turn = torch.remainder(headings - offset, 2 * math.pi)
    return (turn >= math.pi).long()


class AnchorHead(nn.Module):
    """BEV feature (B, C, Y, X) -> class logits (B, A, K), box codes (B, A, 7), direction logits (B, A, 2).

    Attributes:
        anchors: (A, 7) float32, lidar.
        anchor_class: (A,) int64 class index that an anchor's size belongs to.
    """

    def __init__(self, in_channels: int, config: HeadConfig, postprocess: PostprocessConfig, grid: VoxelGrid) -> None:
        super().__init__()
        self.postprocess = postprocess
        self.num_classes = len(config.anchors)
        self.direction_offset = config.direction_offset
        per_cell = self.num_classes * len(config.rotations)
        self.conv_cls = nn.Conv2d(in_channels, per_cell * self.num_classes, 1)
        self.conv_box = nn.Conv2d(in_channels, per_cell * BOX_CODE, 1)
        self.conv_dir_cls = nn.Conv2d(in_channels, per_cell * DIRECTION_BINS, 1)
        nn.init.constant_(self.conv_cls.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
        nn.init.normal_(self.conv_box.weight, std=0.001)
        anchors = make_anchors(config, grid)
        classes = torch.arange(self.num_classes)[:, None].expand(anchors.shape[:-1])
        self.register_buffer("anchors", anchors.reshape(-1, BOX_CODE), persistent=False)
        self.register_buffer("anchor_class", classes.reshape(-1).clone(), persistent=False)

    def forward(self, bev: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return (
            _per_anchor(self.conv_cls(bev), self.num_classes),
            _per_anchor(self.conv_box(bev), BOX_CODE),
            _per_anchor(self.conv_dir_cls(bev), DIRECTION_BINS),
        )

    def decode_batch(self, output: DetectionOutput) -> list[DecodedBoxes]:
        """Boxes of each frame of a batch, best score first; see `decode`."""
        return [self.decode(*maps) for maps in zip(output.cls_logits, output.box_codes, output.dir_logits)]

    @torch.no_grad()
    def decode(self, cls_logits: torch.Tensor, box_codes: torch.Tensor, dir_logits: torch.Tensor) -> DecodedBoxes:
        """Boxes of one frame from its (A, K), (A, 7) and (A, 2) maps.

        An anchor's score is its best class' probability. Anchors under the score threshold go, the best
        `pre_nms_max` are decoded, and class-agnostic rotated NMS keeps at most `max_boxes`. A
        box that is not finite goes too.
        """
        settings = self.postprocess
        best_logit, labels = cls_logits.float().max(dim=1)
        scores = torch.sigmoid(best_logit)
        candidates = torch.nonzero(scores >= settings.score_threshold).flatten()
        order = torch.argsort(scores[candidates], descending=True, stable=True)
        chosen = candidates[order[: settings.pre_nms_max]]
        boxes = self.decode_at(chosen, box_codes, dir_logits)
        finite = torch.isfinite(boxes).all(dim=1)
        boxes, chosen = boxes[finite], chosen[finite]
        kept = nms_bev(boxes, scores[chosen], settings.nms_iou, settings.max_boxes)
        return DecodedBoxes(boxes[kept], scores[chosen[kept]], labels[chosen[kept]])

    def decode_at(self, chosen: torch.Tensor, box_codes: torch.Tensor, dir_logits: torch.Tensor) -> torch.Tensor:
        """Boxes (N, 7) of the anchors `chosen` (N,) int64, heading resolved by the direction bin."""
        boxes = decode_boxes(box_codes[chosen].float(), self.anchors[chosen])
        bins = dir_logits[chosen].float().argmax(dim=1)
        within_half_turn = torch.remainder(boxes[:, 6] - self.direction_offset, math.pi)
        heading = within_half_turn + self.direction_offset + math.pi * bins
        return torch.cat([boxes[:, :6], heading[:, None]], dim=1)


def _per_anchor(maps: torch.Tensor, code: int) -> torch.Tensor:
    """(B, anchors_per_cell * code, Y, X) -> (B, A, code)."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, code)
