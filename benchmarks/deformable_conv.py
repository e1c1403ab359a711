"""Deformable convolution on the paper's BEV map: ours, one `grid_sample` per tap, and torchvision's where installed.

Prints the shortest and the median time of a forward pass without gradients and of a forward and backward pass, and how
far the outputs are from ours.

    python benchmarks/deformable_conv.py [--device cpu|cuda] [--threads 2] [--repeats 7] [--channels 128] [--batch 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from monotakd_ros.network.deformable_conv import deform_conv2d

ROWS, COLUMNS = 188, 140
Method = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def ours(x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return deform_conv2d(x, offset, weight, padding=1)


def grid_sample(x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One bilinear sampling and one 1x1 convolution per tap."""
    rows, columns = x.shape[-2:]
    y = torch.arange(rows, device=x.device, dtype=x.dtype)[:, None]
    x_ = torch.arange(columns, device=x.device, dtype=x.dtype)
    out = x.new_zeros(())
    for tap in range(9):
        row = y + (tap // 3 - 1) + offset[:, 2 * tap]
        column = x_ + (tap % 3 - 1) + offset[:, 2 * tap + 1]
        grid = torch.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], dim=-1)
        sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        out = out + F.conv2d(sampled, weight[:, :, tap // 3, tap % 3, None, None])
    return out


def methods() -> dict[str, Method]:
    found: dict[str, Method] = {"ours": ours, "grid_sample": grid_sample}
    try:
        from torchvision.ops import deform_conv2d as torchvision_deform_conv2d
    except ImportError:
        return found
    return {**found, "torchvision": lambda *inputs: torchvision_deform_conv2d(*inputs, padding=1)}


def timed(step: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def seconds(step: Callable[[], object], repeats: int, device: str) -> str:
    timed(step, device)
    times = [timed(step, device) for _ in range(repeats)]
    return f"{min(times):7.3f} ({statistics.median(times):.3f}) s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    channels, size = options.channels, (options.batch, options.channels, ROWS, COLUMNS)
    shapes = (size, (options.batch, 18, ROWS, COLUMNS), (channels, channels, 3, 3))
    scales = (1.0, 1.0, (9 * channels) ** -0.5)
    inputs = [(scale * torch.randn(shape)).to(options.device) for shape, scale in zip(shapes, scales)]
    expected = ours(*inputs)
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    for name, method in methods().items():
        with torch.no_grad():
            difference = (method(*inputs) - expected).abs().max().item()
            forward = seconds(lambda method=method: method(*inputs), options.repeats, options.device)
        both = seconds(lambda method=method: method(*leaves).sum().backward(), options.repeats, options.device)
        print(f"{name:12} forward {forward}   forward + backward {both}   difference {difference:.1e}")


if __name__ == "__main__":
    main()
