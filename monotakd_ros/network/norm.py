"""Batch normalisation where a batch may hold too few values to take statistics from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class _FewValues(nn.Module):
    """With fewer than two values per channel the running statistics serve in training too, and are left as they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or x[:, 0].numel() > 1:
            return super().forward(x)
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)


class PooledBatchNorm2d(_FewValues, nn.BatchNorm2d):
    """BatchNorm2d for maps pooled to (B, C, 1, 1), where a batch of one has a single value per channel."""


class ActiveSiteNorm(_FewValues, nn.BatchNorm1d):
    """BatchNorm1d over the active sites (N, C) of a sparse tensor, of which there may be one or none."""
