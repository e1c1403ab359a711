"""Activation checkpointing: heavy parts of a network keep their input only and are computed again going backward.

Costs about one more forward pass of those parts, and saves what lies between their layers. Dropout repeats its
choices, and batch norms take note of a batch once, so that weights come out as without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from monotakd_ros.network.bev_adaptation import BevAdaptation
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.height_collapse import HeightCollapse
from monotakd_ros.network.image_encoder import AtrousPyramid, ResNet
from monotakd_ros.network.spatial_alignment import SpatialAlignmentModule

WHOLE = (AtrousPyramid, HeightCollapse, BevAdaptation, SpatialAlignmentModule, BevBackbone)
"""Parts that are computed again as a whole; of a ResNet each stage is one."""


def recompute_activations(network: nn.Module) -> list[str]:
    """Let the heavy parts of a network be computed again in training; returns their names."""
    names = heavy_parts(network)
    for name in names:
        part = network.get_submodule(name)
        part.forward = functools.partial(_forward, part, part.forward)  # type: ignore[method-assign]
    return names


def heavy_parts(network: nn.Module) -> list[str]:
    """Names of the parts that hold the most between their layers."""
    names = []
    for name, part in network.named_modules():
        if isinstance(part, ResNet):
            names += [f"{name}.{stage}" for stage, _ in part.named_children() if stage.startswith("layer")]
        elif isinstance(part, WHOLE):
            names.append(name)
    return names


def _forward(part: nn.Module, forward: Callable[..., Any], *inputs: Any) -> Any:
    if not (part.training and torch.is_grad_enabled()):
        return forward(*inputs)
    contexts = functools.partial(_contexts, part)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(part: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _statistics_kept(part)


@contextmanager
def _statistics_kept(part: nn.Module) -> Iterator[None]:
    """Batch norms still normalise by the batch and save what they did, but a momentum of 0 leaves no trace of it."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]
    saved = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, saved):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
