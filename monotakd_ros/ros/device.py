"""Where the nodes' networks run: one word for it in all of them. No ROS here."""

from __future__ import annotations

import torch

AUTO = "auto"


def device_asked_for(name: str) -> str:
    """The torch device that a node's parameter `device` means: `auto` is CUDA where torch sees one, else the CPU."""
    if name != AUTO:
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
