"""Speed of the teacher's sparse encoder against spconv: rulebooks, products, gradients.

Forward, and forward with backward, in milliseconds, best of some rounds; the contenders take turns, so that a busy
machine slows all. spconv's CPU kernels race on several threads and are wrong then: it runs on one, in a process of its
own; ours on one and on `--threads`. Without clouds (KITTI's .bin files) one is made up.

Below each cloud stands what bounds the work: site pairs, the products' GFLOP and how long they take at the speed of one
tall matrix product, and the bytes of rows that are gathered, multiplied and added (float32, no cache).

    python benchmarks/sparse_conv.py [--threads 2] [--rounds 5] [--config config/monotakd_r50.yaml] [CLOUD.bin ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.config import LidarEncoderConfig, TeacherConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.network.lidar_encoder import LidarEncoder
from monotakd_ros.network.made_up_batch import made_up_cloud
from monotakd_ros.network.rulebook import Rulebook, strided_rulebook
from monotakd_ros.network.sparse_conv import GatherConv3d, SubmanifoldConv3d
from monotakd_ros.network.sparse_tensor import SparseTensor
from monotakd_ros.network.voxelization import POINT_FEATURES, voxelize

VIEW = 0.84
"""Half the width of the view per metre ahead, about KITTI's camera."""
PASSES = ("forward", "forward+backward")


def main() -> None:
    """Start a process per contender, let them take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clouds", type=Path, nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", type=Path, help="a config with a teacher; the paper's by default")
    parser.add_argument("--contender", choices=("ours", "spconv"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        serve(options)
        return
    config = teacher_config(options.config)
    contenders = {"ours, 1 thread": ("ours", 1), f"ours, {options.threads} threads": ("ours", options.threads)}
    if has_spconv():
        contenders["spconv, 1 thread"] = ("spconv", 1)
    print(
        f"{'cloud':<12}{'voxels':>8}  {'pass':<18}"
        + "".join(f"{name:>20}" for name in contenders)
        + "  spconv / ours 1, n"
    )
    for cloud in options.clouds or [None]:
        best = take_turns(contenders, cloud, options)
        voxels = read_voxels(cloud, config)
        for index, name in enumerate(PASSES):
            times = [values[index] for values in best.values()]
            ratios = "".join(f"{times[2] / own:8.2f}" for own in times[:2]) if len(times) == 3 else ""
            row = f"{cloud.stem if cloud else 'made up':<12}{len(voxels.indices):>8}  {name:<18}"
            print(row + "".join(f"{value:17.1f} ms" for value in times) + "  " + ratios, flush=True)
        print_floor(voxels, config.encoder)


def take_turns(contenders: dict, cloud: Path | None, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Best milliseconds (forward, forward and backward) of each contender."""
    processes = {name: start(kind, threads, cloud, options) for name, (kind, threads) in contenders.items()}
    best = dict.fromkeys(contenders, (np.inf, np.inf))
    try:
        for _ in range(options.rounds):
            for name, process in processes.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"{name} ended early")
                best[name] = tuple(np.minimum(best[name], json.loads(line)))
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return best


