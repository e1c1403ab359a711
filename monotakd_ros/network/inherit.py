"""Starting a network from the weights of another kind of network, as far as they have parts in common.

A student is the assistant's trunk with a depth head, and reads its BEV map with the backbone and head that the teacher
has too. The released code starts its student so: from the teacher's head, then from a camera network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, load_checkpoint, load_weights

HEAD = ("bev_backbone.", "head.")
TRUNK = ("encoder.", "collapse.", "adaptation.", *HEAD)
SHARED_PARTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    (STUDENT, ASSISTANT): TRUNK,
    (ASSISTANT, STUDENT): TRUNK,
    (STUDENT, TEACHER): HEAD,
    (ASSISTANT, TEACHER): HEAD,
}
"""Parts that (network, giver) have in common, as beginnings of their keys."""


def start_from(network: nn.Module, kind: str, path: Path | str) -> tuple[str, ...]:
    """Fill a network from a weights file: entirely by its own kind, or with the parts it shares with another kind.

    Args:
        network: receives the tensors.
        kind: which network it is: "student", "assistant" or "teacher".
        path: a checkpoint of that kind, or of one that shares parts with it (`SHARED_PARTS`).

    Returns:
        The parts (first component of the keys) that keep weights of their own, sorted; empty for the same kind.

    Raises:
        CheckpointError: unreadable, of a kind that shares nothing, or a tensor of a shared part does not fit.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.kind == kind:
        load_weights(network, checkpoint.state_dict, where=str(path))
        return ()
    parts = SHARED_PARTS.get((kind, checkpoint.kind))
    if parts is None:
        raise CheckpointError(f"{path}: expected {kind} weights, got {checkpoint.kind} weights, which share no part")
    own = network.state_dict()
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
    network.load_state_dict(own | given)
    return tuple(sorted({_part(key) for key in own if key not in given}))


def _part(key: str) -> str:
    first, second = key.split(".")[:2]
    return f"{first}.{second}" if first == "encoder" else first
