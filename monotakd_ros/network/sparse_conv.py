"""Sparse 3D convolution in plain torch: features at the active sites of a grid, and the pairs of sites that meet.

A rulebook lists, per kernel tap, which input site adds to which output site. A convolution then gathers the inputs of
one tap, multiplies them with that tap's matrix and adds the products to the outputs, tap after tap. Within one tap no
output repeats, so the sum has a fixed order on every device. Indices are (batch, z, y, x).

On a CPU the products, which run at the speed of one large matrix product, take half of the time; a third goes into
rows that come from and go to the last-level cache, a tenth into rulebooks (benchmarks/sparse_conv.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

Triple = tuple[int, int, int]
PAIRS_PER_STEP = 8192
"""On a CPU: gathered rows and products of one step then stay in its cache."""


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Features at the active sites of a batch of grids.

    Attributes:
        features: (N, C).
        indices: (N, 4) int64 batch, z, y, x; unique rows in lexicographic order.
        spatial_shape: (Z, Y, X).
        batch_size: number of grids; some may have no active site.
    """

    features: torch.Tensor
    indices: torch.Tensor
    spatial_shape: Triple
    batch_size: int

    def with_features(self, features: torch.Tensor) -> SparseTensor:
        """Other features (N, C') at the same sites."""
        return replace(self, features=features)

    def dense(self) -> torch.Tensor:
        """(B, C, Z, Y, X), exactly 0 where no site is active."""
        channels, cells = self.features.shape[1], math.prod(self.spatial_shape)
        sites = self.indices[:, 0] * channels * cells + linear_keys(self.indices[:, 1:], self.spatial_shape)
        places = sites[:, None] + cells * torch.arange(channels, device=sites.device)
        flat = self.features.new_zeros(self.batch_size * channels * cells)
        flat = flat.index_copy(0, places.flatten(), self.features.flatten())
        return flat.view(self.batch_size, channels, *self.spatial_shape)


