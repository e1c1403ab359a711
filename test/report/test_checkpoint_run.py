"""A detector over labelled sources: names, what is left out and told, Ctrl-C, and the frames for the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from monotakd_ros.data.source import OnError, skip_bad_frames
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.evaluation.kitti_ap import kitti_ap
from monotakd_ros.frame import Detections3D, Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.report.checkpoint_run import RunOptions, gather_checkpoint
from monotakd_ros.report.scoring import ScoringOptions, score

NAME = CheckpointName("tiny.pt", "0" * 64)
BOXES = np.array([[12.0, 2.0, -0.9, 4.0, 1.7, 1.6, 0.1], [20.0, -3.0, -0.9, 4.0, 1.7, 1.6, 3.0]])


def make_frame(index: int, labelled: bool = True) -> Frame:
    labels = Labels3D(BOXES, ("Car", "Car"), np.zeros(2), np.zeros(2, np.int64), np.full((2, 4), np.nan))
    return Frame(
        name=f"{index:06d}",
        stamp_ns=1_000_000_000 + index * 100_000_000,
        image=np.full((375, 1242, 3), index, np.uint8),
        camera=CameraModel.from_intrinsics(721.5, 721.5, 609.6, 172.9, 1242, 375),
        cam_T_lidar=nominal_cam_T_lidar(),
        labels=labels if labelled else None,
    )


class ListSource:
    """Frames, errors and calls that happen instead of a frame, in the order given."""

    path = None

    def __init__(self, items: list[Frame | FrameError | Callable[[], None]], name: str = "drive") -> None:
        self.items, self.name = items, name

    def __len__(self) -> int:
        return len(self.items)

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        return skip_bad_frames(self._attempts(), Path(self.name), on_error)

    def close(self) -> None:
        pass

    def _attempts(self) -> Iterator[Frame | FrameError]:
        for item in self.items:
            if callable(item):
                item()
            else:
                yield item


class _Config:
    name = "tiny"


class TruthfulDetector:
    """Hands out the same boxes for every frame, whatever its labels; refuses frames called "bad"."""

    class_names, device, amp, config = ("Car",), torch.device("cpu"), "off", _Config()

    def detect(self, frame: Frame, timer=None) -> Detections3D:
        if frame.name == "bad":
            raise FrameError("frame bad: no good")
        with timer.stage("network"):
            pass
        return Detections3D(
            BOXES.astype(np.float32),
            np.array([0.9, 0.8], np.float32),
            np.zeros(2, np.int64),
            self.class_names,
            np.tile(np.diag([4.0, 1.0, 0.25]).astype(np.float32), (2, 1, 1)),
            frame.cam_T_lidar,
        )

    def notes(self, frame: Frame) -> tuple[str, ...]:
        return ("the focal length is unusual",)


DETECTOR = TruthfulDetector()


def test_truthful_detector_scores_what_it_should() -> None:
    gathered = gather_checkpoint(DETECTOR, NAME, [ListSource([make_frame(i) for i in range(40)])])
    result = kitti_ap([f.truth for f in gathered.frames], [f.results for f in gathered.frames])
    assert result["strict"]["Car"]["3d"]["R40"][1] == pytest.approx(100.0)
    assert gathered.run["checkpoint"] == {"file": "tiny.pt", "sha256": "0" * 64, "config": "tiny"}
    assert gathered.run["sources"] == [{"name": "drive", "path": "", "frames": 40}]
    assert "the focal length is unusual" in gathered.warnings
    assert {"read", "network"} <= set(gathered.seconds)


def test_covariance_is_turned_into_the_camera() -> None:
    """lidar x (forward) is cam z, y (left) is -x, z (up) is -y."""
    (frame,) = gather_checkpoint(DETECTOR, NAME, [ListSource([make_frame(0)])]).frames
    assert np.diag(frame.covariance_cam[0]) == pytest.approx([1.0, 0.25, 4.0])


def test_frames_of_several_sources_are_named_by_source() -> None:
    sources = [ListSource([make_frame(0)], "a"), ListSource([make_frame(0)], "b"), ListSource([make_frame(1)], "b")]
    gathered = gather_checkpoint(DETECTOR, NAME, sources)
    assert [frame.name for frame in gathered.frames] == ["a/000000", "b-1/000000", "b-2/000001"]
    assert gathered.run["title"] == "tiny.pt on a and 2 others"
    scenes = gathered.scenes(["b-2/000001", "a/000000", "a/000007"])
    assert {name: scene.image[0, 0, 0] for name, scene in scenes.items()} == {"a/000000": 0, "b-2/000001": 1}


def test_bad_and_unlabelled_frames_are_told() -> None:
    items = [make_frame(0), FrameError("frame 1: corrupt"), make_frame(2, labelled=False), make_frame(3)]
    items.append(replace(make_frame(4), name="bad"))
    gathered = gather_checkpoint(DETECTOR, NAME, [ListSource(items)])
    assert [frame.name for frame in gathered.frames] == ["000000", "000003"]
    assert gathered.skipped == ("frame 1: corrupt", "frame bad: no good")
    assert "Frames without labels, left out: 1" in gathered.warnings
    report = score(gathered, ScoringOptions())
    assert report["frames"]["skipped"] == {"count": 2, "reasons": ["frame 1: corrupt", "frame bad: no good"]}
    assert any(warning.startswith("Frames that could not be used: 2") for warning in report["warnings"])


def test_nothing_labelled_is_an_error_unless_asked_for() -> None:
    source = ListSource([make_frame(0, labelled=False)])
    with pytest.raises(SourceError, match=r"drive: no frame of 1 has labels.*--results-only"):
        gather_checkpoint(DETECTOR, NAME, [source])
    gathered = gather_checkpoint(DETECTOR, NAME, [source], RunOptions(labelled_only=False))
    assert len(gathered.frames[0].results) == 2
    with pytest.raises(SourceError, match="no frame of 1 can be used; the first: frame bad"):
        gather_checkpoint(DETECTOR, NAME, [ListSource([replace(make_frame(0), name="bad")])])


def test_max_frames_and_progress() -> None:
    counts = []
    source = ListSource([make_frame(i) for i in range(5)])
    gathered = gather_checkpoint(DETECTOR, NAME, [source], RunOptions(max_frames=3), lambda p: counts.append(p.count()))
    assert len(gathered.frames) == 3
    assert counts == [1, 2, 3]


def test_ctrl_c_keeps_what_is_done_and_says_so() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    gathered = gather_checkpoint(DETECTOR, NAME, [ListSource([make_frame(0), stop, make_frame(2)])])
    assert len(gathered.frames) == 1
    assert gathered.run["interrupted"] is True
    assert gathered.warnings[0].startswith("The run was interrupted after 1 of 3 frames")
    with pytest.raises(KeyboardInterrupt):
        gather_checkpoint(DETECTOR, NAME, [ListSource([stop])])


def test_dense_frames_warn_that_intervals_are_narrow() -> None:
    gathered = gather_checkpoint(DETECTOR, NAME, [ListSource([make_frame(i) for i in range(4)])])
    dense = [warning for warning in score(gathered)["warnings"] if "--block-frames 10" in warning]
    assert len(dense) == 1
    sparse = replace(gathered, frames=tuple(replace(f, stamp_ns=i * 10**9) for i, f in enumerate(gathered.frames)))
    assert not [warning for warning in score(sparse)["warnings"] if "--block-frames" in warning]
