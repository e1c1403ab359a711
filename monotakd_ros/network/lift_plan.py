"""Which feature cells each voxel reads and with which weights, for one calibration; see `view_transform`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch

from monotakd_ros.network.weighted_sum import RowSums, offsets_of


@dataclass(frozen=True, eq=False)
class LiftPlan(RowSums):
    """Which feature cells each voxel reads: sums over the rows v * Wf + u of a feature, one per voxel.

    A voxel outside the frustum owns no entry. Of a batch (`batch_plan`) it is the block-diagonal matrix of the frames'
    plans.

    Attributes:
        bins: (K,) int32 index of the nearer of two neighbouring depth bins in the (Hf * Wf, D + 1) distribution.
        near_weight, far_weight: (K,) float32 bilinear weight x share of the nearer and the farther bin.
        num_depths: D + 1.
        frames: of a batch, the frames' own plans.
    """

    bins: torch.Tensor
    near_weight: torch.Tensor
    far_weight: torch.Tensor
    num_depths: int
    frames: tuple[LiftPlan, ...] = ()

    @property
    def num_voxels(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """What it takes, with what is derived from it once a gradient was asked for."""
        parts = (self.cells, self.offsets, self.bins, self.near_weight, self.far_weight)
        per_entry = 2 * self.cells.element_size()  # sum_of_entry, entries_by_cell
        return sum(part.nbytes for part in parts) + per_entry * len(self.cells) + 4 * (self.num_cells + 1)

    @cached_property
    def sum_of_entry(self) -> torch.Tensor:
        if self.frames:
            return _joined([plan.sum_of_entry for plan in self.frames], [plan.num_voxels for plan in self.frames])
        return super().sum_of_entry

    @cached_property
    def entries_by_cell(self) -> torch.Tensor:
        if self.frames:
            return _joined([plan.entries_by_cell for plan in self.frames], [len(plan.cells) for plan in self.frames])
        return super().entries_by_cell

    @cached_property
    def cell_offsets(self) -> torch.Tensor:
        if self.frames:
            return _joined_offsets([plan.cell_offsets for plan in self.frames], self.frames)
        return super().cell_offsets


def _joined(parts: Sequence[torch.Tensor], sizes: Sequence[int]) -> torch.Tensor:
    """Index tensors one after the other, each counted on from the sum of the `sizes` before it."""
    starts = accumulate(sizes, initial=0)
    return torch.cat([part + start for part, start in zip(parts, starts)])


def _joined_offsets(parts: Sequence[torch.Tensor], plans: Sequence[LiftPlan]) -> torch.Tensor:
    """Offsets (n + 1,) into the plans' entries one after the other: every part's last is the next one's first."""
    return torch.cat([parts[0][:1], _joined([part[1:] for part in parts], [len(plan.cells) for plan in plans])])


def batch_plan(plans: Sequence[LiftPlan]) -> LiftPlan:
    """The plan of a batch, over features (B * Hf * Wf, C) and a distribution (B * Hf * Wf * (D + 1),)."""
    if len(plans) == 1:
        return plans[0]
    cells = [plan.num_cells for plan in plans]
    return LiftPlan(
        cells=_joined([plan.cells for plan in plans], cells),
        offsets=_joined_offsets([plan.offsets for plan in plans], plans),
        bins=_joined([plan.bins for plan in plans], [plan.num_cells * plan.num_depths for plan in plans]),
        near_weight=torch.cat([plan.near_weight for plan in plans]),
        far_weight=torch.cat([plan.far_weight for plan in plans]),
        num_cells=sum(cells),
        num_depths=plans[0].num_depths,
        frames=tuple(plans),
    )


def make_plan(coordinates: torch.Tensor, shape: tuple[int, int, int]) -> LiftPlan:
    """Plan for sampling at continuous indices.

    Args:
        coordinates: (V, 3) float64 u, v, bin in units of cells and bins, whole numbers at their centres; a row that
            is not finite lies outside.
        shape: (D, Hf, Wf). A corner outside counts as zero.
    """
    num_bins, height, width = shape
    sizes = coordinates.new_tensor([width, height, num_bins])
    voxels = torch.nonzero(((coordinates > -1) & (coordinates < sizes)).all(dim=1)).flatten()
    u, v, depth = coordinates[voxels].unbind(dim=1)
    cells, weights, used = _corners(u, v, height, width)
    near, near_share, far_share = _bin_pair(depth, num_bins)
    bins = cells * (num_bins + 1) + near[:, None]
    counts = torch.zeros(len(coordinates), dtype=torch.int64, device=coordinates.device)
    counts[voxels] = used.sum(dim=1)
    return LiftPlan(
        cells=cells[used].int(),
        offsets=offsets_of(counts),
        bins=bins[used].int(),
        near_weight=(weights * near_share[:, None])[used].float(),
        far_weight=(weights * far_share[:, None])[used].float(),
        num_cells=height * width,
        num_depths=num_bins + 1,
    )


def _corners(
    u: torch.Tensor, v: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The four cells around each (u, v), their bilinear weights, and which of them count, (V, 4) each."""
    corner_u, share_u = _neighbours(u)
    corner_v, share_v = _neighbours(v)
    on_map_u, on_map_v = (corner_u >= 0) & (corner_u < width), (corner_v >= 0) & (corner_v < height)
    cells = (corner_v[:, :, None] * width + corner_u[:, None, :]).flatten(1)
    weights = (share_v[:, :, None] * share_u[:, None, :]).flatten(1)
    used = (on_map_v[:, :, None] & on_map_u[:, None, :]).flatten(1) & (weights > 0)
    return cells, weights, used


def _bin_pair(depth: torch.Tensor, num_bins: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The nearer of the two bins around a continuous index (V,), its weight, and that of the bin behind it."""
    pair, share = _neighbours(depth)
    near, near_share, far_share = pair[:, 0], share[:, 0], share[:, 1]
    # In front of the first bin only the farther neighbour exists, and takes the nearer one's place. Behind the last
    # bin lies the class "out of range", which must not count.
    in_front, behind = near < 0, near >= num_bins - 1
    near_share = torch.where(in_front, far_share, near_share)
    return near.clamp(min=0), near_share, torch.where(in_front | behind, torch.zeros_like(far_share), far_share)


def _neighbours(position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two whole indices (V, 2) around a position (V,) and their linear weights (V, 2)."""
    low = torch.floor(position)
    share = position - low
    return torch.stack([low, low + 1], dim=1).long(), torch.stack([1 - share, share], dim=1)


class LiftPlanCache:
    """The plans of the calibrations seen last, at most `max_plans`.

    A plan takes 16 bytes per entry (12 MB for the paper's model, 2.5 MB for the small one) and half as much again
    once a gradient was asked for. Not part of a module's state: a deep copy starts empty.
    """

    def __init__(self, max_plans: int = 16) -> None:
        self.max_plans = max_plans
        self._plans: OrderedDict[tuple, LiftPlan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._plans)

    @property
    def nbytes(self) -> int:
        """Of all plans; see `LiftPlan.nbytes`."""
        return sum(plan.nbytes for plan in self._plans.values())

    def __deepcopy__(self, memo: dict) -> LiftPlanCache:
        return LiftPlanCache(self.max_plans)

    def get(self, key: tuple, make: Callable[[], LiftPlan]) -> LiftPlan:
        """The plan stored under `key`, else the one that `make` builds; the least recently used one may go."""
        plan = self._plans.pop(key, None) or make()
        self._plans[key] = plan
        while len(self._plans) > self.max_plans:
            self._plans.popitem(last=False)
        return plan