def linear_keys(indices: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Position (N,) int64 of each row of `indices` (N, D) in a C-contiguous grid; the first axis may be open-ended.

    Args:
        indices: (N, D) int64.
        shape: sizes of the last axes, D of them or D - 1.
    """
    keys = indices[:, 0]
    for axis, size in enumerate(shape[len(shape) - indices.shape[1] + 1 :], start=1):
        keys = keys * size + indices[:, axis]
    return keys


class TapPairs(NamedTuple):
    """Sites that meet at one kernel tap; no input and no output occurs twice.

    Attributes:
        tap: index of the tap in the kernel, C order.
        inputs: (P,) int64 rows of the input features.
        outputs: (P,) int64 rows of the output features.
    """

    tap: int
    inputs: torch.Tensor
    outputs: torch.Tensor


@dataclass(frozen=True, eq=False)
class Rulebook:
    """All pairs of a convolution, made once per resolution and handed to every submanifold convolution there.

    Attributes:
        steps: pairs of all taps; a tap may come in several steps.
        center: the tap at which every site meets itself, not listed in `steps`; None where there is none.
        num_taps: size of the kernel.
        num_inputs, num_outputs: number of sites.

    Source: Graham et al., CVPR 2018, "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks", sec. 3.
    """

    steps: tuple[TapPairs, ...]
    center: int | None
    num_taps: int
    num_inputs: int
    num_outputs: int

    def transposed(self) -> Rulebook:
        """The way back from outputs to inputs, which gradients take."""
        steps = tuple(TapPairs(tap, outputs, inputs) for tap, inputs, outputs in self.steps)
        return replace(self, steps=steps, num_inputs=self.num_outputs, num_outputs=self.num_inputs)

    @property
    def longest(self) -> int:
        """Most pairs of one step."""
        return max((len(pairs.inputs) for pairs in self.steps), default=0)

    @property
    def num_pairs(self) -> int:
        """Products of a C_in x C_out matrix and a feature, the centre tap's among them."""
        return sum(len(pairs.inputs) for pairs in self.steps) + (0 if self.center is None else self.num_outputs)


def submanifold_rulebook(x: SparseTensor, kernel: Triple = (3, 3, 3)) -> Rulebook:
    """Pairs of active sites at most half a kernel apart; outputs are the input sites.

    Sites are sorted, so one search per (z, y) finds a site's first neighbour in that row and the others follow it;
    and half the taps will do, the opposite tap pairing the same sites the other way round.

    Args:
        x: active sites.
        kernel: odd sizes.
    """
    num_taps, count = math.prod(kernel), len(x.indices)
    taps = []
    for offset, (earlier, later) in enumerate(_later_neighbours(x, kernel), start=1):
        taps.append(TapPairs(num_taps // 2 + offset, later, earlier))
        taps.append(TapPairs(num_taps // 2 - offset, earlier, later))
    return Rulebook(_steps(taps), num_taps // 2, num_taps, count, count)


def _steps(taps: Iterable[TapPairs]) -> tuple[TapPairs, ...]:
    """What a convolution steps through: no tap without pairs; on a CPU long ones in pieces.

    Pieces are ordered by where in the output they add, so that one step finds in the cache what the last one used.
    """
    steps = []
    for tap, inputs, outputs in taps:
        pieces = -(-len(inputs) // PAIRS_PER_STEP) if inputs.device.type == "cpu" else min(len(inputs), 1)
        if pieces:
            parts = enumerate(zip(inputs.chunk(pieces), outputs.chunk(pieces)))
            steps += [(part / pieces, TapPairs(tap, *pairs)) for part, pairs in parts]
    return tuple(step for _, step in sorted(steps, key=itemgetter(0)))


def _later_neighbours(x: SparseTensor, kernel: Triple) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Per tap behind the centre (K // 2 of them, C order): rows (P,) of sites and of their neighbours there."""
    half_z, half_y, half_x = (size // 2 for size in kernel)
    # Empty margins, so that a step over the grid's edge meets no site.
    shape = (x.spatial_shape[0] + half_z, x.spatial_shape[1] + half_y, x.spatial_shape[2] + half_x)
    keys = linear_keys(x.indices, shape)
    count, row, plane = len(keys), shape[2], shape[1] * shape[2]
    ended = torch.cat([keys, keys.new_full((1,), -1)])  # a search may end behind the last site
    neighbours, found = [], []
    for step_z, step_y in product(range(half_z + 1), range(-half_y, half_y + 1)):
        if (step_z, step_y) < (0, 0):
            continue
        own_row = (step_z, step_y) == (0, 0)
        target = keys + (step_z * plane + step_y * row + (1 if own_row else -half_x))
        place = torch.arange(1, count + 1, device=keys.device) if own_row else torch.searchsorted(keys, target)
        for _ in range(half_x if own_row else kernel[2]):
            hit = ended.index_select(0, place) == target
            neighbours.append(place)
            found.append(hit)
            place, target = place + hit, target + 1
    if not found:  # a kernel of one tap
        return []
    places = torch.nonzero(torch.cat(found)).flatten()
    sizes = torch.stack(found).sum(dim=1).tolist()
    sites, rows = torch.remainder(places, max(count, 1)), torch.cat(neighbours).index_select(0, places)
    return list(zip(sites.split(sizes), rows.split(sizes)))


def strided_rulebook(
    x: SparseTensor, kernel: Triple, stride: Triple, padding: Triple
) -> tuple[Rulebook, torch.Tensor, Triple]:
    """Pairs of a strided convolution: every output whose window holds an active site becomes active.

    Returns:
        The rulebook, the output indices (M, 4) int64 in order, and the output's (Z, Y, X).
    """
    sizes = zip(x.spatial_shape, kernel, stride, padding)
    shape = tuple((size + 2 * pad - width) // step + 1 for size, width, step, pad in sizes)
    inputs = torch.arange(len(x.indices), device=x.indices.device)
    taps, keys = torch.zeros_like(inputs), x.indices[:, 0] * math.prod(shape)
    taps_inside, cells_inside = 1, 1
    # From x to z, so that in the end pairs are sorted by tap and within a tap by input.
    for axis in (2, 1, 0):
        position = x.indices[:, axis + 1].index_select(0, inputs)
        tap, pair, output = _reached(position, kernel[axis], stride[axis], padding[axis], shape[axis])
        inputs = inputs.index_select(0, pair)
        taps = taps.index_select(0, pair) + tap * taps_inside
        keys = keys.index_select(0, pair) + output * cells_inside
        taps_inside, cells_inside = taps_inside * kernel[axis], cells_inside * shape[axis]
    output_keys, outputs = torch.unique(keys, return_inverse=True)
    counts = torch.bincount(taps, minlength=taps_inside).tolist()
    pairs = map(TapPairs, range(taps_inside), inputs.split(counts), outputs.split(counts))
    rulebook = Rulebook(_steps(pairs), None, taps_inside, len(x.indices), len(output_keys))
    return rulebook, _unravel(output_keys, shape), shape


def _reached(
    position: torch.Tensor, kernel: int, stride: int, padding: int, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Along one axis, which outputs read the inputs at `position` (N,): tap, row of the input and output, (P,) each."""
    shifted = position + padding - torch.arange(kernel, device=position.device)[:, None]
    output = torch.div(shifted, stride, rounding_mode="floor")
    tap, row = torch.nonzero((output * stride == shifted) & (output >= 0) & (output < size), as_tuple=True)
    return tap, row, output[tap, row]


def _unravel(keys: torch.Tensor, shape: Triple) -> torch.Tensor:
    """Indices (M, 4) of linear keys (M,)."""
    columns = []
    for size in reversed(shape):
        quotient = torch.div(keys, size, rounding_mode="floor")
        columns.append(keys - quotient * size)
        keys = quotient
    return torch.stack([keys, *reversed(columns)], dim=1)


class GatherMultiplyScatter(torch.autograd.Function):
    """Features (N, C_in), weight (C_out, K, C_in) and bias (C_out,) or None -> (M, C_out).

    The gathered rows are not kept: the backward pass gathers again.
    """

    @staticmethod
    def forward(
        ctx, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, rulebook: Rulebook
    ) -> torch.Tensor:
        matrices = weight.transpose(0, 1).contiguous()  # (K, C_out, C_in)
        ctx.save_for_backward(features, matrices)
        ctx.rulebook = rulebook
        return _convolve(features, matrices.transpose(1, 2), rulebook, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, matrices = ctx.saved_tensors
        of_features, of_weight, of_bias, _ = ctx.needs_input_grad
        grad = grad.contiguous()
        grad_features = _convolve(grad, matrices, ctx.rulebook.transposed()) if of_features else None
        grad_weight = _weight_gradient(features, grad, ctx.rulebook) if of_weight else None
        return grad_features, grad_weight, grad.sum(dim=0) if of_bias else None, None


def _convolve(
    features: torch.Tensor, matrices: torch.Tensor, rulebook: Rulebook, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Features (N, C) through one matrix per tap (K, C, C'), summed over the taps: (M, C')."""
    start = features.new_zeros(matrices.shape[2]) if bias is None else bias
    matrix_of = matrices.unbind(0)
    if rulebook.center is None:
        output = start.repeat(rulebook.num_outputs, 1)
    else:
        output = torch.addmm(start, features, matrix_of[rulebook.center])
    gathered = features.new_empty((rulebook.longest, features.shape[1]))
    products = features.new_empty((rulebook.longest, output.shape[1]))
    for tap, inputs, outputs in rulebook.steps:
        count = len(inputs)
        rows = torch.index_select(features, 0, inputs, out=gathered[:count])
        output.index_add_(0, outputs, torch.mm(rows, matrix_of[tap], out=products[:count]))
    return output


def _weight_gradient(features: torch.Tensor, grad: torch.Tensor, rulebook: Rulebook) -> torch.Tensor:
    """Per tap the product of the rows it read and of the gradient where it added: (C_out, K, C_in)."""
    result = grad.new_zeros((rulebook.num_taps, grad.shape[1], features.shape[1]))
    if rulebook.center is not None:
        result[rulebook.center].addmm_(grad.T, features)
    read = features.new_empty((rulebook.longest, features.shape[1]))
    added = grad.new_empty((rulebook.longest, grad.shape[1]))
    result_of = result.unbind(0)
    for tap, inputs, outputs in rulebook.steps:
        count = len(inputs)
        rows = torch.index_select(features, 0, inputs, out=read[:count])
        result_of[tap].addmm_(torch.index_select(grad, 0, outputs, out=added[:count]).T, rows)
    return result.transpose(0, 1)


class GatherConv3d(nn.Module):
    """What both convolutions share: weight (C_out, kz, ky, kx, C_in), the layout of spconv 2, and bias (C_out,).

    Initialised as torch's dense convolutions are.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, bias: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(out_channels, *kernel, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        bound = 1 / math.sqrt(math.prod(kernel) * in_channels)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[-1]}, {len(self.weight)}, kernel={self.kernel}, bias={self.bias is not None}"

    def convolve(self, features: torch.Tensor, rulebook: Rulebook) -> torch.Tensor:
        """Output features (M, C_out) of the rulebook's outputs; in the weight's precision whatever autocast says."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.weight.dtype)
            return GatherMultiplyScatter.apply(features, self.weight.flatten(1, 3), self.bias, rulebook)


class SubmanifoldConv3d(GatherConv3d):
    """A convolution whose output sites are its input sites: (N, C_in) -> (N, C_out); kernel sizes are odd."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple = (3, 3, 3), bias: bool = True) -> None:
        assert all(size % 2 for size in kernel), f"a submanifold kernel has odd sizes, got {kernel}"
        super().__init__(in_channels, out_channels, kernel, bias)

    def forward(self, x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
        """`rulebook` is `submanifold_rulebook` of these sites and this kernel."""
        return x.with_features(self.convolve(x.features, rulebook))


class SparseConv3d(GatherConv3d):
    """A strided convolution, active wherever its window holds an active site."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple,
        padding: Triple = (0, 0, 0),
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, bias)
        self.stride, self.padding = stride, padding

    def forward(self, x: SparseTensor) -> SparseTensor:
        rulebook, indices, shape = strided_rulebook(x, self.kernel, self.stride, self.padding)
        return SparseTensor(self.convolve(x.features, rulebook), indices, shape, x.batch_size)
