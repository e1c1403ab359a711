"""Batch normalisation of pooled maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PooledBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d for maps pooled to (B, C, 1, 1).

    A batch of one has a single value per channel there, which batch statistics cannot be taken from: then the
    running statistics serve in training too, and are left as they are.
    """

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        if not self.training or pooled[:, 0].numel() > 1:
            return super().forward(pooled)
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(pooled, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
