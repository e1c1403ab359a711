"""What ran: weights, code, libraries and device. A figure means nothing without them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from monotakd_ros import __version__
from monotakd_ros.errors import CheckpointError

GIT_TIMEOUT_S = 10.0
HASH_BLOCK = 1 << 22


@dataclass(frozen=True)
class CheckpointName:
    """What identifies the weights in a summary."""

    file: str
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> CheckpointName:
        """Name and checksum of a weights file.

        Raises:
            CheckpointError: unreadable.
        """
        try:
            return cls(Path(path).name, file_sha256(Path(path)))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read the checkpoint: {error.strerror}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits, read in blocks.

    Raises:
        OSError: unreadable.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the package, Python and the libraries whose numbers matter."""
    return {
        "monotakd_ros": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


@lru_cache
def network_code() -> str:
    """16 hex digits over the source of what networks make of a prepared frame: what was kept of other code is stale."""
    return _code_of("network", "geometry")


@lru_cache
def reading_code() -> str:
    """16 hex digits over the source of what is made of a recording before a network sees it."""
    return _code_of("data", "geometry")


@lru_cache
def training_code() -> str:
    """16 hex digits over the source of all that decides what a training gives and how it scores."""
    return _code_of("network", "geometry", "data", "training", "evaluation")


def _code_of(*rooms: str) -> str:
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(path for room in rooms for path in here.glob(f"{room}/*.py")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def code_commit() -> str | None:
    """The git commit of this package's code, with "-dirty" when files differ from it; None outside a checkout."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:  # installed inside somebody else's checkout
        return None
    commit = _git(here.parent, "rev-parse", "HEAD")
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return commit and (f"{commit}-dirty" if changes else commit)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """E.g. "NVIDIA H200" or "AMD EPYC 7B13, 2 cores, torch on 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_model()}, {usable_cores()} cores, torch on {torch.get_num_threads()} threads"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (models[0] if models else platform.processor() or platform.machine()) or "unknown CPU"


def usable_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
