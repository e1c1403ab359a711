"""Starting a network from the weights of another one, as far as they have parts in common.

A student is the assistant's trunk with a depth head, and reads its BEV map with the backbone and head that the teacher
has too. The released code starts its student so: from the teacher's head, then from a camera network. The other way
round, guides that start from a student in service speak its language. A student in service may itself grow: into one
with a residual branch, its fusion, and adaptation blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.bev_adaptation import BevAdaptation
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, load_checkpoint, load_weights
from monotakd_ros.network.feature_fusion import FeatureFusionModule

HEAD = ("bev_backbone.", "head.")
TRUNK = ("encoder.", "collapse.", "adaptation.", *HEAD)
SHARED_PARTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    (STUDENT, ASSISTANT): TRUNK,
    (ASSISTANT, STUDENT): TRUNK,
    (STUDENT, TEACHER): HEAD,
    (ASSISTANT, TEACHER): HEAD,
    (TEACHER, STUDENT): HEAD,
    (TEACHER, ASSISTANT): HEAD,
}
"""Parts that (network, giver) have in common, as beginnings of their keys."""

DEPTH_HEAD = "encoder.classifier"
"""Part of a student alone: an assistant has no use for it."""

ADDITIONS = ("adaptation", "residual", "fusion")
"""Parts that a camera network may have and its giver, of the same kind or another, may lack altogether."""


def start_from(network: nn.Module, kind: str, path: Path | str) -> tuple[str, ...]:
    """Fill a network from a weights file: by its own kind, or with the parts it shares with another kind.

    A giver of the same kind gives every part; it may lack whole `ADDITIONS`. Adaptation and fusion that were not given
    let the map through at first (`BevAdaptation.pass_through`), so that what comes after them finds what it knows.

    Args:
        network: receives the tensors.
        kind: which network it is: "student", "assistant" or "teacher".
        path: a checkpoint of that kind, or of one that shares parts with it (`SHARED_PARTS`).

    Returns:
        The parts (first component of the keys) that keep weights of their own, sorted; empty where all were given.

    Raises:
        CheckpointError: unreadable, of a kind that shares nothing, a tensor that does not fit, a given part of
            which one of both has more, or which the network lacks.
    """
    checkpoint = load_checkpoint(path)
    own = network.state_dict()
    if checkpoint.kind == kind:
        new = _parts_without(network, checkpoint.state_dict)
        kept = {key: tensor for key, tensor in own.items() if key.split(".")[0] in new}
        load_weights(network, kept | dict(checkpoint.state_dict), where=str(path))
        _let_through(network, new)
        return tuple(sorted(new))
    parts = SHARED_PARTS.get((kind, checkpoint.kind))
    if parts is None:
        raise CheckpointError(f"{path}: expected {kind} weights, got {checkpoint.kind} weights, which share no part")
    given = {key: tensor for key, tensor in checkpoint.state_dict.items() if key in own and key.startswith(parts)}
    wrong = [
        f"{key}: {tuple(own[key].shape)}, got {tuple(tensor.shape)}"
        for key, tensor in given.items()
        if own[key].shape != tensor.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: this {checkpoint.kind} cannot start the {kind}: expected the same shapes in what both have, "
            f"but {len(wrong)} differ: {'; '.join(wrong[:5])}"
        )
    torn = _torn(own, checkpoint.state_dict, parts)
    if torn:
        raise CheckpointError(
            f"{path}: this {checkpoint.kind} cannot start the {kind}: expected the same tensors in what both have, but "
            f"one lacks {', '.join(torn[:5])}{' and more' if len(torn) > 5 else ''}"
        )
    network.load_state_dict(own | given)
    if "collapse." in parts:  # the giver's backbone read maps such as this network's
        _let_through(network, _parts_without(network, checkpoint.state_dict))
    return tuple(sorted({_part(key) for key in own if key not in given}))


def _torn(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], parts: tuple[str, ...]) -> list[str]:
    """Keys of the shared parts that only one side has: of parts that are given at all, but for the depth head."""
    there = {_part(key) for key in given if key.startswith(parts)} - {DEPTH_HEAD}
    keys = {key for key in (*own, *given) if key.startswith(parts) and _part(key) in there}
    return sorted(key for key in keys if (key in own) != (key in given))


def _parts_without(network: nn.Module, given: Mapping[str, torch.Tensor]) -> set[str]:
    """The additions that a network has, and of which nothing is given."""
    there = {key.split(".")[0] for key in given}
    own = {key.split(".")[0] for key in network.state_dict()}
    return {part for part in ADDITIONS if part in own and part not in there}


def _let_through(network: nn.Module, parts: set[str]) -> None:
    for name in parts:
        part = getattr(network, name)
        if isinstance(part, (BevAdaptation, FeatureFusionModule)):
            part.pass_through()


def _part(key: str) -> str:
    first, second = key.split(".")[:2]
    return f"{first}.{second}" if first == "encoder" else first
