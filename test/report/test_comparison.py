"""Two reports on the same frames: the same is no difference, better is; other frames and labels are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.errors import SourceError
from monotakd_ros.evaluation.bootstrap import Resampling
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.comparison import compare_reports
from monotakd_ros.report.evaluate import ReportOptions, evaluate
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.scoring import ScoringOptions

DRAWS = Resampling(resamples=60)


def car(x: float, score: float = 0.0) -> KittiFrame:
    return KittiFrame(
        names=("Car",),
        bbox_px=np.array([[500.0, 100.0, 580.0, 160.0]]),
        hwl=np.array([[1.5, 1.6, 4.0]]),
        location_cam=np.array([[x, 1.7, 15.0]]),
        rotation_y=np.zeros(1),
        alpha=np.zeros(1),
        score=np.array([score]),
        truncation=np.zeros(1),
        occlusion=np.zeros(1, dtype=np.int64),
    )


def frames(share_right: float, count: int = 60) -> list[EvaluationFrame]:
    rng = np.random.default_rng(4)
    right = rng.random(count) < share_right
    return [EvaluationFrame(f"{i:06d}", car(0.0), car(0.0 if right[i] else 8.0, 0.5)) for i in range(count)]


def write(out: Path, content: list[EvaluationFrame], block_frames: int = 1) -> Path:
    scoring = ScoringOptions(("Car",), Resampling(resamples=5, block_frames=block_frames))
    evaluate(Gathered(tuple(content), {"mode": "results", "title": out.name}), out, ReportOptions(scoring, pictures=0))
    return out


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("reports")
    return write(folder / "weak", frames(0.3)), write(folder / "strong", frames(0.9))


def moderate(comparison):
    return next(d for d in comparison.differences if d.cell == ("strict", "Car", "3d", "moderate"))


def test_better_is_beyond_noise_and_the_same_is_not(reports: tuple[Path, Path]) -> None:
    weak, strong = reports
    comparison = compare_reports(weak, strong, DRAWS)
    assert comparison.titles == ("weak", "strong")
    assert (comparison.frames, comparison.left_out) == (60, 0)
    assert moderate(comparison).low > 0
    assert moderate(compare_reports(strong, weak, DRAWS)).high < 0
    assert not any(d.is_beyond_noise for d in compare_reports(strong, strong, DRAWS).differences)
    text = json.dumps(comparison.to_dict(), allow_nan=False)
    assert json.loads(text)["differences"][0]["class_name"] == "Car"


def test_blocks_of_the_reports_are_kept(reports: tuple[Path, Path], tmp_path: Path) -> None:
    blocked = write(tmp_path / "blocked", frames(0.9), block_frames=6)
    assert compare_reports(reports[0], blocked, DRAWS).resampling.block_frames == 6
    assert compare_reports(reports[0], blocked, replace(DRAWS, block_frames=3)).resampling.block_frames == 3


def test_other_frames_are_named(reports: tuple[Path, Path], tmp_path: Path) -> None:
    short = write(tmp_path / "short", frames(0.9)[:50])
    with pytest.raises(SourceError, match=r"frames only in .*weak: 10 \(000050, .* and 5 more\).*--allow-missing"):
        compare_reports(reports[0], short, DRAWS)
    comparison = compare_reports(reports[0], short, DRAWS, allow_missing=True)
    assert (comparison.frames, comparison.left_out) == (50, 10)


def test_other_labels_are_refused(reports: tuple[Path, Path], tmp_path: Path) -> None:
    moved = [replace(frame, truth=car(0.5)) if frame.name == "000007" else frame for frame in frames(0.9)]
    with pytest.raises(SourceError, match=r"ground truth of 1 of 60 frames differs \(000007\)"):
        compare_reports(reports[0], write(tmp_path / "moved", moved), DRAWS)


def test_folders_that_are_no_reports_are_refused(reports: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a report of `monotakd evaluate`"):
        compare_reports(reports[0], tmp_path, DRAWS)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(SourceError, match="not a report"):
        compare_reports(reports[0], tmp_path, DRAWS)
