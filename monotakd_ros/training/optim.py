"""Optimiser, learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from monotakd_ros.config import TrainingConfig

START_DIVISOR = 10.0
END_DIVISOR = 1000.0


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Learning rate of a step counted from 0.

    It rises from a tenth of `learning_rate` over the first `warmup_fraction` of the steps: along a cosine with the
    schedule `one_cycle`, along a line with the others. Then it falls along a cosine to a thousandth of its peak at the
    end, or, with `constant`, stays.
    """
    peak = config.learning_rate
    warmup = config.warmup_fraction * config.steps
    if step < warmup:
        rise = _cosine if config.schedule == "one_cycle" else _line
        return rise(peak / START_DIVISOR, peak, step / warmup)
    if config.schedule == "constant":
        return peak
    return _cosine(peak, peak / END_DIVISOR, (step - warmup) / max(config.steps - warmup, 1.0))


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def _line(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW; weight decay is for weights of two and more dimensions, not for biases and norms."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if parameter.ndim > 1]
    plain = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate, foreach=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group this rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


class MovingAverage:
    """Exponential moving average of a model's weights and float buffers.

    The decay after step s is (1 + s) / (10 + s), which averages about the last tenth of the run so far, until `decay`
    is reached (0.998 after 4,490 steps): a short run does not average its random start.

    Attributes:
        model: the averaged copy, in eval mode, without gradients.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = [], []
        for mean, value in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mean.is_floating_point():
                averaged.append(mean)
                current.append(value)
            else:
                mean.copy_(value)
        torch._foreach_lerp_(averaged, current, 1 - decay)
