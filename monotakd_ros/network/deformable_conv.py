"""Deformable convolution in plain torch: on CPU and CUDA, with gradients of input, offsets and weight.

Convolution is linear, so it is done first and looked up afterwards: one matrix product gives what every kernel tap
makes of every cell, and each output cell sums, over its taps, the four cells around the tap's shifted position. That
sum is one `weighted_sum`. It gives no rounding but that of the position itself; `grid_sample` would add that of its
normalised coordinates, and takes twice the time (benchmarks/deformable_conv.py).
"""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.network.weighted_sum import RowSums, weighted_sum

KERNEL = 3


def deform_conv2d(
    x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> torch.Tensor:
    """Convolve with every kernel tap shifted by its own offset, cell by cell; outside the map is zero.

    Computed in float32 or wider whatever autocast says, and returned in the dtype of `x`. A value between cells is
    bilinear, each of the four corners that lies outside counting as zero. A NaN offset gives a NaN.

    Args:
        x: (B, C, Y, X).
        offset: (B, 2 * Ky * Kx, Yo, Xo), cells; channels are (dy, dx) of each tap, taps row by row.
        weight: (O, C, Ky, Kx).
        stride: of the output, as in `torch.nn.functional.conv2d`.
        padding: as there.
        dilation: as there.

    Returns:
        (B, O, Yo, Xo) in the dtype of `x`.

    Source: Deformable Convolutional Networks (Dai et al., ICCV 2017), sec. 2.1.
    """
    size = _output_size(x, weight, stride, padding, dilation)
    expected = (len(x), 2 * weight.shape[2] * weight.shape[3], *size)
    assert offset.shape == expected, f"expected offsets {expected}, got {tuple(offset.shape)}"
    with torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(x.dtype, torch.float32)
        y, x_ = _tap_positions(offset.to(wide), weight.shape[2:], stride, padding, dilation)
        entries, weights = _corners(y, x_, x.shape[-2:])
        out = _sum_taps(x.to(wide), weight.to(wide), entries, weights)
    return out.view(len(x), *size, len(weight)).permute(0, 3, 1, 2).to(x.dtype)


class DeformableConv2d(nn.Module):
    """3x3 deformable convolution (B, C, Y, X) -> (B, C, Y, X), its offsets predicted by a 3x3 convolution of the input.

    Starts as an ordinary convolution: the offsets' weights are zero at first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(channels, 2 * KERNEL * KERNEL, KERNEL, padding=1, bias=False)
        self.weight = nn.Parameter(torch.empty(channels, channels, KERNEL, KERNEL))
        nn.init.zeros_(self.offsets.weight)
        nn.init.kaiming_uniform_(self.weight, nonlinearity="linear")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return deform_conv2d(x, self.offsets(x), self.weight, padding=1)


def _output_size(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    rows, columns = (
        (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for size, taps in zip(x.shape[-2:], weight.shape[-2:])
    )
    return rows, columns


def _tap_positions(
    offset: torch.Tensor, kernel: torch.Size, stride: int, padding: int, dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column that each tap of each output cell reads: two (B, K, Yo, Xo), in cells of the input."""
    taps_y, taps_x = kernel

    def steps(count: int, step: int) -> torch.Tensor:
        return step * torch.arange(count, device=offset.device, dtype=offset.dtype)

    tap_y, tap_x = steps(taps_y, dilation).repeat_interleave(taps_x), steps(taps_x, dilation).repeat(taps_y)
    row, column = steps(offset.shape[2], stride) - padding, steps(offset.shape[3], stride) - padding
    y = offset[:, 0::2] + (tap_y[:, None, None] + row[:, None])
    x = offset[:, 1::2] + (tap_x[:, None, None] + column)
    return y, x


def _corners(y: torch.Tensor, x: torch.Tensor, size: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Where to read and with which weight, from positions (B, K, Yo, Xo).

    Returns:
        entries: (B * Yo * Xo, 4 K) int32, index of (frame, cell, tap).
        weights: (B * Yo * Xo, 4 K), zero for corners outside.
    """
    rows, columns = size
    batch, taps = y.shape[:2]
    lines = [(index * columns, weight) for index, weight in _neighbours(y, rows)]
    cells = [
        (row + column, row_weight * column_weight)
        for row, row_weight in lines
        for column, column_weight in _neighbours(x, columns)
    ]
    frame = torch.arange(batch, device=y.device, dtype=torch.int32)[:, None, None, None]
    tap = torch.arange(taps, device=y.device, dtype=torch.int32)[:, None, None]
    entries = torch.stack([(frame * (rows * columns) + cell) * taps + tap for cell, _ in cells], dim=-1)
    weights = torch.stack([weight for _, weight in cells], dim=-1)
    return tuple(values.permute(0, 2, 3, 1, 4).reshape(-1, 4 * taps) for values in (entries, weights))


def _neighbours(position: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The two cells around a position along one axis, as (index int32, weight); weight 0 outside 0..size - 1."""
    low = position.floor()
    fraction = position - low
    cells = []
    for cell, weight in ((low, 1 - fraction), (low + 1, fraction)):
        inside = (cell >= 0) & (cell < size)
        cells.append((cell.to(torch.int32).clamp(0, size - 1), weight * inside))
    return cells


def _sum_taps(x: torch.Tensor, weight: torch.Tensor, entries: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B * Yo * Xo, O): per output cell the weighted sum of what the taps make of the cells they read."""
    cells = x.permute(0, 2, 3, 1).flatten(0, 2)  # (B * Y * X, C)
    kernel = weight.permute(1, 2, 3, 0).flatten(1)  # (C, K * O)
    products = (cells @ kernel).view(-1, len(weight))  # one row per (frame, cell, tap)
    ends = torch.arange(len(entries) + 1, dtype=torch.int32, device=x.device) * entries.shape[1]
    return weighted_sum(products, weights.flatten(), RowSums(entries.flatten(), ends, len(products)))
