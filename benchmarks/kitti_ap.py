"""KITTI AP against a plain loop that walks as the devkit does: `python benchmarks/kitti_ap.py [--data AP_GOLDEN]`.

The plain loop is written from the same words (`evaluation/kitti_ap.py`) with nothing vectorised: one class, metric,
difficulty, score limit, frame, ground truth and result at a time, footprints clipped by shapely. It is the second
opinion of `test/evaluation/test_plain_loop.py`, too. The validation set of 3,769 frames is made by repeating and
jittering recorded frames (a folder like `ap_golden` with label_2, pred_main and frames.txt), or random ones.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from shapely import affinity, geometry

from monotakd_ros.evaluation.kitti_ap import DIFFICULTIES, KITTI_CLASSES, METRICS, OVERLAPS, kitti_ap
from monotakd_ros.frame import KittiFrame

VALIDATION_FRAMES = 3769
HEIGHT, OCCLUSION, TRUNCATION = (40, 25, 25), (0, 1, 2), (0.15, 0.3, 0.5)
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}


def plain_kitti_ap(truth: Sequence[KittiFrame], results: Sequence[KittiFrame]) -> dict[str, Any]:
    """What `kitti_ap` returns (without its None for what is not evaluated), one box at a time."""
    overlaps = [_frame_overlaps(*pair) for pair in zip(truth, results)]
    return {
        limits: {
            name: {metric: _figures(truth, results, overlaps, (limits, name, metric)) for metric in METRICS}
            for name in KITTI_CLASSES
        }
        for limits in OVERLAPS
    }


def _figures(truth: Sequence, results: Sequence, overlaps: list, what: tuple[str, str, str]) -> dict[str, list[float]]:
    curves = [_curve(truth, results, overlaps, what, level) for level in range(len(DIFFICULTIES))]
    return {
        "R40": [100 * sum(curve[1:]) / 40 for curve in curves],
        "R11": [100 * sum(curve[::4]) / 11 for curve in curves],
    }


def _curve(
    truth: Sequence[KittiFrame],
    results: Sequence[KittiFrame],
    overlaps: list[dict[str, list[list[float]]]],
    what: tuple[str, str, str],
    level: int,
) -> list[float]:
    limits, name, metric = what
    limit = _limit(limits, name, metric)
    kind = "2d" if metric == "aos" else metric
    states = [(_truth_states(t, name, level), _result_states(r, name, level)) for t, r in zip(truth, results)]
    num_counted = sum(state == "counts" for of_truth, _ in states for state in of_truth)
    hits: list[float] = []
    for t, r, overlap, state in zip(truth, results, overlaps, states):
        hits += _frame_hits(t, r, overlap[kind], state, limit)
    curve = []
    for threshold in _limits(hits, num_counted):
        right = wrong = similar = 0.0
        for t, r, overlap, state in zip(truth, results, overlaps, states):
            counts = _frame_counts(t, r, overlap[kind], state, (limit, threshold, kind))
            right, wrong, similar = right + counts[0], wrong + counts[1], similar + counts[2]
        good = similar if metric == "aos" else right
        curve.append(good / (right + wrong) if right + wrong else 0.0)
    curve += [0.0] * max(41 - len(curve), 0)
    for index in range(len(curve) - 2, -1, -1):
        curve[index] = max(curve[index], curve[index + 1])
    return curve[:41]


def _limit(limits: str, name: str, metric: str) -> float:
    if limits == "loose" and metric in ("bev", "3d"):
        return 0.5 if name == "Car" else 0.25
    return 0.7 if name == "Car" else 0.5


def _truth_states(frame: KittiFrame, name: str, level: int) -> list[str]:
    states = []
    for index, kind in enumerate(frame.names):
        height = frame.bbox_px[index, 3] - frame.bbox_px[index, 1]
        hard = frame.occlusion[index] > OCCLUSION[level] or frame.truncation[index] > TRUNCATION[level]
        if kind == name:
            states.append("ignored" if hard or height <= HEIGHT[level] else "counts")
        else:
            states.append("ignored" if kind == NEIGHBOUR.get(name) else "absent")
    return states


def _result_states(frame: KittiFrame, name: str, level: int) -> list[str]:
    states = []
    for index, kind in enumerate(frame.names):
        if int(abs(frame.bbox_px[index, 3] - frame.bbox_px[index, 1])) < HEIGHT[level]:
            states.append("ignored")
        else:
            states.append("counts" if kind == name else "absent")
    return states


def _frame_hits(truth: KittiFrame, results: KittiFrame, overlap: list, state: tuple, limit: float) -> list[float]:
    of_truth, of_result = state
    taken = [False] * len(results)
    hits = []
    for i in range(len(truth)):
        best = -1
        for j in range(len(results)):
            if of_truth[i] == "absent" or of_result[j] == "absent" or taken[j] or overlap[i][j] <= limit:
                continue
            if best < 0 or results.score[j] > results.score[best]:
                best = j
        if best >= 0:
            taken[best] = True
            if of_truth[i] == "counts" and of_result[best] == "counts":
                hits.append(float(results.score[best]))
    return hits


def _frame_counts(
    truth: KittiFrame, results: KittiFrame, overlap: list, state: tuple, what: tuple[float, float, str]
) -> tuple[float, float, float]:
    (of_truth, of_result), (limit, threshold, kind) = state, what
    taken = [False] * len(results)
    right = wrong = similar = 0.0
    for i in range(len(truth)):
        best = -1
        if of_truth[i] == "absent":
            continue
        for j in range(len(results)):
            if of_result[j] == "absent" or taken[j] or results.score[j] < threshold or overlap[i][j] <= limit:
                continue
            if best < 0 or (
                of_result[j] == "counts" and (of_result[best] == "ignored" or overlap[i][j] > overlap[i][best])
            ):
                best = j
        if best >= 0:
            taken[best] = True
            if of_truth[i] == "counts" and of_result[best] == "counts":
                right += 1
                similar += (1 + math.cos(truth.alpha[i] - results.alpha[best])) / 2
    for j in range(len(results)):
        left = of_result[j] == "counts" and not taken[j] and results.score[j] >= threshold
        if left and not (kind == "2d" and _in_dont_care(truth, results, j, limit)):
            wrong += 1
    return right, wrong, similar


def _in_dont_care(truth: KittiFrame, results: KittiFrame, j: int, limit: float) -> bool:
    for i, kind in enumerate(truth.names):
        if kind == "DontCare":
            box = results.bbox_px[j]
            area = (box[2] - box[0]) * (box[3] - box[1])
            if area > 0 and _shared_px(box, truth.bbox_px[i]) / area > limit:
                return True
    return False


def _limits(hits: list[float], num_counted: int) -> list[float]:
    limits, due = [], 0.0
    hits = sorted(hits, reverse=True)
    for position, score in enumerate(hits):
        here, following = (position + 1) / num_counted, (position + 2) / num_counted
        if position < len(hits) - 1 and following - due < due - here:
            continue
        limits.append(score)
        due += 1 / 40
    return limits


def _frame_overlaps(truth: KittiFrame, results: KittiFrame) -> dict[str, list[list[float]]]:
    table: dict[str, list[list[float]]] = {"2d": [], "bev": [], "3d": []}
    for i in range(len(truth)):
        rows = [_overlaps(truth, i, results, j) for j in range(len(results))]
        for index, metric in enumerate(table):
            table[metric].append([row[index] for row in rows])
    return table


def _overlaps(truth: KittiFrame, i: int, results: KittiFrame, j: int) -> tuple[float, float, float]:
    a, b = truth.bbox_px[i], results.bbox_px[j]
    shared = _shared_px(a, b)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    image = shared / total if total > 0 else 0.0
    if min(truth.hwl[i]) <= 0 or min(results.hwl[j]) <= 0:
        return image, 0.0, 0.0
    p, q = _footprint(truth, i), _footprint(results, j)
    area = p.intersection(q).area
    bev = area / (p.area + q.area - area)
    (y1, h1), (y2, h2) = (truth.location_cam[i, 1], truth.hwl[i, 0]), (results.location_cam[j, 1], results.hwl[j, 0])
    volume = area * max(min(y1, y2) - max(y1 - h1, y2 - h2), 0.0)
    return image, bev, volume / (p.area * h1 + q.area * h2 - volume)


def _shared_px(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def _footprint(frame: KittiFrame, index: int) -> geometry.Polygon:
    _, width, length = frame.hwl[index]
    flat = geometry.box(-length / 2, -width / 2, length / 2, width / 2)
    turned = affinity.rotate(flat, -frame.rotation_y[index], origin=(0, 0), use_radians=True)
    return affinity.translate(turned, frame.location_cam[index, 0], frame.location_cam[index, 2])


def random_frames(count: int, seed: int) -> tuple[list[KittiFrame], list[KittiFrame]]:
    """Ground truth and results of `count` frames: neighbours, DontCare, tied scores, near misses, small boxes."""
    rng = np.random.default_rng(seed)
    pairs = [_random_frame(rng) for _ in range(count)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _random_frame(rng: np.random.Generator) -> tuple[KittiFrame, KittiFrame]:
    number = int(rng.integers(0, 7))
    kinds = ("Car", "Van", "Pedestrian", "Person_sitting", "Cyclist")
    names = [str(name) for name in rng.choice(kinds, number, p=(0.4, 0.15, 0.2, 0.1, 0.15))]
    sizes = {"Car": (1.5, 1.6, 3.9), "Van": (2.1, 1.9, 5.0), "Cyclist": (1.7, 0.6, 1.8)}
    hwl = np.array([sizes.get(name, (1.7, 0.6, 0.8)) for name in names]).reshape(-1, 3)
    location = np.column_stack([rng.uniform(-8, 8, number), np.full(number, 1.7), rng.uniform(6, 45, number)])
    truth = KittiFrame(
        names=tuple(names),
        bbox_px=_bbox(hwl, location),
        hwl=hwl,
        location_cam=location,
        rotation_y=rng.uniform(-3, 3, number),
        alpha=rng.uniform(-3, 3, number),
        score=np.zeros(number),
        truncation=np.round(rng.choice([0.0, 0.1, 0.2, 0.4, 0.9], number), 2),
        occlusion=rng.integers(0, 4, number),
    )
    return _with_dont_care(truth, rng), _random_results(truth, rng)


def _bbox(hwl: np.ndarray, location: np.ndarray) -> np.ndarray:
    u = 610 + 720 * location[:, 0] / location[:, 2]
    v = 173 + 720 * location[:, 1] / location[:, 2]
    half, tall = 360 * hwl[:, 2] / location[:, 2], 720 * hwl[:, 0] / location[:, 2]
    return np.column_stack([u - half, v - tall, u + half, v])


def _random_results(truth: KittiFrame, rng: np.random.Generator) -> KittiFrame:
    source = rng.integers(0, max(len(truth), 1), rng.integers(0, 12)) if len(truth) else np.zeros(0, dtype=int)
    count = len(source)
    location = truth.location_cam[source] + rng.normal(0, 0.25, (count, 3)) * rng.choice([0.3, 1, 8], (count, 1))
    location[:, 2] = np.maximum(location[:, 2], 4)
    hwl = truth.hwl[source] * rng.uniform(0.95, 1.05, (count, 3))
    names = [truth.names[index] if rng.random() < 0.85 else "Pedestrian" for index in source]
    return KittiFrame(
        names=tuple(name.replace("Van", "Car").replace("Person_sitting", "Pedestrian") for name in names),
        bbox_px=_bbox(hwl, location),
        hwl=hwl,
        location_cam=location,
        rotation_y=truth.rotation_y[source] + rng.normal(0, 0.1, count),
        alpha=truth.alpha[source] + rng.normal(0, 0.3, count),
        score=np.round(rng.uniform(0, 1, count), int(rng.integers(1, 4))),
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1, dtype=np.int64),
    )


def _with_dont_care(frame: KittiFrame, rng: np.random.Generator) -> KittiFrame:
    if rng.random() < 0.5:
        return frame
    left, top = rng.uniform(0, 900), rng.uniform(100, 200)
    region = KittiFrame(
        names=("DontCare",),
        bbox_px=np.array([[left, top, left + 300, top + 120]]),
        hwl=np.full((1, 3), -1.0),
        location_cam=np.full((1, 3), -1000.0),
        rotation_y=np.full(1, -10.0),
        alpha=np.full(1, -10.0),
        score=np.zeros(1),
        truncation=np.full(1, -1.0),
        occlusion=np.full(1, -1, dtype=np.int64),
    )
    columns = {
        name: values + region.names if name == "names" else np.concatenate([values, getattr(region, name)])
        for name, values in vars(frame).items()
    }
    return replace(frame, **columns)


def validation_set(folder: Path | None) -> tuple[list[KittiFrame], list[KittiFrame]]:
    """3,769 frames: those of `folder` again and again with jittered scores and places, or random ones."""
    if folder is None:
        return random_frames(VALIDATION_FRAMES, seed=0)
    from monotakd_ros.report.kitti_folders import gather_kitti

    frames = gather_kitti(folder / "pred_main", folder / "label_2", folder / "frames.txt", allow_missing=False).frames
    rng = np.random.default_rng(0)
    truth, results = [], []
    for index in range(VALIDATION_FRAMES):
        frame = frames[index % len(frames)]
        count = len(frame.results)
        moved = frame.results.location_cam + rng.normal(0, 0.1, (count, 3))
        scores = frame.results.score + rng.normal(0, 0.02, count)
        truth.append(frame.truth)
        results.append(replace(frame.results, location_cam=moved, score=scores))
    return truth, results


def main() -> None:
    """Time both and compare their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with label_2, pred_main and frames.txt (default: random)")
    parser.add_argument("--plain-frames", type=int, default=1000, help="frames of the plain loop (default: 1000)")
    args = parser.parse_args()
    truth, results = validation_set(args.data)
    kitti_ap(truth[:50], results[:50])
    started = time.perf_counter()
    kitti_ap(truth, results)
    whole_s = time.perf_counter() - started
    boxes = sum(map(len, truth)), sum(map(len, results))
    print(f"{len(truth)} frames, {boxes[0]} labels, {boxes[1]} results: {whole_s:.2f} s")
    few = truth[: args.plain_frames], results[: args.plain_frames]
    started = time.perf_counter()
    fast = kitti_ap(*few)
    fast_s = time.perf_counter() - started
    started = time.perf_counter()
    plain = plain_kitti_ap(*few)
    plain_s = time.perf_counter() - started
    print(f"{args.plain_frames} frames: {fast_s:.3f} s, plain loop {plain_s:.1f} s: {plain_s / fast_s:.0f} times")
    print(f"largest difference of any figure: {largest_difference(fast, plain):.1e} AP")


def largest_difference(ours: dict[str, Any], plain: dict[str, Any]) -> float:
    """Over all figures that ours evaluates."""
    differences = [0.0]
    for overlaps in OVERLAPS:
        for name in KITTI_CLASSES:
            for metric in METRICS:
                for figure in ("R40", "R11"):
                    pair = zip(ours[overlaps][name][metric][figure], plain[overlaps][name][metric][figure])
                    differences += [abs(a - b) for a, b in pair if a is not None]
    return max(differences)


if __name__ == "__main__":
    main()
