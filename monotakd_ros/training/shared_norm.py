"""Batch normalisation over the batches of all processes, as if they were one batch.

Works with Gloo and with NCCL, on maps (B, C, Y, X) and on active sites (N, C), of which a process may have none. Swaps
modules only where a run has several processes; weights, buffers and their names are those of the norms replaced.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def share_batch_statistics(network: nn.Module) -> None:
    """Let every batch norm of the network take its statistics over all processes, in training."""
    shared: dict[_BatchNorm, SharedBatchNorm] = {}
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm):
                if norm not in shared:  # a norm may serve in several places
                    shared[norm] = SharedBatchNorm(norm)
                parent.register_module(name, shared[norm])


class SharedBatchNorm(_BatchNorm):
    """The batch norm `norm` with statistics over all processes; takes over its parameters and buffers.

    With fewer than two values per channel in all processes together, the running statistics serve in training too.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        assert norm.affine and norm.track_running_stats and norm.momentum is not None
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass  # any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        total, mean, variance = shared_moments(x)
        enough = total > 1  # stays on the device
        self._remember(total, mean, variance, enough)
        mean = torch.where(enough, mean, self.running_mean)
        variance = torch.where(enough, variance, self.running_var)
        return _Normalized.apply(x, self.weight, self.bias, mean, variance, torch.where(enough, total, 0.0), self.eps)

    @torch.no_grad()
    def _remember(self, total: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, enough: torch.Tensor) -> None:
        """Move the running statistics; the variance without bias, as torch does."""
        momentum = self.momentum * enough.float()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += enough


@torch.no_grad()
def shared_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Count (), mean (C,) and biased variance (C,) of x (B, C, ...) over all processes, float32.

    Every process gives count, mean and sum of squares about its own mean, which add up without cancellation.

    Source: Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample variance".
    """
    own = _own_moments(x.float())
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    channels = x.shape[1]
    counts, means, squares = torch.stack(parts).split([1, channels, channels], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(dim=0) / total.clamp(min=1)
    variance = (squares + counts * (means - mean).square()).sum(dim=0) / total.clamp(min=1)
    return total, mean, variance


def _own_moments(x: torch.Tensor) -> torch.Tensor:
    """(1 + 2 C,): count, means, sums of squares about them."""
    count = x.numel() // x.shape[1]
    if count == 0:
        return x.new_zeros(1 + 2 * x.shape[1])
    variance, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
    return torch.cat([x.new_tensor([count]), mean, variance * count])


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [dimension for dimension in range(x.ndim) if dimension != 1]


class _Normalized(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, whose mean and variance follow x of all processes.

    `total` is the number of values they were taken over; 0 where they are constants.
    """

    @staticmethod
    def forward(ctx: Any, x, weight, bias, mean, variance, total, eps):  # type: ignore[override]
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), total)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor):  # type: ignore[override]
        x, weight, mean, scale, total = ctx.saved_tensors
        dimensions, shape = _all_but_channels(x), [1, -1] + [1] * (x.ndim - 2)
        outer = gradient.float()
        normalized = (x.float() - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = outer.sum(dim=dimensions), (outer * normalized).sum(dim=dimensions)
        both = torch.stack([of_bias, of_weight])
        dist.all_reduce(both)
        shift, slope = (both * torch.where(total > 0, 1 / total.clamp(min=1), 0.0)).unbind()
        inner = outer - shift.view(shape) - normalized * slope.view(shape)
        return (inner * (scale * weight).view(shape)).to(x.dtype), of_weight, of_bias, None, None, None, None
