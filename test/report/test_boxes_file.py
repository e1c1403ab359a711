"""The boxes of a report come back bit for bit; other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.errors import SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.boxes_file import read_boxes, write_boxes


def record(count: int, seed: int) -> KittiFrame:
    rng = np.random.default_rng(seed)
    return KittiFrame(
        names=tuple(["Car", "Person_sitting", "DontCare", "Ümlaut"][index % 4] for index in range(count)),
        bbox_px=rng.normal(size=(count, 4)),
        hwl=rng.normal(size=(count, 3)),
        location_cam=rng.normal(size=(count, 3)),
        rotation_y=rng.normal(size=count),
        alpha=rng.normal(size=count),
        score=rng.random(count),
        truncation=rng.random(count),
        occlusion=rng.integers(-1, 4, count),
    )


@pytest.mark.parametrize("counts", [[(3, 2), (0, 0), (1, 5), (0, 2)], [(0, 0)], []])
def test_frames_come_back_unchanged(tmp_path: Path, counts: list[tuple[int, int]]) -> None:
    frames = [EvaluationFrame(f"drive/{i:06d}", record(a, i), record(b, i + 99)) for i, (a, b) in enumerate(counts)]
    write_boxes(tmp_path / "boxes.npz", frames)
    back = read_boxes(tmp_path / "boxes.npz")
    assert [frame.name for frame in back] == [frame.name for frame in frames]
    for one, other in zip(frames, back):
        for side in ("truth", "results"):
            for column, values in vars(getattr(one, side)).items():
                got = getattr(getattr(other, side), column)
                assert got == values if column == "names" else np.array_equal(got, values)
                assert column == "names" or got.dtype == values.dtype


def test_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read the boxes of a report"):
        read_boxes(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(SourceError, match=r"text\.npz: cannot read"):
        read_boxes(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(SourceError, match=r"other\.npz: cannot read"):
        read_boxes(tmp_path / "other.npz")
