"""What `monotakd describe` finds out about a config or a weights file."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monotakd_ros.config import Config
from monotakd_ros.config_file import load_config, to_dict
from monotakd_ros.errors import CheckpointError, ConfigError
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, build_network, load_network
from monotakd_ros.network.cost import NetworkCost, measure_cost
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.provenance import device_name

ZIP_MAGIC, PICKLE_MAGIC = b"PK", b"\x80"
"""How a file of `torch.save` begins: since torch 1.6, and before."""


@dataclass(frozen=True)
class WeightsFile:
    """The file itself; `metadata` is what training or import noted."""

    size_bytes: int
    sha256: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Description:
    """A config and what its networks cost.

    Attributes:
        path: as given.
        config: its settings.
        networks: per kind ("student", ...), in the order of the pipeline.
        device: what the networks ran on, in words.
        weights: None for a YAML file.
    """

    path: str
    config: Config
    networks: dict[str, NetworkCost]
    device: str
    weights: WeightsFile | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        weights = self.weights and {**dataclasses.asdict(self.weights), "metadata": _plain(self.weights.metadata)}
        networks = {kind: dataclasses.asdict(cost) for kind, cost in self.networks.items()}
        return {
            "file": self.path,
            "weights": weights,
            "device": self.device,
            "networks": networks,
            "config": to_dict(self.config),
        }


def is_checkpoint(path: Path) -> bool:
    """Whether a file is weights rather than YAML, by its first bytes.

    Raises:
        ConfigError: no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise ConfigError(f"{path}: expected a config or a weights file: {error.strerror}") from error
    return start == ZIP_MAGIC or start[:1] == PICKLE_MAGIC


def describe_config(path: Path, kind: str | None, device: torch.device, repeats: int) -> Description:
    """Networks of a YAML file, with random weights.

    Args:
        path: YAML file.
        kind: only this network; None takes all that the config describes.
        device: runs them.
        repeats: timed passes of each.

    Raises:
        ConfigError: the file is no config, or describes no network of that kind.
    """
    config = load_config(path)
    kinds = [kind] if kind else [STUDENT, ASSISTANT, *([TEACHER] if config.teacher else [])]
    networks = {name: _measure(build_network(name, config), config, device, repeats) for name in kinds}
    return Description(str(path), config, networks, device_text(device))


def describe_checkpoint(path: Path, kind: str | None, device: torch.device, repeats: int) -> Description:
    """The network of a weights file; arguments as for `describe_config`.

    Raises:
        CheckpointError: the file is damaged, of another kind, or does not fit its own config.
    """
    network, checkpoint = load_network(path, device)
    if kind not in (None, checkpoint.kind):
        raise CheckpointError(f"{path}: expected {kind} weights, got {checkpoint.kind} weights")
    content = path.read_bytes()
    weights = WeightsFile(len(content), hashlib.sha256(content).hexdigest(), checkpoint.metadata)
    cost = _measure(network, checkpoint.config, device, repeats)
    return Description(str(path), checkpoint.config, {checkpoint.kind: cost}, device_text(device), weights)


def device_text(device: torch.device) -> str:
    """What figures were measured on: the device and torch's version."""
    return f"{device_name(device)}, torch {torch.__version__}"


def _measure(network: nn.Module, config: Config, device: torch.device, repeats: int) -> NetworkCost:
    return measure_cost(network.to(device).eval(), make_batch(config, device), repeats)


def _plain(value: Any) -> Any:
    """Metadata for JSON: a tensor becomes its shape in words."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return f"tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else value
