"""What keeping freed memory in the process saves: `python benchmarks/allocator.py`.

Runs the small student's forward pass in two fresh processes, with glibc's default and with `keep_freed_memory`, and
prints the median milliseconds, the page faults per pass and the ratio.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time

PASSES = 15


def measure(keep: bool) -> dict[str, float]:
    """Median time of a pass, ms, and minor page faults per pass."""
    import numpy as np
    import torch

    from monotakd_ros.allocator import keep_freed_memory
    from monotakd_ros.config_file import load_config
    from monotakd_ros.data.preprocess import collate, prepare
    from monotakd_ros.frame import Frame
    from monotakd_ros.geometry.camera import CameraModel
    from monotakd_ros.network.student import build_student
    from monotakd_ros.shipped import shipped_path

    if keep and not keep_freed_memory():
        raise SystemExit("this system has no glibc: nothing to measure")
    config = load_config(shipped_path("config", "student_small.yaml")).student
    student = build_student(config).eval()
    camera = CameraModel.from_intrinsics(721.5, 721.5, 609.6, 172.9, 1242, 375)
    image = np.random.default_rng(0).integers(0, 255, (375, 1242, 3), dtype=np.uint8)
    batch = collate([prepare(Frame("0", 0, image, camera), config.input, config.class_names)])
    seconds = []
    with torch.inference_mode():
        student(batch)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(PASSES):
            start = time.perf_counter()
            student(batch)
            seconds.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {"milliseconds": 1e3 * statistics.median(seconds), "page_faults": faults / PASSES}


def main() -> None:
    """Measure both ways and print the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1] == "keep")))
        return
    results = {}
    for mode in ("default", "keep"):
        output = subprocess.run([sys.executable, __file__, mode], check=True, capture_output=True, text=True).stdout
        results[mode] = json.loads(output)
        print(f"{mode:8s} {results[mode]['milliseconds']:7.1f} ms  {results[mode]['page_faults']:8.0f} page faults")
    print(f"ratio    {results['default']['milliseconds'] / results['keep']['milliseconds']:.2f}")


if __name__ == "__main__":
    main()
