"""The report's content: golden keys, plain values, the devkit's figures, and sides with nothing in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.evaluation.bootstrap import Resampling
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.kitti_folders import gather_kitti
from monotakd_ros.report.scoring import ScoringOptions, operating_scores, score

QUICK = ScoringOptions(resampling=Resampling(resamples=20))
RUN = {"mode": "results", "title": "test"}
SECTIONS = [
    *("format", "run", "frames", "classes", "counts", "warnings", "kitti_ap", "kitti_ap_interval", "curves"),
    *("ap_by_distance", "ap_by_occlusion", "ap_by_truncation", "errors", "reliability", "coverage", "nuscenes"),
    *("latency_ms", "pictures"),
]


def car(z: float, score_: float = 0.0, **columns) -> KittiFrame:
    values = {"truncation": np.zeros(1), "occlusion": np.zeros(1, np.int64), "score": np.array([score_])} | columns
    return KittiFrame(
        names=("Car",),
        bbox_px=np.array([[500.0, 100.0, 580.0, 160.0]]),
        hwl=np.array([[1.5, 1.6, 4.0]]),
        location_cam=np.array([[0.0, 1.7, z]]),
        rotation_y=np.zeros(1),
        alpha=np.zeros(1),
        **values,
    )


@pytest.mark.parametrize("case", ["main", "ties"])
def test_figures_of_the_devkit_reach_the_report(data_dir: Path, case: str) -> None:
    folder = data_dir / "ap_golden"
    if not folder.is_dir():
        pytest.skip(f"no devkit figures at {folder}")
    gathered = gather_kitti(folder / f"pred_{case}", folder / "label_2", folder / "frames.txt", allow_missing=False)
    report = json.loads(json.dumps(score(gathered, QUICK), allow_nan=False))
    expected = json.loads((folder / "golden.json").read_text())["cases"][case]
    curves = json.loads((folder / "curves.json").read_text())[case]
    for overlaps in ("strict", "loose"):
        for name in ("Car", "Pedestrian", "Cyclist"):
            for metric in ("2d", "aos", "bev", "3d"):
                for figure in ("R40", "R11"):
                    got = report["kitti_ap"][overlaps][name][metric][figure]
                    assert got == pytest.approx(expected[overlaps][name][metric][figure], abs=1e-9)
                if metric in curves[overlaps][name]:
                    for level, curve in zip(("easy", "moderate", "hard"), curves[overlaps][name][metric]):
                        assert report["curves"][overlaps][name][metric][level] == pytest.approx(curve, abs=2e-6)


def test_every_section_is_there_and_plain() -> None:
    frames = [EvaluationFrame(str(i), car(10.0 + i), car(10.1 + i, 0.9), 0.1 * np.eye(3)[None]) for i in range(12)]
    seconds = {stage: [0.01, 0.02] for stage in ("prepare", "network", "decode")}
    report = score(Gathered(tuple(frames), dict(RUN), seconds=seconds), QUICK)
    assert list(report) == SECTIONS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["classes"] == ["Car"]
    assert report["counts"] == {"Car": {"truth": 12, "results": 12}}
    assert report["latency_ms"]["detect"]["p99"] == pytest.approx(60.0)
    assert report["coverage"]["Car"]["count"] == 12
    assert report["errors"]["Car"]["all"]["along_ray_bias_m"] == pytest.approx(0.1, abs=0.01)
    assert report["run"]["seed"] == 0
    assert operating_scores(report)["Car"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (EvaluationFrame("0", KittiFrame.empty(), KittiFrame.empty()),),
        (EvaluationFrame("0", KittiFrame.empty(), car(9.0, 0.5)),),
        (EvaluationFrame("0", car(9.0), KittiFrame.empty()),),
    ],
    ids=["no frames", "empty frame", "no truth", "no results"],
)
def test_sides_without_boxes_are_defined(frames: tuple[EvaluationFrame, ...]) -> None:
    report = score(Gathered(frames, dict(RUN)), QUICK)
    assert list(report) == SECTIONS
    json.dumps(report, allow_nan=False)


def test_unknown_occlusion_and_scores_beyond_one_leave_sections_out() -> None:
    truth = car(9.0, truncation=np.array([-1.0]), occlusion=np.array([-1]))
    report = score(Gathered((EvaluationFrame("0", truth, car(9.0, 7.5)),), dict(RUN)), QUICK)
    assert report["ap_by_occlusion"] is None
    assert report["ap_by_truncation"] is None
    assert report["reliability"] is None
    assert any("no probabilities" in warning for warning in report["warnings"])
    assert report["kitti_ap"]["strict"]["Car"]["3d"]["n_gt"] == [1, 1, 1]


def test_missing_frames_are_told() -> None:
    gathered = Gathered((EvaluationFrame("0", car(9.0), car(9.0, 0.5)),), dict(RUN), missing=("1", "2"), extra=("7",))
    report = score(gathered, QUICK)
    assert report["frames"]["missing"] == {"count": 2, "names": ["1", "2"]}
    assert any(warning.startswith("Labelled frames without results, left out: 2") for warning in report["warnings"])
    assert any(warning.startswith("Frames without labels, left out: 1") for warning in report["warnings"])


def test_no_resamples_no_intervals() -> None:
    assert (
        score(Gathered((), dict(RUN)), ScoringOptions(resampling=Resampling(resamples=0)))["kitti_ap_interval"] is None
    )
