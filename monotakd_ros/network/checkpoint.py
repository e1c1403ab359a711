"""Weights files: a state dict together with the config that built the network, and what is known about it.

Written to a temporary name and renamed, so that a reader never sees half a file; read with `weights_only=True`, so
that a file cannot run code. Missing, unexpected or mis-shaped keys are errors that list them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict, to_dict
from monotakd_ros.errors import CheckpointError, ConfigError
from monotakd_ros.network.assistant import Assistant, build_assistant
from monotakd_ros.network.student import Student, build_student
from monotakd_ros.network.teacher import Teacher, build_teacher
from monotakd_ros.network.tensor_file import no_weights, read_tensor_file, write_tensor_file

FORMAT = "monotakd_ros checkpoint"
FORMAT_VERSION = 1
STUDENT, ASSISTANT, TEACHER = "student", "assistant", "teacher"
KINDS = (STUDENT, ASSISTANT, TEACHER)
Network = Student | Assistant | Teacher
KEYS_LISTED = 20
PLAIN_TYPES = (bool, int, float, str, type(None), torch.Tensor)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        config: the settings that the network was built with.
        state_dict: tensors on the CPU.
        metadata: plain values: training step, seeds, score, licence, ...
        kind: which network: "student", "assistant" or "teacher".
    """

    config: Config
    state_dict: dict[str, torch.Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
    kind: str = STUDENT


def save_checkpoint(
    path: Path | str,
    state_dict: Mapping[str, torch.Tensor],
    config: Config,
    metadata: Mapping[str, Any],
    kind: str = STUDENT,
) -> None:
    """Write a weights file, replacing an older one of that name in one step.

    Args:
        path: file to write; its folder is made when missing.
        state_dict: the network's tensors, on any device.
        config: stored in full.
        metadata: nested dicts and lists of plain values (and tensors).
        kind: which network the tensors belong to.

    Raises:
        CheckpointError: `metadata` holds something that a reader would refuse.
        OutputError: the file cannot be written (disk full, read-only).
    """
    path = Path(path)
    _require_plain(metadata, "metadata")
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "kind": kind,
        "config": to_dict(config),
        "metadata": dict(metadata),
        "state_dict": {key: tensor.detach().cpu().contiguous() for key, tensor in state_dict.items()},
    }
    write_tensor_file(path, content)


def load_checkpoint(path: Path | str, kind: str | None = None) -> Checkpoint:
    """Read a weights file onto the CPU.

    Args:
        path: file written by `save_checkpoint`.
        kind: the network expected; None takes any.

    Raises:
        CheckpointError: no such file, not one of our checkpoints, damaged, of another network, or of a config that
            this version does not understand.
    """
    path = Path(path)
    content = read_tensor_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this package: {_describe(content)}")
    if content.get("version") != FORMAT_VERSION:
        raise CheckpointError(f"{path}: expected format version {FORMAT_VERSION}, got {content.get('version')!r}")
    missing = [key for key in ("kind", "config", "metadata", "state_dict") if key not in content]
    if missing:
        raise CheckpointError(f"{path}: the checkpoint lacks {', '.join(missing)}")
    for key in ("metadata", "state_dict"):
        if not isinstance(content[key], Mapping):
            raise CheckpointError(f"{path}: {key}: expected a mapping, got {type(content[key]).__name__}")
    if strangers := no_weights(content["state_dict"]):
        raise CheckpointError(f"{path}: these entries are no dense tensors: {_listed(strangers)}")
    if kind is not None and content["kind"] != kind:
        raise CheckpointError(f"{path}: expected {kind} weights, got {content['kind']} weights")
    try:
        config = from_dict(Config, content["config"], "config")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(config, content["state_dict"], content["metadata"], content["kind"])


def build_network(kind: str, config: Config) -> Network:
    """A network of that kind with random weights.

    Raises:
        ConfigError: the kind is unknown, or the config describes no such network.
    """
    if kind == STUDENT:
        return build_student(config.student)
    if kind == ASSISTANT:
        return build_assistant(config.student, config.assistant)
    if kind != TEACHER:
        raise ConfigError(f"network: expected one of {', '.join(KINDS)}, got {kind!r}")
    if config.teacher is None:
        raise ConfigError(f"config {config.name}: no `teacher` section, so there is no teacher to build")
    return build_teacher(config.teacher)


def load_network(path: Path | str, device: torch.device | str = "cpu") -> tuple[Network, Checkpoint]:
    """Build the network that a weights file describes, in eval mode.

    Raises:
        CheckpointError: see `load_checkpoint` and `load_weights`.
    """
    checkpoint = load_checkpoint(path)
    try:
        network = build_network(checkpoint.kind, checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    load_weights(network, checkpoint.state_dict, where=str(path))
    return network.to(device).eval(), checkpoint


def load_weights(network: nn.Module, state_dict: Mapping[str, torch.Tensor], where: str) -> None:
    """Fill a network; every key must match.

    Args:
        network: receives the tensors.
        state_dict: as from `network.state_dict()`.
        where: file name for messages.

    Raises:
        CheckpointError: keys are missing, unexpected or of another shape.
    """
    own = network.state_dict()
    problems = {
        "missing": [key for key in own if key not in state_dict],
        "unexpected": [key for key in state_dict if key not in own],
        "of another shape": [
            f"{key} (expected {tuple(own[key].shape)}, got {tuple(tensor.shape)})"
            for key, tensor in state_dict.items()
            if key in own and own[key].shape != tensor.shape
        ],
    }
    lines = [f"{len(keys)} {problem}: {_listed(keys)}" for problem, keys in problems.items() if keys]
    if lines:
        raise CheckpointError(f"{where}: the weights do not fit {type(network).__name__}: " + "; ".join(lines))
    network.load_state_dict(dict(state_dict))


def _listed(keys: list[str]) -> str:
    rest = len(keys) - KEYS_LISTED
    return ", ".join(keys[:KEYS_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        hints = {
            "model_state": "; monotakd import-checkpoint turns official weights into one",
            "optimizer": "; it is the state of a training run, whose best.pt and final.pt are checkpoints",
        }
        hint = next((text for key, text in hints.items() if key in content), "")
        return "it holds " + _listed([repr(key) for key in content]) + hint
    return f"it holds a {type(content).__name__}"


def _require_plain(value: Any, where: str) -> None:
    """`weights_only` readers refuse other types; better to say so before the file exists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _require_plain(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]")
    elif type(value) not in PLAIN_TYPES:
        raise CheckpointError(f"{where}: expected a plain value or a tensor, got {type(value).__name__}")
