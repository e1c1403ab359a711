"""Memory and speed of `monotakd generate` against the size of the recording.

Makes bags of the sizes asked for by looping a recording (stamps go on), then generates from each with one process and
tells peak resident memory (VmHWM), images a second and what bounds it.

python benchmarks/generate_memory.py BAG --teacher CKPT [--assistant CKPT] --work FOLDER --gigabytes 0.1 1 10
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from rosbags.rosbag2 import Reader, StoragePlugin, Writer

CDR_HEADER = 4
"""Bytes before the first field of a serialized message, which is the header's stamp (int32 s, uint32 ns)."""
WITHOUT_HEADER = ("tf2_msgs/msg/TFMessage", "std_msgs/msg/String")
GAP_NS = 100_000_000
POLL_S = 0.1


def loop_bag(source: Path, out: Path, gigabytes: float) -> int:
    """Write `source` over and over until the messages reach `gigabytes`; returns the number of loops."""
    written = loops = 0
    with Reader(source) as reader, Writer(out, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            connection.id: writer.add_connection(
                connection.topic,
                connection.msgtype,
                msgdef=connection.msgdef.data,
                rihs01=connection.digest,
                offered_qos_profiles=connection.ext.offered_qos_profiles,
            )
            for connection in reader.connections
        }
        span_ns = reader.end_time - reader.start_time + GAP_NS
        while written < gigabytes * 1e9:
            for connection, stamp_ns, data in reader.messages():
                shift_ns = loops * span_ns
                if connection.msgtype not in WITHOUT_HEADER:
                    data = shifted(data, shift_ns)
                elif loops:
                    continue
                writer.write(connections[connection.id], stamp_ns + shift_ns, data)
                written += len(data)
            loops += 1
    return loops


def shifted(data: bytes, shift_ns: int) -> bytes:
    """A serialized little-endian message whose header's stamp is `shift_ns` later."""
    seconds, nanoseconds = struct.unpack_from("<iI", data, CDR_HEADER)
    later_ns = seconds * 10**9 + nanoseconds + shift_ns
    changed = bytearray(data)
    struct.pack_into("<iI", changed, CDR_HEADER, later_ns // 10**9, later_ns % 10**9)
    return bytes(changed)


def run(command: list[str]) -> tuple[str, float, float]:
    """Run a command; returns what it printed, its seconds and its peak resident memory, MiB."""
    started, peak_kib = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak_kib = max(peak_kib, peak_of(process.pid))
            time.sleep(POLL_S)
        printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{printed}")
    return printed, time.perf_counter() - started, peak_kib / 1024


def peak_of(pid: int) -> int:
    """VmHWM of a process, KiB; 0 when it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--assistant", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for bags and sets; each is removed when done")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--max-rate", type=float, default=2.0, help="frames kept a second (default: 2)")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| bag, GB | images | peak memory, MiB | seconds | |\n|---|---|---|---|---|")
    for size in args.gigabytes:
        bag, out = args.work / f"loop_{size:g}", args.work / f"set_{size:g}"
        loop_bag(args.bag, bag, size)
        guides = ["--teacher", str(args.teacher), *(["--assistant", str(args.assistant)] if args.assistant else [])]
        words = ["generate", str(bag), "--out", str(out), *guides, "--jobs", "1", "--max-rate", str(args.max_rate)]
        printed, seconds, peak_mib = run([sys.executable, "-m", "monotakd_ros.cli.main", *words])
        total = sum(item.stat().st_size for item in bag.iterdir()) / 1e9
        lines = printed.splitlines()
        print(f"| {total:.2f} | {lines[0].split()[0]} | {peak_mib:.0f} | {seconds:.0f} | {lines[1]} |", flush=True)
        shutil.rmtree(bag)
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
