"""Submanifold and strided sparse 3D convolution in plain torch.

A convolution gathers the inputs of one kernel tap, multiplies them with that tap's matrix and adds the products to the
outputs, tap after tap, as the rulebook lists them. Within one tap no output repeats, so the sum has a fixed order on
every device.

On a CPU the products, which run at the speed of one large matrix product, take half of the time; a third goes into
rows that come from and go to the last-level cache, a tenth into rulebooks (benchmarks/sparse_conv.py).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from monotakd_ros.network.rulebook import Rulebook, strided_rulebook
from monotakd_ros.network.sparse_tensor import SparseTensor, Triple


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
