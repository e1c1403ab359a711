"""Latency and memory of a config's networks on one made-up frame, each in a process of its own.

python benchmarks/networks.py config/official_r50.yaml --kinds student --threads 2 --repeats 5
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path

import torch

from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.config_file import load_config
from monotakd_ros.network.checkpoint import KINDS, TEACHER, build_network
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.network.peak_memory import peak_memory


def measure(kind: str, options: argparse.Namespace) -> dict[str, float | None]:
    """Times in ms, memory in MiB (of the process, on CUDA of the device) of one network in this process."""
    keep_freed_memory()  # as every command does
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = load_config(options.config)
    network = build_network(kind, config).to(options.device).eval()
    batch = make_batch(config, options.device)

    def once() -> float:
        start = time.perf_counter()
        network(batch)
        if options.device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    with torch.inference_mode():
        with peak_memory(options.device) as first_memory:
            first = once()
        with peak_memory(options.device) as memory:
            times = [once() for _ in range(options.repeats)]
    return {
        "first_ms": first,
        "min_ms": min(times),
        "median_ms": statistics.median(times),
        "before_mib": first_memory.before_mib,
        "first_peak_mib": first_memory.peak_mib,
        "peak_mib": memory.peak_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="default: all that the config describes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="timed passes after the first")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    has_teacher = load_config(options.config).teacher is not None
    kinds = options.kinds or [kind for kind in KINDS if kind != TEACHER or has_teacher]
    figures = {}
    print(f"{'':<10}{'first':>9}{'min':>9}{'median':>9} ms{'before':>9}{'first':>9}{'peak':>9} MiB")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for kind in kinds:
            figures[kind] = pool.apply(measure, (kind, options))
            first, best, median, before, first_peak, peak = figures[kind].values()
            memory = "".join(f"{'-' if value is None else f'{value:.0f}':>9}" for value in (before, first_peak, peak))
            print(f"{kind:<10}{first:9.1f}{best:9.1f}{median:9.1f}   {memory}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
