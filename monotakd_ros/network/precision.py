"""Half precision by autocast: convolutions and matrix products in 16 bits, the rest in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from monotakd_ros.errors import ConfigError

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


def autocast(amp: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in this precision."""
    return nullcontext() if amp == "off" else torch.autocast(device.type, dtype=AMP_TYPES[amp])
