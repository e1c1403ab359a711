"""A made-up but plausible report, made-up frames and a reader of pages, for tests of pages, charts and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_groups import OCCLUSIONS, TRUNCATIONS
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.pictures import Picture

CLASSES = ("Car", "Pedestrian", "Cyclist")
BANDS_M = ((0, 10), (10, 20), (20, 30), (30, 40), (40, 60), (60, None))
BAND_NAMES = ("0-10 m", "10-20 m", "20-30 m", "30-40 m", "40-60 m", "over 60 m")
STRENGTH = {"Car": 1.0, "Pedestrian": 0.45, "Cyclist": 0.3}
COUNTS = {"Car": [411, 988, 1502], "Pedestrian": [104, 180, 230], "Cyclist": [22, 31, 40]}
METRIC_AP = {"2d": 84.0, "aos": 80.0, "bev": 26.0, "3d": 18.4}
GREATEST_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what matters."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.headings: list[int] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute of <{tag}> is given twice"
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("href", "src", "action", "data", "srcset") if key in values]
        self.images += [values] if tag == "img" else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def needs_nothing_from_outside(self) -> bool:
        inside = all(link.startswith(("#", "data:image/jpeg;base64,")) for link in self.links)
        fetched = {"script", "link", "iframe", "object", "base"}.intersection(self.tags)
        return inside and not fetched and "@import" not in self.html and not re.search(r"url\((?!#)", self.html)

    def links_lead_somewhere(self) -> bool:
        targets = {link[1:] for link in self.links if link.startswith("#")}
        return len(self.ids) == len(set(self.ids)) and targets <= set(self.ids)

    def headings_skip_no_level(self) -> bool:
        pairs = zip(self.headings, self.headings[1:])
        steps = all(after - before <= 1 for before, after in pairs if before > 1)
        return self.headings[0] == 1 and self.headings.count(1) == 1 and steps


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Page]:
    """Parses a page, which must be balanced, into what matters of it."""
    return Page


@pytest.fixture(scope="session")
def make_report() -> Callable[..., dict[str, Any]]:
    """A whole report; keyword arguments replace sections."""
    return _report


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., Picture]:
    """A small picture with any text."""
    return _picture


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., EvaluationFrame]:
    """An evaluation frame from rows (class, x, z) of ground truth and (class, x, z, score) of results.

    Boxes are 4 m long, 2 m wide and 1.5 m high, face right, and stand on the road 1.7 m below the camera; in the image
    each is 60 px tall, at `100 x` px.
    """
    return _frame


def _picture(kind: str = "best", name: str = "000007", text: str = "7 of 7 found, none wrong") -> Picture:
    jpeg = cv2.imencode(".jpg", np.full((20, 60, 3), 90, dtype=np.uint8))[1].tobytes()
    return Picture(kind, name, text, jpeg, 60, 20, f"Camera image of frame {name}: {text}.")


def _report(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    report = {
        "format": 1,
        "run": _run(),
        "frames": {
            "evaluated": 1204,
            "missing": {"count": 2, "names": ["000113", "000114"]},
            "extra": {"count": 0, "names": []},
            "skipped": {"count": 1, "reasons": ["000007.png: the image ends early"]},
        },
        "classes": list(CLASSES),
        "counts": {name: {"truth": COUNTS[name][2] + 60, "results": 2 * COUNTS[name][2]} for name in CLASSES}
        | {"Van": {"truth": 38, "results": 0}},
        "warnings": ["2 labelled frames have no results and were left out"],
        "kitti_ap": _kitti_ap(),
        "kitti_ap_interval": _intervals(_kitti_ap()),
        "curves": _curves(),
        "ap_by_distance": _groups(BAND_NAMES, falling=0.55),
        "ap_by_occlusion": _groups(tuple(OCCLUSIONS), falling=0.5),
        "ap_by_truncation": _groups(tuple(TRUNCATIONS), falling=0.7),
        "errors": {name: _errors(name, rng) for name in CLASSES},
        "reliability": {name: _reliability(rng) for name in CLASSES},
        "coverage": {name: _coverage(name) for name in CLASSES},
        "nuscenes": _nuscenes(),
        "latency_ms": {
            stage: {"p50": ms, "p95": 1.3 * ms, "p99": 1.7 * ms, "mean": 1.05 * ms, "first": 6 * ms, "samples": 1203}
            for stage, ms in {"read": 6.1, "prepare": 3.2, "network": 41.7, "decode": 4.4, "detect": 49.3}.items()
        },
        "pictures": [{"kind": "best", "frame": "000007", "text": "7 of 7 found, none wrong"}],
    }
    return report | changes


def _run() -> dict[str, Any]:
    return {
        "mode": "checkpoint",
        "title": "student_small.pt on simulated drives",
        "created": "2026-01-05T14:03:00+00:00",
        "commit": "a3c297a8d7f0c1b2",
        "versions": {"monotakd_ros": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        "device": "NVIDIA H200",
        "amp": "float16",
        "checkpoint": {"file": "student_small.pt", "sha256": "0f" * 32, "config": "student_small.yaml"},
        "results": None,
        "sources": [{"name": "simulation", "path": "drives/held_out", "frames": 1204}],
        "seed": 0,
        "score": None,
        "resamples": 1000,
        "block_frames": 10,
        "confidence": 0.95,
    }


def _kitti_ap() -> dict[str, Any]:
    levels = (1.25, 1.0, 0.82)

    def cell(name: str, metric: str, overlaps: str) -> dict[str, Any]:
        lift = 1.0 if overlaps == "strict" or metric in ("2d", "aos") else 2.6
        r40 = [min(99.0, METRIC_AP[metric] * STRENGTH[name] * lift * level) for level in levels]
        return {"R40": r40, "R11": [min(99.5, 1.08 * value) for value in r40], "n_gt": COUNTS[name]}

    return {
        overlaps: {name: {metric: cell(name, metric, overlaps) for metric in METRIC_AP} for name in CLASSES}
        for overlaps in ("strict", "loose")
    }


def _intervals(ap: dict[str, Any]) -> dict[str, Any]:
    return {
        overlaps: {
            name: {
                metric: [[0.82 * value, min(100.0, 1.2 * value)] for value in cell["R40"]]
                for metric, cell in of_class.items()
            }
            for name, of_class in of_limits.items()
        }
        for overlaps, of_limits in ap.items()
    }


def _curves() -> dict[str, Any]:
    recall = np.linspace(0, 1, 41)

    def curve(name: str, overlaps: str, level: float) -> list[float]:
        reach = STRENGTH[name] * (0.42 if overlaps == "strict" else 0.85) * level
        values = np.where(recall <= reach, 0.97 - 0.5 * (recall / reach) ** 2, 0.0)
        return np.maximum.accumulate(values[::-1])[::-1].tolist()

    levels = {"easy": 1.15, "moderate": 1.0, "hard": 0.85}
    return {
        overlaps: {
            name: {
                metric: {level: curve(name, overlaps, factor) for level, factor in levels.items()}
                for metric in METRIC_AP
            }
            for name in CLASSES
        }
        for overlaps in ("strict", "loose")
    }


def _groups(names: tuple[str, ...], falling: float) -> dict[str, Any]:
    def row(name: str, group: str, index: int) -> dict[str, Any]:
        near = 34.0 * STRENGTH[name] * falling**index
        last = index == len(names) - 1 and name != "Car"
        n_gt = 0 if last else int(COUNTS[name][2] * 0.6 ** (index + 1)) + 3
        ap = {"strict": {"3d": near, "bev": 1.3 * near}, "loose": {"3d": 2.0 * near, "bev": 2.3 * near}}
        if last:
            ap = {overlaps: {"3d": None, "bev": None} for overlaps in ap}
        return {"group": group, "n_gt": n_gt, **ap}

    return {name: [row(name, group, index) for index, group in enumerate(names)] for name in CLASSES}


def _statistics(count: int, far: float = 1.0) -> dict[str, Any]:
    figures = {
        "along_ray_bias_m": 0.21 * far,
        "along_ray_mean_m": 0.3 * far,
        "along_ray_median_abs_m": 0.66 * far,
        "along_ray_p90_abs_m": 2.1 * far,
        "along_ray_relative_median": 0.031,
        "depth_bias_m": 0.19 * far,
        "depth_median_abs_m": 0.63 * far,
        "across_ray_median_abs_m": 0.12 * far,
        "height_bias_m": -0.04,
        "yaw_median_abs_deg": 6.2 * far,
        "yaw_flipped_share": 0.031,
        "yaw_axis_median_abs_deg": 4.1 * far,
        "length_bias_m": -0.08,
        "width_bias_m": 0.02,
        "box_height_bias_m": 0.01,
    }
    return {"count": count, **{name: value if count else None for name, value in figures.items()}}


def _errors(name: str, rng: np.random.Generator) -> dict[str, Any]:
    count = int(1500 * STRENGTH[name])
    distance = rng.gamma(3.0, 8.0, count).clip(3, 75)
    error = rng.normal(0.1, 1, count) * (0.25 + 0.03 * distance)
    bands = []
    for index, (low, high) in enumerate(BANDS_M):
        inside = int(((distance >= low) & (distance < (high or np.inf))).sum())
        bands.append({"from_m": low, "to_m": high, **_statistics(inside, 0.5 + 0.5 * index)})
    point = {"score": 0.41, "precision": 0.79, "recall": 0.66, "f1": 0.719, "correct": 812, "wrong": 216, "missed": 418}
    return {
        "operating_point": point,
        "all": _statistics(count),
        "by_distance": bands,
        "points": np.column_stack([distance, error]).round(2).tolist(),
    }


def _reliability(rng: np.random.Generator) -> dict[str, Any]:
    counts = rng.integers(20, 400, 10)
    bins = [
        {
            "from": index / 10,
            "to": (index + 1) / 10,
            "count": int(counts[index]),
            "mean_score": index / 10 + 0.05,
            "correct_share": ((index + 0.5) / 10) ** 1.4,
        }
        for index in range(10)
    ]
    return {"bins": bins, "expected_calibration_error": 0.081, "count": int(counts.sum())}


def _coverage(name: str) -> dict[str, Any]:
    power = {"Car": 2.2, "Pedestrian": 1.0, "Cyclist": 0.6}[name]
    observed = [level**power for level in GREATEST_LEVELS]
    inside = {"Car": 0.71, "Pedestrian": 0.95, "Cyclist": 0.99}[name]
    return {
        "count": int(800 * STRENGTH[name]),
        "levels": list(GREATEST_LEVELS),
        "observed": observed,
        "inside_95": inside,
        "interval_95": [inside - 0.02, min(1.0, inside + 0.02)],
        "scale_to_95": {"Car": 1.8, "Pedestrian": 1.0, "Cyclist": 0.62}[name],
        "along_ray_inside_95": inside,
        "median_sigma_along_ray_m": 0.84,
    }


def _nuscenes() -> dict[str, Any]:
    def row(name: str) -> dict[str, Any]:
        ap = {limit: value * STRENGTH[name] for limit, value in zip(("0.5", "1.0", "2.0", "4.0"), (0.2, 0.4, 0.6, 0.7))}
        mean = sum(ap.values()) / 4
        return {"ap": ap, "mean_ap": mean, "ate_m": 0.62, "ase": 0.18, "aoe_rad": 0.21, "n_gt": COUNTS[name][2]}

    return {
        "classes": {name: row(name) for name in CLASSES},
        "mean_ap": 0.277,
        "mate_m": 0.62,
        "mase": 0.18,
        "maoe_rad": 0.21,
        "nds_without_velocity_attribute": 0.42,
    }


def _frame(
    name: str,
    truth: Sequence[tuple[str, float, float]] = (),
    results: Sequence[tuple[str, float, float, float]] = (),
    dont_care: Sequence[Sequence[float]] = (),
    hidden: Sequence[int] = (),
) -> EvaluationFrame:
    labelled = _side([row[0] for row in truth], [row[1:] for row in truth], np.zeros(len(truth)))
    labelled = replace(
        labelled, occlusion=np.array([3 if i in hidden else 0 for i in range(len(truth))], dtype=np.int64)
    )
    regions = _side(["DontCare"] * len(dont_care), [(0.0, 0.0)] * len(dont_care), np.zeros(len(dont_care)))
    nowhere, nothing = np.full((len(dont_care), 3), -1000.0), np.full((len(dont_care), 3), -1.0)
    px = np.array(dont_care, dtype=np.float64).reshape(-1, 4)
    regions = replace(regions, bbox_px=px, location_cam=nowhere, hwl=nothing)
    found = _side([row[0] for row in results], [row[1:3] for row in results], np.array([row[3] for row in results]))
    return EvaluationFrame(name, _joined(labelled, regions), found)


def _side(names: Sequence[str], places: Sequence[Sequence[float]], score: np.ndarray) -> KittiFrame:
    count = len(names)
    x, z = np.array(places, dtype=np.float64).reshape(-1, 2).T
    return KittiFrame(
        names=tuple(names),
        bbox_px=np.column_stack([100 * x, np.full(count, 100.0), 100 * x + 80, np.full(count, 160.0)]),
        hwl=np.tile([1.5, 2.0, 4.0], (count, 1)),
        location_cam=np.column_stack([x, np.full(count, 1.7), z]),
        rotation_y=np.zeros(count),
        alpha=np.zeros(count),
        score=np.asarray(score, dtype=np.float64),
        truncation=np.zeros(count),
        occlusion=np.zeros(count, dtype=np.int64),
    )


def _joined(a: KittiFrame, b: KittiFrame) -> KittiFrame:
    arrays = {key: np.concatenate([value, getattr(b, key)]) for key, value in vars(a).items() if key != "names"}
    return KittiFrame(names=a.names + b.names, **arrays)
