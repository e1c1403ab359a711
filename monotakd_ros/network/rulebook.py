"""Which sites meet in a sparse convolution: per kernel tap, pairs of an input and the output it adds to.

Built from sorted linear keys by search and sort, without a hash table and without a loop over sites.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import NamedTuple

import torch

from monotakd_ros.network.sparse_tensor import SparseTensor, Triple, indices_of_keys, linear_keys

PAIRS_PER_STEP = 8192
"""On a CPU: the rows that one step of a convolution gathers, and their products, then stay in its cache."""


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
    return rulebook, indices_of_keys(output_keys, shape), shape


def _reached(
    position: torch.Tensor, kernel: int, stride: int, padding: int, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Along one axis, which outputs read the inputs at `position` (N,): tap, row of the input and output, (P,) each."""
    shifted = position + padding - torch.arange(kernel, device=position.device)[:, None]
    output = torch.div(shifted, stride, rounding_mode="floor")
    tap, row = torch.nonzero((output * stride == shifted) & (output >= 0) & (output < size), as_tuple=True)
    return tap, row, output[tap, row]
