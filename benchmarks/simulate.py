"""Frames per second of the simulator and where its time goes: `python benchmarks/simulate.py [--frames N]`."""

from __future__ import annotations

import argparse
import platform
import time

from monotakd_ros.simulation.drive import DriveSettings, SimulatedDrive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=1242)
    parser.add_argument("--height", type=int, default=375)
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {args.width} x {args.height} px")
    print(f"{'seed':>6} {'start s':>8} {'frames/s':>9}   ms per frame")
    for seed in args.seeds:
        print(measure(DriveSettings(args.frames + 1, seed, args.rate_hz, args.width, args.height)))


def measure(settings: DriveSettings) -> str:
    """One line about one drive; the first frame (which builds the street) counts as start."""
    start = time.perf_counter()
    drive = SimulatedDrive(settings)
    frames = drive.frames()
    next(frames)
    started = time.perf_counter()
    drive.stage_seconds = dict.fromkeys(drive.stage_seconds, 0.0)
    count = sum(1 for _ in frames)
    seconds = time.perf_counter() - started
    stages = ", ".join(f"{name} {1000 * value / count:.0f}" for name, value in drive.stage_seconds.items())
    return f"{settings.seed:6d} {started - start:8.2f} {count / seconds:9.2f}   {stages}"


if __name__ == "__main__":
    main()