def start(kind: str, threads: int, cloud: Path | None, options: argparse.Namespace) -> subprocess.Popen:
    command = [sys.executable, __file__, "--contender", kind, "--threads", str(threads)]
    command += ["--config", str(options.config)] if options.config else []
    command += [str(cloud)] if cloud else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def serve(options: argparse.Namespace) -> None:
    """One measurement per line read."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as every command of this package does
    config = teacher_config(options.config)
    voxels = read_voxels(options.clouds[0] if options.clouds else None, config)
    torch.manual_seed(0)
    run = our_encoder(config.encoder) if options.contender == "ours" else spconv_encoder(config)
    measure(run, voxels)
    for _ in sys.stdin:
        print(json.dumps(measure(run, voxels)), flush=True)


def measure(run: Callable[[SparseTensor], torch.Tensor], voxels: SparseTensor) -> tuple[float, float]:
    """Milliseconds of a forward pass and of one with backward; indices are matched anew in each."""
    start = time.perf_counter()
    with torch.no_grad():
        run(voxels)
    middle = time.perf_counter()
    run(voxels).sum().backward()
    return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)


def our_encoder(config: LidarEncoderConfig) -> LidarEncoder:
    return LidarEncoder(config, POINT_FEATURES).train()


def spconv_encoder(config: TeacherConfig) -> Callable[[SparseTensor], torch.Tensor]:
    """The same layers on spconv."""
    import spconv.pytorch as spconv
    from spconv.pytorch import ops

    ops.get_current_stream = lambda: 0  # its backward asks for a CUDA stream on a CPU too

    def norm_relu(x, norm, shortcut=None):
        values = norm(x.features)
        return x.replace_feature(torch.relu(values if shortcut is None else values + shortcut))

    class Block(nn.Module):
        def __init__(self, channels: int, key: str) -> None:
            super().__init__()
            self.convs = nn.ModuleList(
                spconv.SubMConv3d(channels, channels, 3, padding=1, bias=True, indice_key=key) for _ in range(2)
            )
            self.norms = nn.ModuleList(nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01) for _ in range(2))

        def forward(self, x):
            out = norm_relu(self.convs[0](x), self.norms[0])
            return norm_relu(self.convs[1](out), self.norms[1], x.features)

    class Step(nn.Module):
        def __init__(self, conv: nn.Module, channels: int) -> None:
            super().__init__()
            self.conv, self.norm = conv, nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)

        def forward(self, x):
            return norm_relu(self.conv(x), self.norm)

    encoder, channels = config.encoder, config.encoder.channels
    first = spconv.SubMConv3d(POINT_FEATURES, channels[0], 3, padding=1, bias=False, indice_key="1")
    layers: list[nn.Module] = [Step(first, channels[0])]
    for number, width in enumerate(channels, start=1):
        if number > 1:
            padding = (0, 1, 1) if number == len(channels) else 1
            conv = spconv.SparseConv3d(channels[number - 2], width, 3, 2, padding, bias=False)
            layers.append(Step(conv, width))
        layers += [Block(width, str(number)) for _ in range(encoder.blocks)]
    last = spconv.SparseConv3d(channels[-1], encoder.out_channels, (3, 1, 1), (2, 1, 1), bias=False)
    network = nn.Sequential(*layers, Step(last, encoder.out_channels)).train()

    def run(voxels: SparseTensor) -> torch.Tensor:
        indices = voxels.indices.int()
        x = spconv.SparseConvTensor(voxels.features, indices, voxels.spatial_shape, voxels.batch_size)
        return network(x).dense().flatten(1, 2)

    return run


def teacher_config(path: Path | None) -> TeacherConfig:
    config = load_config(path).teacher if path else TeacherConfig()
    if config is None:
        raise SystemExit(f"{path}: no teacher in this config")
    return config


def read_voxels(cloud: Path | None, config: TeacherConfig) -> SparseTensor:
    """The voxels in the camera's view."""
    if cloud is None:
        points = made_up_cloud(np.random.default_rng(0)).astype(np.float32)
    else:
        points = np.fromfile(cloud, np.float32).reshape(-1, POINT_FEATURES)
    points = torch.from_numpy(points[np.abs(points[:, 1]) < VIEW * points[:, 0]])
    return voxelize((points,), config.grid.build(), config.max_points_per_voxel, config.max_voxels)


def has_spconv() -> bool:
    try:
        import spconv.pytorch  # noqa: F401
    except ImportError:
        print("spconv is not installed: ours alone")
        return False
    return True


def print_floor(voxels: SparseTensor, config: LidarEncoderConfig) -> None:
    """Pairs, GFLOP and bytes of a forward pass."""
    totals = np.zeros(3)

    def count(module: GatherConv3d, arguments: tuple) -> None:
        channels_in, channels_out = module.weight.shape[-1], len(module.weight)
        pairs = rulebook_of(module, *arguments).num_pairs
        row_bytes = 4 * (2 * channels_in + 4 * channels_out)  # gathered; product written, read, added to the output
        totals[:] += pairs, 2e-9 * pairs * channels_in * channels_out, 1e-6 * pairs * row_bytes

    encoder = our_encoder(config)
    for module in encoder.modules():
        if isinstance(module, GatherConv3d):
            module.register_forward_pre_hook(count)
    with torch.no_grad():
        encoder(voxels)
    pairs, gflop, megabytes = totals
    speed = product_speed()
    print(
        f"{'':<12}floor of forward: {1e-6 * pairs:.2f} M pairs, {gflop:.1f} GFLOP = {1e3 * gflop / speed:.0f} ms at "
        f"{speed:.0f} GFLOP/s on one thread, {megabytes:.0f} MB of rows"
    )


def rulebook_of(module: GatherConv3d, x: SparseTensor, *rulebook: Rulebook) -> Rulebook:
    if isinstance(module, SubmanifoldConv3d):
        return rulebook[0]
    return strided_rulebook(x, module.kernel, module.stride, module.padding)[0]


def product_speed(rows: int = 4096, channels: int = 64) -> float:
    """GFLOP/s of a (rows, channels) x (channels, channels) product on one thread."""
    torch.set_num_threads(1)
    left, right = torch.randn(rows, channels), torch.randn(channels, channels)
    out = torch.empty(rows, channels)
    best = np.inf
    for _ in range(200):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - start)
    return 2e-9 * rows * channels * channels / best


if __name__ == "__main__":
    main()
