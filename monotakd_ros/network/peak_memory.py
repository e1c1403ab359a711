"""How much memory a piece of work needs: of the process on a CPU (Linux), of the allocator on CUDA."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

MIB = 2.0**20
RESET_PEAK = "5"
"""Written to /proc/self/clear_refs, sets VmHWM back to VmRSS (proc(5))."""


@dataclass
class PeakMemory:
    """Memory around a piece of work, MiB; None where the system does not tell.

    Attributes:
        before_mib: held when it began. CPU: resident memory of the process. CUDA: allocated on the device.
        peak_mib: the most held until it ended.
    """

    before_mib: float | None = None
    peak_mib: float | None = None


@contextmanager
def peak_memory(device: torch.device | str) -> Iterator[PeakMemory]:
    """Measure the enclosed block; the figures are complete when it ends.

    Memory that was freed before, but that the process kept, is first given back, so that it does not count.
    """
    device = torch.device(device)
    memory = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        memory.before_mib = torch.cuda.memory_allocated(device) / MIB
        yield memory
        memory.peak_mib = torch.cuda.max_memory_allocated(device) / MIB
        return
    known = _start_new_peak()
    memory.before_mib = _status_mib("VmRSS") if known else None
    yield memory
    memory.peak_mib = _status_mib("VmHWM") if known else None


def _start_new_peak() -> bool:
    """Whether the system lets us."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:  # no Linux, or a sandbox
        return False
    return True


def _status_mib(name: str) -> float | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return None
