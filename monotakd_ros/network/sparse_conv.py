"""Sparse 3D convolution in plain torch: features at the active sites of a grid, and the pairs of sites that meet.

A rulebook lists, per kernel tap, which input site adds to which output site. A convolution then gathers the inputs of
one tap, multiplies them with that tap's matrix and adds the products to the outputs, tap after tap. Within one tap no
output repeats, so the sum has a fixed order on every device. Indices are (batch, z, y, x).
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
PAIRS_PER_STEP = 4096


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
    neighbours, found = _later_neighbours(x, kernel)
    tap, site = torch.nonzero(found, as_tuple=True)
    sizes = found.sum(dim=1).tolist()
    sites, partners = site.split(sizes), neighbours[tap, site].split(sizes)
    taps = []
    for offset, (earlier, later) in enumerate(zip(sites, partners), start=1):
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


def _later_neighbours(x: SparseTensor, kernel: Triple) -> tuple[torch.Tensor, torch.Tensor]:
    """Per tap behind the centre (K // 2 of them, C order) and site: row of the neighbour, and whether there is one."""
    half_z, half_y, half_x = (size // 2 for size in kernel)
    # Empty margins, so that a step over the grid's edge meets no site.
    shape = (x.spatial_shape[0] + half_z, x.spatial_shape[1] + half_y, x.spatial_shape[2] + half_x)
    keys = linear_keys(x.indices, shape)
    count, row, plane = len(keys), shape[2], shape[1] * shape[2]
    neighbours, found = [], []
    for step_z, step_y in product(range(half_z + 1), range(-half_y, half_y + 1)):
        if (step_z, step_y) < (0, 0):
            continue
        own_row = (step_z, step_y) == (0, 0)
        target = keys + (step_z * plane + step_y * row + (1 if own_row else -half_x))
        place = torch.searchsorted(keys, target) if not own_row else torch.arange(1, count + 1, device=keys.device)
        for _ in range(half_x if own_row else kernel[2]):
            neighbour = place.clamp(max=max(count - 1, 0))
            hit = keys.index_select(0, neighbour) == target
            neighbours.append(neighbour)
            found.append(hit)
            place, target = place + hit, target + 1
    if not found:  # a kernel of one tap
        return keys.new_zeros((0, count)), keys.new_zeros((0, count), dtype=torch.bool)
    return torch.stack(neighbours), torch.stack(found)


def strided_rulebook(
    x: SparseTensor, kernel: Triple, stride: Triple, padding: Triple
) -> tuple[Rulebook, torch.Tensor, Triple]:
    """Pairs of a strided convolution: every output whose window holds an active site becomes active.

    Returns:
        The rulebook, the output indices (M, 4) int64 in order, and the output's (Z, Y, X).
    """
    sizes = zip(x.spatial_shape, kernel, stride, padding)
    shape = tuple((size + 2 * pad - width) // step + 1 for size, width, step, pad in sizes)
    axes = [_outputs_per_tap(x.indices[:, 1 + a], kernel[a], stride[a], padding[a], shape[a]) for a in range(3)]
    keys_zy, valid_zy = _combine((x.indices[:, :1].T * shape[0] + axes[0][0], axes[0][1]), axes[1], shape[1])
    keys, valid = _combine((keys_zy, valid_zy), axes[2], shape[2])  # (K, N) each
    tap, inputs = torch.nonzero(valid, as_tuple=True)
    output_keys, outputs = torch.unique(keys[tap, inputs], return_inverse=True)
    sizes = valid.sum(dim=1).tolist()
    taps = map(TapPairs, range(len(sizes)), inputs.split(sizes), outputs.split(sizes))
    rulebook = Rulebook(_steps(taps), None, len(sizes), len(x.indices), len(output_keys))
    return rulebook, _unravel(output_keys, shape), shape


def _outputs_per_tap(
    position: torch.Tensor, kernel: int, stride: int, padding: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis, per tap and input (kernel, N): the output that reads it there, and whether there is one."""
    shifted = position + padding - torch.arange(kernel, device=position.device)[:, None]
    output = torch.div(shifted, stride, rounding_mode="floor")
    return output, (output * stride == shifted) & (output >= 0) & (output < size)


def _combine(
    outer: tuple[torch.Tensor, torch.Tensor], inner: tuple[torch.Tensor, torch.Tensor], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and validity of every pair of taps of two axes, the inner one of `size` cells: (K1 * K2, N) each."""
    keys = outer[0][:, None] * size + inner[0]
    return keys.flatten(0, 1), (outer[1][:, None] & inner[1]).flatten(0, 1)


def _unravel(keys: torch.Tensor, shape: Triple) -> torch.Tensor:
    """Indices (M, 4) of linear keys (M,)."""
    columns = []
    for size in reversed(shape):
        columns.append(keys % size)
        keys = torch.div(keys, size, rounding_mode="floor")
    return torch.stack([keys, *reversed(columns)], dim=1)


class GatherMultiplyScatter(torch.autograd.Function):
    """Features (N, C_in), weight (C_out, K, C_in) and bias (C_out,) or None -> (M, C_out).

    The gathered rows are not kept: the backward pass gathers again.
    """

    @staticmethod
    def forward(
        ctx, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, rulebook: Rulebook
    ) -> torch.Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rulebook = rulebook
        output = _convolve(features, weight.permute(1, 2, 0).contiguous(), rulebook)
        return output if bias is None else output.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        of_features, of_weight, of_bias, _ = ctx.needs_input_grad
        grad, grad_features, grad_weight = grad.contiguous(), None, None
        if of_features:
            grad_features = _convolve(grad, weight.transpose(0, 1).contiguous(), ctx.rulebook.transposed())
        if of_weight:
            grad_weight = _weight_gradient(features, grad, ctx.rulebook)
        return grad_features, grad_weight, grad.sum(dim=0) if of_bias else None, None


def _convolve(features: torch.Tensor, matrices: torch.Tensor, rulebook: Rulebook) -> torch.Tensor:
    """Features (N, C) through one matrix per tap (K, C, C'), summed over the taps: (M, C')."""
    output = features.new_zeros((rulebook.num_outputs, matrices.shape[2]))
    if rulebook.center is not None:
        output.addmm_(features, matrices[rulebook.center])
    gathered = features.new_empty((rulebook.longest, features.shape[1]))
    products = features.new_empty((rulebook.longest, output.shape[1]))
    for tap, inputs, outputs in rulebook.steps:
        count = len(inputs)
        rows = torch.index_select(features, 0, inputs, out=gathered[:count])
        output.index_add_(0, outputs, torch.mm(rows, matrices[tap], out=products[:count]))
    return output


def _weight_gradient(features: torch.Tensor, grad: torch.Tensor, rulebook: Rulebook) -> torch.Tensor:
    """Per tap the product of the rows it read and of the gradient where it added: (C_out, K, C_in)."""
    result = grad.new_zeros((rulebook.num_taps, grad.shape[1], features.shape[1]))
    if rulebook.center is not None:
        result[rulebook.center].addmm_(grad.T, features)
    read = features.new_empty((rulebook.longest, features.shape[1]))
    added = grad.new_empty((rulebook.longest, grad.shape[1]))
    for tap, inputs, outputs in rulebook.steps:
        count = len(inputs)
        rows = torch.index_select(features, 0, inputs, out=read[:count])
        result[tap].addmm_(torch.index_select(grad, 0, outputs, out=added[:count]).T, rows)
    return result.transpose(0, 1)


class _SparseConv(nn.Module):
    """Weight (C_out, kz, ky, kx, C_in), the layout of spconv 2, and bias; initialised as torch's convolutions are."""

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
        """Output features (M, C_out) of the rulebook's outputs; float32 whatever autocast says."""
        autocast = torch.is_autocast_enabled(features.device.type)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float() if autocast else features
            return GatherMultiplyScatter.apply(features, self.weight.flatten(1, 3), self.bias, rulebook)


class SubmanifoldConv3d(_SparseConv):
    """A convolution whose output sites are its input sites: (N, C_in) -> (N, C_out); kernel sizes are odd."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple = (3, 3, 3), bias: bool = True) -> None:
        assert all(size % 2 for size in kernel), f"a submanifold kernel has odd sizes, got {kernel}"
        super().__init__(in_channels, out_channels, kernel, bias)

    def forward(self, x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
        """`rulebook` is `submanifold_rulebook` of these sites and this kernel."""
        return x.with_features(self.convolve(x.features, rulebook))


class SparseConv3d(_SparseConv):
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
