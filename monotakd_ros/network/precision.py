"""Half precision by autocast: convolutions and matrix products in 16 bits, the rest in float32."""

from __future__ import annotations

import logging
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from monotakd_ros.config import Amp
from monotakd_ros.errors import ConfigError

_log = logging.getLogger(__name__)

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_amp(amp: str, device: torch.device, setting: str = "amp") -> None:
    """Check that a device can compute in this precision.

    Raises:
        ConfigError: unknown, or fp16 on a CPU; the message names `setting`.
    """
    if amp not in ("off", *AMP_TYPES):
        raise ConfigError(f"{setting}: expected one of off, {', '.join(AMP_TYPES)}, got {amp!r}")
    if amp == "fp16" and device.type != "cuda":
        raise ConfigError(f"{setting}: fp16 needs a CUDA device; on a CPU use bf16 or off")


def usable_amp(amp: Amp, device: torch.device, setting: str = "amp") -> Amp:
    """The precision to compute in: the one asked for, but float32 instead of bf16 on a CPU that only emulates bf16.

    An emulated bf16 convolution takes ten times as long as the same in float32, which is also the more exact.

    Args:
        amp: asked for.
        device: that computes.
        setting: named in messages.

    Raises:
        ConfigError: see `check_amp`.
    """
    check_amp(amp, device, setting)
    if amp == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        _log.warning(
            "%s: bf16 is left out: this CPU (%s) has no instructions for it and would take ten times as long as with "
            "float32, which is used",
            setting,
            torch.backends.cpu.get_cpu_capability(),
        )
        return "off"
    return amp


def cpu_computes_bf16() -> bool:
    """Whether bf16 is no slower than float32: not so on x86 without AVX-512; of other kinds nothing is known: True."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not is_x86 or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def autocast(amp: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in this precision."""
    return nullcontext() if amp == "off" else torch.autocast(device.type, dtype=AMP_TYPES[amp])
