"""What the lift saves against building the frustum volume: time and peak memory, forward and backward.

Both give the same voxels (test/network/test_view_transform.py). The reference builds the outer product of feature and
depth distribution and samples it with five-dimensional `grid_sample`. Every measurement runs in a fresh process.

    python benchmarks/lift.py [--device cpu|cuda] [--threads 2] [--repeats 7] [--batch 1]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from monotakd_ros.config import StudentConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.view_transform import ViewTransform

CONFIGS = Path(__file__).resolve().parents[1] / "config"
MODELS = ("monotakd_r50", "student_small")
METHODS = ("frustum", "lift")
KITTI_FOCAL_PX, KITTI_CENTER_PX = 721.5377, (609.5593, 172.854)


@dataclass(frozen=True)
class Inputs:
    """Random feature and depth logits with a KITTI-like calibration."""

    features: torch.Tensor
    depth_logits: torch.Tensor
    img_P_cam: torch.Tensor
    cam_T_lidar: torch.Tensor
    valid_px: torch.Tensor


def make_inputs(config: StudentConfig, batch: int, device: str) -> Inputs:
    width, height = config.input.width, config.input.height
    cells = (-(-height // 8), -(-width // 8))
    focal, (cx, cy) = config.input.focal_px or KITTI_FOCAL_PX, config.input.center_px or KITTI_CENTER_PX
    projection = torch.tensor([[focal, 0, cx, 0], [0, focal, cy, 0], [0, 0, 1, 0]], device=device)
    extrinsic = torch.tensor(nominal_cam_T_lidar(), dtype=torch.float32, device=device)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch, config.encoder.feature_channels, *cells, generator=generator)
    logits = torch.randn(batch, config.depth.num_bins + 1, *cells, generator=generator)
    return Inputs(
        features.to(device).requires_grad_(),
        logits.to(device).requires_grad_(),
        projection.repeat(batch, 1, 1),
        extrinsic.repeat(batch, 1, 1),
        torch.tensor([[0.0, 0.0, width, height]], device=device).repeat(batch, 1),
    )


def frustum_method(view: ViewTransform, inputs: Inputs) -> Callable[[], torch.Tensor]:
    """Outer product, then trilinear sampling; the sampling grid is prepared beforehand, as the lift's plan is."""
    num_bins, (height, width) = view.bins.num_bins, inputs.features.shape[-2:]
    image_size = tuple(inputs.valid_px[0, 2:].tolist())
    shape = (num_bins, height, width)
    sizes = torch.tensor([width, height, num_bins], device=inputs.features.device)
    grids = []
    for projection, extrinsic in zip(inputs.img_P_cam, inputs.cam_T_lidar):
        normalized = (view.coordinates(projection, extrinsic, image_size, shape) + 0.5) / sizes * 2 - 1
        grids.append(torch.where(torch.isfinite(normalized), normalized, -2.0).float())
    x, y, z = view.grid.shape_xyz
    grid = torch.stack(grids).unflatten(1, (y, x, z))

    def run() -> torch.Tensor:
        depth = inputs.depth_logits.softmax(dim=1)[:, :-1]
        frustum = inputs.features[:, :, None] * depth[:, None]
        return F.grid_sample(frustum, grid, align_corners=False)

    return run


def lift_method(view: ViewTransform, inputs: Inputs) -> Callable[[], torch.Tensor]:
    """Softmax and lift, the calibrations' plans already in the cache."""
    batch, _, rows, columns = inputs.features.shape
    images = torch.zeros((batch, 3, 8 * rows, 8 * columns), dtype=torch.uint8, device=inputs.features.device)
    frames = FrameBatch(images, inputs.valid_px, inputs.img_P_cam, inputs.cam_T_lidar, ("",) * batch)

    def run() -> torch.Tensor:
        return view(inputs.features, inputs.depth_logits.softmax(dim=1), view.batch_plan(frames))

    return run


def measure(model: str, method: str, train: bool, options: argparse.Namespace) -> dict[str, float]:
    """Best time in ms and peak memory in MiB above what was held before."""
    torch.set_num_threads(options.threads)
    config = load_config(CONFIGS / f"{model}.yaml").student
    view = ViewTransform(config.grid.build(), config.depth.build(), config.lift.sampling).to(options.device)
    inputs = make_inputs(config, options.batch, options.device)
    run = {"frustum": frustum_method, "lift": lift_method}[method](view, inputs)

    def once() -> None:
        with torch.set_grad_enabled(train):
            voxels = run()
            if train:
                torch.autograd.grad(voxels, (inputs.features, inputs.depth_logits), torch.ones_like(voxels))

    once()
    held = reset_peak(options.device)
    once()
    peak = read_peak(options.device) - held
    seconds = []
    for _ in range(options.repeats):
        synchronize(options.device)
        start = time.perf_counter()
        once()
        synchronize(options.device)
        seconds.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(seconds), "mib": peak / 2**20}


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: str) -> int:
    """Start a new peak; return the bytes held now. On a CPU: resident memory, by Linux' clear_refs."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def read_peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = {}
    print(f"{'model':<14} {'pass':<17} {'frustum':>20} {'lift':>20} {'time':>7} {'memory':>7}")
    # Fresh processes, so that one method's memory and warm caches do not count for the other.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for model in MODELS:
            for train in (False, True):
                frustum, lift = (pool.apply(measure, (model, method, train, options)) for method in METHODS)
                name = "forward+backward" if train else "forward"
                figures[f"{model} {name}"] = {"frustum": frustum, "lift": lift}
                cells = [f"{item['ms']:7.1f} ms {item['mib']:6.0f} MiB" for item in (frustum, lift)]
                ratios = [f"{frustum[unit] / max(lift[unit], 1e-9):6.1f}x" for unit in ("ms", "mib")]
                print(f"{model:<14} {name:<17} {cells[0]:>20} {cells[1]:>20} {ratios[0]} {ratios[1]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
