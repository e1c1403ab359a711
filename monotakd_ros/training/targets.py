"""Anchor targets: which anchor answers for which labelled box.

Per class, as OpenPCDet's AxisAlignedTargetAssigner: overlap is the BEV IoU of the boxes turned to the nearest axis; an
anchor at or above `matched_iou` is positive, one below `unmatched_iou` is background, between them it counts for
nothing, and every box gets its best anchor. Boxes with label -1 (neighbour classes) and boxes centred outside the
grid make their anchors count for nothing. Runs on the CPU, on windows of the anchor grid around each box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monotakd_ros.config import StudentConfig
from monotakd_ros.data.preprocess import IGNORE_LABEL
from monotakd_ros.network.anchor_head import direction_bins, encode_boxes


@dataclass(frozen=True, eq=False)
class AnchorMatch:
    """Matching of one frame's anchors.

    Attributes:
        counted: (A,) bool, positives and background; False where the anchor counts for nothing.
        positive: (P,) int64 anchor index.
        matched_box: (P,) int64 index of the box each positive answers for.
    """

    counted: np.ndarray
    positive: np.ndarray
    matched_box: np.ndarray


@dataclass(frozen=True, eq=False)
class AnchorTargets:
    """What the anchor head should say for a batch; positives are listed, not spread over all anchors.

    Attributes:
        counted: (B, A) bool, anchors that enter the class loss.
        sample: (P,) int64 index of the frame in the batch.
        anchor: (P,) int64 anchor index.
        label: (P,) int64 class index.
        box_codes: (P, 7) float32 residual codes.
        direction: (P,) int64 direction bin, 0 or 1.
        weight: (P,) float32, how much each positive counts; None where each counts 1.
    """

    counted: torch.Tensor
    sample: torch.Tensor
    anchor: torch.Tensor
    label: torch.Tensor
    box_codes: torch.Tensor
    direction: torch.Tensor
    weight: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> AnchorTargets:
        """The same targets with every tensor on `device`."""
        tensors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return AnchorTargets(
            **{name: item if item is None else item.to(device, non_blocking=True) for name, item in tensors.items()}
        )

    def of_frames(self, frames: torch.Tensor) -> AnchorTargets:
        """The targets of the frames (G,) int64 of the batch as those of a batch of G frames."""
        position = torch.full((len(self.counted),), -1, dtype=torch.int64, device=frames.device)
        position[frames] = torch.arange(len(frames), device=frames.device)
        kept = position[self.sample] >= 0
        return AnchorTargets(
            counted=self.counted[frames],
            sample=position[self.sample[kept]],
            weight=None if self.weight is None else self.weight[kept],
            **{name: getattr(self, name)[kept] for name in ("anchor", "label", "box_codes", "direction")},
        )


def nearest_axis_extents(boxes: np.ndarray) -> np.ndarray:
    """(N, 2) extents along x and y of boxes (N, 7) after turning each heading to the nearest axis."""
    across = np.abs((boxes[:, 6] + np.pi / 2) % np.pi - np.pi / 2) > np.pi / 4
    return np.where(across[:, None], boxes[:, [4, 3]], boxes[:, [3, 4]])


class AnchorAssigner:
    """Matches boxes to the anchors of one head.

    Args:
        anchors: (A, 7) flattened as (y, x, class, rotation), lidar.
        config: gives grid, classes, thresholds and rotations.
    """

    def __init__(self, anchors: torch.Tensor, config: StudentConfig) -> None:
        self.anchors = anchors.detach().cpu().float()
        self._classes = config.head.anchors
        self._grid = config.grid.build()
        self._direction_offset = config.head.direction_offset
        rotations = len(config.head.rotations)
        cells = self.anchors.double().numpy().reshape(-1, len(self._classes), rotations, 7)
        per_row = int(np.count_nonzero(cells[:, 0, 0, 1] == cells[0, 0, 0, 1]))
        assert len(cells) % per_row == 0, "anchors do not lie on a grid"
        cells = cells.reshape(-1, per_row, len(self._classes), rotations, 7)
        self._shape = cells.shape[:4]
        self._x, self._y = cells[0, :, 0, 0, 0], cells[:, 0, 0, 0, 1]
        extents = nearest_axis_extents(cells[0, 0].reshape(-1, 7))
        self._extents = extents.reshape(len(self._classes), rotations, 2)

    def match(self, boxes_lidar: np.ndarray, labels: np.ndarray) -> AnchorMatch:
        """Match one frame's boxes (N, 7), labels (N,) class index or -1."""
        boxes = np.asarray(boxes_lidar, dtype=np.float64).reshape(-1, 7)
        inside = self._grid.contains_xy(torch.from_numpy(boxes)).numpy()
        usable = inside & (labels >= 0)
        extents = nearest_axis_extents(boxes)
        counted = np.ones(self._shape, dtype=bool)
        owner = np.full(self._shape, -1, dtype=np.int64)
        for class_index in range(len(self._classes)):
            own = np.flatnonzero(usable & (labels == class_index))
            ignored = np.flatnonzero((labels == IGNORE_LABEL) | ((labels == class_index) & ~inside))
            self._match_class(class_index, boxes, extents, own, ignored, counted, owner)
        positive = np.flatnonzero(owner.reshape(-1) >= 0)
        return AnchorMatch(counted.reshape(-1), positive, owner.reshape(-1)[positive])

    def _match_class(
        self,
        class_index: int,
        boxes: np.ndarray,
        extents: np.ndarray,
        own: np.ndarray,
        ignored: np.ndarray,
        counted: np.ndarray,
        owner: np.ndarray,
    ) -> None:
        """Write one class's matches into `counted` and `owner`, both (Y, X, classes, rotations)."""
        settings = self._classes[class_index]
        best = np.zeros((*self._shape[:2], self._shape[3]))
        windows = {}
        class_owner = owner[:, :, class_index]
        class_counted = counted[:, :, class_index]
        for box in own:
            window, iou = self._window_iou(class_index, boxes[box], extents[box])
            better = iou > best[window]
            best[window] = np.where(better, iou, best[window])
            class_owner[window] = np.where(better, box, class_owner[window])
            windows[box] = (window, iou)
        class_counted[best >= settings.unmatched_iou] = False
        class_owner[best < max(settings.matched_iou, 1e-9)] = -1
        for box in ignored:
            window, iou = self._window_iou(class_index, boxes[box], extents[box])
            class_counted[window] &= iou < max(settings.unmatched_iou, 1e-9)
        self._claim_best(windows, class_owner)
        class_counted[class_owner >= 0] = True

    def _window_iou(
        self, class_index: int, box: np.ndarray, extent: np.ndarray
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """Window of the grid that a box touches, and the IoU (y, x, rotations) of the anchors in it."""
        sizes = self._extents[class_index]
        reach = 0.5 * (extent + sizes.max(axis=0))
        columns = slice(*np.searchsorted(self._x, [box[0] - reach[0], box[0] + reach[0]]))
        rows = slice(*np.searchsorted(self._y, [box[1] - reach[1], box[1] + reach[1]]))
        along_x = _overlap(self._x[columns, None], sizes[:, 0], box[0], extent[0])
        along_y = _overlap(self._y[rows, None], sizes[:, 1], box[1], extent[1])
        common = along_y[:, None] * along_x[None]
        union = np.prod(sizes, axis=1) + extent[0] * extent[1] - common
        return (rows, columns), common / np.maximum(union, 1e-9)

    @staticmethod
    def _claim_best(windows: dict[int, tuple[tuple[slice, slice], np.ndarray]], class_owner: np.ndarray) -> None:
        """Give every box the best anchor that no better-fitting box has claimed; a box touching none gets none."""
        claimed = np.zeros(class_owner.shape, dtype=bool)
        order = sorted(windows, key=lambda box: -float(windows[box][1].max(initial=0.0)))
        for box in order:
            window, iou = windows[box]
            free = np.where(claimed[window], 0.0, iou)
            if free.max(initial=0.0) <= 0:
                continue
            best = np.unravel_index(int(free.argmax()), free.shape)
            class_owner[window][best] = box
            claimed[window][best] = True

    def targets(
        self,
        boxes_lidar: Sequence[torch.Tensor],
        labels: Sequence[torch.Tensor],
        weights: Sequence[torch.Tensor] | None = None,
    ) -> AnchorTargets:
        """Targets of a batch.

        Args:
            boxes_lidar: per frame (N, 7) float32, on the CPU.
            labels: per frame (N,) int64 class index, -1 to ignore, on the CPU.
            weights: per frame (N,) float32, how much the positives of each box count; None where all count 1.
        """
        matches = [self.match(boxes.numpy(), label.numpy()) for boxes, label in zip(boxes_lidar, labels)]
        counts = torch.tensor([len(match.positive) for match in matches], dtype=torch.int64)
        anchor = torch.from_numpy(np.concatenate([match.positive for match in matches]))
        pairs = [torch.from_numpy(match.matched_box) for match in matches]
        boxes = torch.cat([frame[index] for frame, index in zip(boxes_lidar, pairs)]).float()
        return AnchorTargets(
            counted=torch.from_numpy(np.stack([match.counted for match in matches])),
            sample=torch.repeat_interleave(torch.arange(len(matches)), counts),
            anchor=anchor,
            label=torch.cat([frame[index] for frame, index in zip(labels, pairs)]),
            box_codes=encode_boxes(boxes, self.anchors[anchor]),
            direction=direction_bins(boxes[:, 6], self._direction_offset),
            weight=None if weights is None else torch.cat([frame[index] for frame, index in zip(weights, pairs)]),
        )


def _overlap(centers: np.ndarray, sizes: np.ndarray, center: float, size: float) -> np.ndarray:
    """Common length of intervals `sizes` around `centers` with the one of `size` around `center`, m; 0 where apart."""
    low = np.maximum(centers - 0.5 * sizes, center - 0.5 * size)
    high = np.minimum(centers + 0.5 * sizes, center + 0.5 * size)
    return np.maximum(high - low, 0.0)
