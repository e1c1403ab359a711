"""Weighted sums of table rows, such as lifts and deformable convolutions are made of, with a quick gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, eq=False)
class RowSums:
    """Which rows (cells) of a table each of N sums reads: a sparse (N, R) matrix in row order with K entries.

    Attributes:
        cells: (K,) int32 row of the table.
        offsets: (N + 1,) int32: sum i owns entries offsets[i] to offsets[i + 1].
        num_cells: R.
    """

    cells: torch.Tensor
    offsets: torch.Tensor
    num_cells: int

    @cached_property
    def sum_of_entry(self) -> torch.Tensor:
        """(K,) int32."""
        counts = self.offsets.diff()
        sums = torch.arange(len(counts), dtype=torch.int32, device=counts.device)
        return torch.repeat_interleave(sums, counts)

    @cached_property
    def entries_by_cell(self) -> torch.Tensor:
        """(K,) int32 order of the entries that sorts them by cell: the transposed matrix, for the gradient."""
        return torch.argsort(self.cells, stable=True).int()

    @cached_property
    def cell_offsets(self) -> torch.Tensor:
        """(R + 1,) int32: cell i owns sorted entries cell_offsets[i] to cell_offsets[i + 1]."""
        return offsets_of(torch.bincount(self.cells, minlength=self.num_cells))


def offsets_of(counts: torch.Tensor) -> torch.Tensor:
    """Where each of n runs of `counts` (n,) entries begins, and the end of the last: (n + 1,) int32."""
    return F.pad(counts.cumsum(0), (1, 0)).int()


def weighted_sum(table: torch.Tensor, weights: torch.Tensor, sums: RowSums) -> torch.Tensor:
    """Rows of a table (R, C) summed with one weight per entry (K,): (N, C), differentiable once.

    `torch.nn.functional.embedding_bag` with its own gradient: that of the table is the transposed sum, which is
    several times faster than the stock one on a CPU and has a fixed order of summation on CUDA.
    """
    return _WeightedSum.apply(table, weights, sums)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: torch.Tensor, weights: torch.Tensor, sums: RowSums) -> torch.Tensor:
        ctx.save_for_backward(table, weights)
        ctx.sums = sums
        return _bag(sums.cells, table, sums.offsets, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        table, weights = ctx.saved_tensors
        sums, grad = ctx.sums, grad.contiguous()
        grad_table = grad_weights = None
        if ctx.needs_input_grad[0]:
            order = sums.entries_by_cell
            by_cell = sums.sum_of_entry.index_select(0, order)
            grad_table = _bag(by_cell, grad, sums.cell_offsets, weights.index_select(0, order))
        if ctx.needs_input_grad[1]:
            # Product of each entry's gradient and table row; the (K, C) products are never stored.
            grad_weights = torch.ops.aten._embedding_bag_per_sample_weights_backward(
                grad, table, sums.cells, sums.offsets, sums.sum_of_entry, 0
            )
        return grad_table, grad_weights, None


def _bag(rows: torch.Tensor, table: torch.Tensor, offsets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return F.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)
