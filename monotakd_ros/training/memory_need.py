"""Whether a training fits into memory, told before sources are read.

What a step holds at its fullest is the state of the run (weights, gradients, the optimiser's two moments, the moving
average, frozen guides), the lift plans of the cameras it has seen, and everything that the forward pass keeps for the
backward pass. The latter is counted exactly, on one made-up frame, and grows with the batch; short-lived buffers come
on top, so the true peak is somewhat higher.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from monotakd_ros.config import Config, TrainingConfig
from monotakd_ros.errors import TrainingError
from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.network.precision import autocast
from monotakd_ros.network.teacher import Teacher
from monotakd_ros.training.guide_maps import asked_of_forward
from monotakd_ros.training.recomputation import recompute_activations

_log = logging.getLogger(__name__)

GIB = 2.0**30
COPIES = 5
"""Of every trained weight: itself, its gradient, two moments, the moving average."""
TIGHT = 0.8
"""Share of the free memory above which a run is warned about."""


@dataclass(frozen=True)
class MemoryNeed:
    """What a step needs, bytes.

    Attributes:
        state: of the run, whatever the batch.
        frame: kept from forward to backward for each frame of a batch.
        batch_size: frames that are in flight together.
        plans: of the lift plans that are kept; none in a teacher.
    """

    state: int
    frame: int
    batch_size: int
    plans: int = 0

    @property
    def total(self) -> int:
        """Of a whole step."""
        return self.state + self.plans + self.batch_size * self.frame


def memory_need(
    kind: str,
    config: Config,
    guides: Mapping[str, nn.Module] | None = None,
    cameras: int = 1,
    validation_cameras: int = 0,
) -> MemoryNeed:
    """Count what a training step will hold, by one forward pass on the CPU.

    Args:
        kind: "student", "assistant" or "teacher".
        config: network and training settings.
        guides: frozen networks that are held beside it.
        cameras: calibrations that are learned from, as a rule one per recording.
        validation_cameras: calibrations that are validated on.

    Raises:
        ConfigError: a teacher of a config without one.
    """
    network = build_network(kind, config).train()
    if config.training.activation_checkpointing:
        recompute_activations(network)
    weights = sum(item.numel() * item.element_size() for item in network.parameters())
    held = sum(_bytes_of(guide) for guide in (guides or {}).values())
    frame = _kept_for_backward(kind, network, config)
    plan = 0 if isinstance(network, Teacher) else network.view_transform.plans.nbytes
    plans = plan * _plans_kept(config.training, cameras, validation_cameras)
    return MemoryNeed(COPIES * weights + held, frame, config.training.batch_size, plans)


def _plans_kept(settings: TrainingConfig, cameras: int, validation_cameras: int) -> int:
    """Lift plans that fill up in the course of a run: of every calibration, the mirrored one, and the average's own."""
    most = settings.plans_to_keep
    own = most if settings.augment.moves_camera else (1 + (settings.augment.flip_probability > 0)) * cameras
    return min(own, most) + min(validation_cameras, most)


def _bytes_of(network: nn.Module) -> int:
    return sum(item.numel() * item.element_size() for item in network.state_dict().values())


def _kept_for_backward(kind: str, network: nn.Module, config: Config) -> int:
    own = {item.untyped_storage().data_ptr() for item in network.state_dict().values()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = make_batch(config)
    amp = "bf16" if config.training.amp == "fp16" else config.training.amp  # of the same size; CPUs have it, if slowly
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast(amp, torch.device("cpu")):
        output = network(batch, **asked_of_forward(kind, config.training.distillation))
    assert output.bev.requires_grad, "a forward pass in training"
    return sum(kept.values())


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that can still be had on a device; None where the system does not tell."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def check_memory(need: MemoryNeed, device: torch.device | str, free: int | None = None, processes: int = 1) -> None:
    """Compare with what is free; logs the figures, warns where it is tight.

    Args:
        need: of a step, in one process.
        device: where it runs.
        free: bytes; None asks the system.
        processes: that share this memory.

    Raises:
        TrainingError: not even what was counted fits; says what would help.
    """
    free = free_memory(device) if free is None else free
    if free is None:
        return
    free //= processes
    share = f" for each of {processes} processes" if processes > 1 else ""
    text = (
        f"a step needs at least {need.total / GIB:.2f} GiB on {device} ({(need.state + need.plans) / GIB:.2f} of the "
        f"run, {need.frame / GIB:.3f} for each of {need.batch_size} frames), {free / GIB:.2f} GiB are free{share}"
    )
    if need.total > free:
        fitting = max((free - need.state - need.plans) // max(need.frame, 1), 0)
        advice = f"training.batch_size of at most {fitting}" if fitting else "a smaller network or another device"
        raise TrainingError(f"not enough memory: {text}. It would fit with {advice}")
    if need.total > TIGHT * free:
        _log.warning("memory may not suffice: %s, and short-lived buffers come on top", text)
    else:
        _log.info("%s", text)
