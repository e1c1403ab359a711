"""Replay: what is written, what is skipped, and that nothing half-written stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from monotakd_ros.config import (
    BevConfig,
    Config,
    DepthConfig,
    EncoderConfig,
    GridConfig,
    HeadConfig,
    InputConfig,
    PostprocessConfig,
    StudentConfig,
)
from monotakd_ros.data.source import OnError, skip_bad_frames
from monotakd_ros.detector import Detector
from monotakd_ros.errors import CheckpointError, FrameError, OutputError, SourceError
from monotakd_ros.frame import Detections3D, Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.student import build_student
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.replay.run import ReplayOptions, replay

NAME = CheckpointName("tiny.pt", "0" * 64)
CLASSES = ("Car", "Pedestrian", "Cyclist")
QUICK = ReplayOptions(pictures="none")


def tiny_config(score_threshold: float = 0.0) -> Config:
    return Config(
        "tiny",
        student=StudentConfig(
            input=InputConfig(width=160, height=64, focal_px=90.0, center_px=(79.0, 28.0)),
            grid=GridConfig((2.0, -10.24, -3.0, 22.48, 10.24, 1.0), (1.28, 1.28, 1.0)),
            depth=DepthConfig(2.0, 24.0, 8),
            encoder=EncoderConfig("basic", (1, 1, 1, 1), 8, (8, 8, 8, 8), 4, 8, 8, (2, 4), 0.0),
            bev=BevConfig(8, (1, 1), (1, 2), (8, 8), (8, 8)),
            head=HeadConfig(placement="cell_center"),
            postprocess=PostprocessConfig(score_threshold, 64, 0.01, 5),
        ),
    )


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    config = tiny_config()
    return Detector(build_student(config.student), config)


def make_frame(index: int, labelled: bool = True, points: bool = True) -> Frame:
    rng = np.random.default_rng(index)
    boxes = np.array([[6.0, 1.5, -0.9, 4.0, 1.7, 1.6, 0.1], [6.5, -2.0, -0.9, 4.0, 1.7, 1.6, 3.0]])
    labels = Labels3D(boxes, ("Car", "Car"), np.zeros(2), np.zeros(2, np.int64), np.full((2, 4), np.nan))
    return Frame(
        name=f"{index:06d}",
        stamp_ns=1_000_000_000 + index * 100_000_000,
        image=rng.integers(0, 255, (96, 320, 3)).astype(np.uint8),
        camera=CameraModel.from_intrinsics(180.0, 180.0, 159.0, 42.0, 320, 96),
        camera_frame_id="camera_optical",
        cam_T_lidar=nominal_cam_T_lidar(),
        points_lidar=rng.uniform(-20, 20, (200, 4)).astype(np.float32) if points else None,
        labels=labels if labelled else None,
    )


class ListSource:
    """Frames, errors and calls that happen instead of a frame, in the order given."""

    name, path = "list", None

    def __init__(self, items: list[Frame | FrameError | Callable[[], None]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        return skip_bad_frames(self._attempts(), Path("list"), on_error)

    def close(self) -> None:
        pass

    def _attempts(self) -> Iterator[Frame | FrameError]:
        for item in self.items:
            if callable(item):
                item()
            else:
                yield item


class TruthfulDetector:
    """Hands out the ground truth."""

    class_names, device, config = CLASSES, torch.device("cpu"), tiny_config()
    score_threshold, amp = config.student.postprocess.score_threshold, "off"

    def detect(self, frame: Frame, timer=None) -> Detections3D:
        count = len(frame.labels)
        return Detections3D(
            frame.labels.boxes_lidar.astype(np.float32),
            np.full(count, 0.9, np.float32),
            np.array([CLASSES.index(name) for name in frame.labels.class_names], np.int64),
            CLASSES,
            np.tile(0.1 * np.eye(3, dtype=np.float32), (count, 1, 1)),
            frame.cam_T_lidar,
        )

    def notes(self, frame: Frame) -> tuple[str, ...]:
        return ()


def ten_frames() -> ListSource:
    return ListSource([make_frame(index) for index in range(10)])


def read_bag(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    messages: dict[str, list[tuple[int, bytes]]] = {}
    with AnyReader([folder / "detections"]) as reader:
        for connection, stamp_ns, data in reader.messages():
            messages.setdefault(connection.topic, []).append((stamp_ns, bytes(data)))
    return messages


def read_typed(folder: Path, topic: str) -> list:
    with AnyReader([folder / "detections"]) as reader:
        wanted = [connection for connection in reader.connections if connection.topic == topic]
        return [reader.deserialize(data, connection.msgtype) for connection, _, data in reader.messages(wanted)]


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_every_frame_is_in_the_bag_at_its_own_stamp(tmp_path: Path, detector: Detector) -> None:
    source = ten_frames()
    replay(source, detector, NAME, tmp_path / "out", QUICK)
    messages = read_bag(tmp_path / "out")
    for topic in ("/detections", "/markers", "/camera/camera_info"):
        assert [stamp for stamp, _ in messages[topic]] == [frame.stamp_ns for frame in source.items]
    assert len(messages["/tf_static"]) == len(messages["/label_info"]) == 1
    assert "/camera/image_rect/compressed" not in messages
    arrays = read_typed(tmp_path / "out", "/detections")
    assert arrays[3].header.frame_id == "camera_optical"
    assert arrays[3].header.stamp.sec * 10**9 + arrays[3].header.stamp.nanosec == source.items[3].stamp_ns
    assert sum(len(array.detections) for array in arrays) == sum(summary_of(tmp_path / "out")["detections"].values())


def test_boxes_in_the_bag_stand_in_the_camera_frame(tmp_path: Path) -> None:
    """A car 6 m ahead of and 1.5 m left of the lidar: z forward, x right in the optical frame."""
    replay(ListSource([make_frame(0)]), TruthfulDetector(), NAME, tmp_path / "out", QUICK)
    detection = read_typed(tmp_path / "out", "/detections")[0].detections[0]
    position = detection.bbox.center.position
    assert (position.x, position.z) == pytest.approx((-1.5, 6.0 - 0.27), abs=1e-6)
    assert detection.results[0].hypothesis.class_id == "Car"


def test_frame_without_detections_gets_an_empty_array(tmp_path: Path) -> None:
    config = tiny_config(score_threshold=0.99)
    replay(ten_frames(), Detector(build_student(config.student), config), NAME, tmp_path / "out", QUICK)
    arrays = read_typed(tmp_path / "out", "/detections")
    assert [len(array.detections) for array in arrays] == [0] * 10


def test_weak_boxes_are_published_but_not_marked(tmp_path: Path, detector: Detector) -> None:
    options = ReplayOptions(pictures="none", shown_score=1.0)
    replay(ten_frames(), detector, NAME, tmp_path / "out", options)
    assert any(array.detections for array in read_typed(tmp_path / "out", "/detections"))
    assert [len(array.markers) for array in read_typed(tmp_path / "out", "/markers")] == [1] * 10  # DELETEALL


def test_second_run_gives_the_same_bytes(tmp_path: Path, detector: Detector) -> None:
    options = ReplayOptions(pictures="none", images=True, points=True)
    for name in ("first", "second"):
        replay(ten_frames(), detector, NAME, tmp_path / name, options)
    first, second = (read_bag(tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert {"/camera/image_rect/compressed", "/lidar/points"} <= set(first)
    files = [next((tmp_path / name / "detections").glob("*.mcap")).read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]


def test_summary_tells_what_ran(tmp_path: Path, detector: Detector) -> None:
    summary = replay(ten_frames(), detector, NAME, tmp_path / "out", QUICK).summary
    assert summary == summary_of(tmp_path / "out")
    assert summary["interrupted"] is False
    assert summary["frames"] == {"written": 10, "skipped": 0, "labelled": 10}
    assert summary["recorded_s"] == pytest.approx(0.9)
    assert summary["checkpoint"] == {"file": "tiny.pt", "sha256": "0" * 64, "config": "tiny"}
    assert summary["device"]
    assert set(summary["latency_ms"]) == {"read", "prepare", "network", "decode", "write", "detect"}
    for figures in summary["latency_ms"].values():
        assert 0 <= figures["p50"] <= figures["p95"]
        assert figures["samples"] == 9


def test_truth_scores_one_hundred(tmp_path: Path) -> None:
    source = ListSource([make_frame(index) for index in range(30)])
    summary = replay(source, TruthfulDetector(), NAME, tmp_path / "out", QUICK).summary
    assert summary["kitti_ap"]["strict"]["Car"]["3d"]["R40"] == pytest.approx([100.0] * 3)
    assert summary["detections"] == {"Car": 60, "Pedestrian": 0, "Cyclist": 0}


def test_source_without_labels_has_no_score(tmp_path: Path, detector: Detector) -> None:
    source = ListSource([make_frame(0, labelled=False, points=False)])
    assert replay(source, detector, NAME, tmp_path / "out", QUICK).summary["kitti_ap"] is None


def test_camera_without_lidar_notes_its_assumption(tmp_path: Path, detector: Detector) -> None:
    source = ListSource([replace(make_frame(0, labelled=False, points=False), cam_T_lidar=None)])
    summary = replay(source, detector, NAME, tmp_path / "out", QUICK).summary
    assert any("no LiDAR extrinsic" in note for note in summary["preprocessing_notes"])


def bad_third() -> ListSource:
    items = ten_frames().items
    return ListSource([*items[:2], FrameError("000002.png: corrupt image"), *items[3:]])


def test_bad_frame_is_skipped_and_counted(tmp_path: Path, detector: Detector) -> None:
    seen = []
    replay(bad_third(), detector, NAME, tmp_path / "out", QUICK, lambda tally: seen.append(len(tally.skipped)))
    summary = summary_of(tmp_path / "out")
    assert summary["frames"]["written"] == 9
    assert summary["skipped"] == ["000002.png: corrupt image"]
    assert seen == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]


def test_frame_that_the_detector_refuses_is_skipped_and_counted(tmp_path: Path) -> None:
    class Refusing(TruthfulDetector):
        def detect(self, frame: Frame, timer=None) -> Detections3D:
            if frame.name == "000001":
                raise FrameError("000001: image and camera differ")
            return super().detect(frame, timer)

    assert replay(ten_frames(), Refusing(), NAME, tmp_path / "out", QUICK).summary["frames"]["skipped"] == 1


def test_strict_stops_and_leaves_nothing(tmp_path: Path, detector: Detector) -> None:
    with pytest.raises(FrameError, match=r"000002\.png"):
        replay(bad_third(), detector, NAME, tmp_path / "out", replace(QUICK, strict=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("items", [[], [FrameError("a.png: corrupt"), FrameError("b.png: corrupt")]])
def test_source_without_a_usable_frame_is_an_error(tmp_path: Path, detector: Detector, items: list) -> None:
    with pytest.raises(SourceError):
        replay(ListSource(items), detector, NAME, tmp_path / "out", QUICK)
    assert list(tmp_path.iterdir()) == []


def interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupt_leaves_a_readable_bag_and_says_so(tmp_path: Path, detector: Detector) -> None:
    items = ten_frames().items
    source = ListSource([*items[:4], interrupt, *items[4:]])
    with pytest.raises(KeyboardInterrupt):
        replay(source, detector, NAME, tmp_path / "out", replace(QUICK, pictures="all"))
    assert len(read_bag(tmp_path / "out")["/detections"]) == 4
    assert summary_of(tmp_path / "out")["interrupted"] is True
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_failure_in_the_middle_leaves_nothing(tmp_path: Path, detector: Detector) -> None:
    def fail() -> None:
        raise SourceError("list: the disk is gone")

    with pytest.raises(SourceError):
        replay(ListSource([make_frame(0), fail]), detector, NAME, tmp_path / "out", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept_unless_overwritten(tmp_path: Path, detector: Detector) -> None:
    out = tmp_path / "out"
    replay(ten_frames(), detector, NAME, out, QUICK)
    with pytest.raises(OutputError, match="exists"):
        replay(ten_frames(), detector, NAME, out, QUICK)
    source = ListSource(ten_frames().items[:3])
    replay(source, detector, NAME, out, replace(QUICK, overwrite=True))
    assert summary_of(out)["frames"]["written"] == 3


def test_failed_overwrite_keeps_the_old_output(tmp_path: Path, detector: Detector) -> None:
    out = tmp_path / "out"
    replay(ten_frames(), detector, NAME, out, QUICK)
    with pytest.raises(FrameError):
        replay(bad_third(), detector, NAME, out, replace(QUICK, overwrite=True, strict=True))
    assert summary_of(out)["frames"]["written"] == 10


def test_folder_of_something_else_is_never_replaced(tmp_path: Path, detector: Detector) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError):
        replay(ten_frames(), detector, NAME, out, replace(QUICK, overwrite=True))
    assert (out / "thesis.txt").read_text() == "mine"


def test_max_frames(tmp_path: Path, detector: Detector) -> None:
    summary = replay(ten_frames(), detector, NAME, tmp_path / "out", replace(QUICK, max_frames=4)).summary
    assert summary["frames"]["written"] == 4


def test_pictures_that_were_asked_for_open(tmp_path: Path, detector: Detector) -> None:
    for choice, expected in (("strip", {"strip"}), ("all", {"strip", "video"})):
        result = replay(ten_frames(), detector, NAME, tmp_path / choice, ReplayOptions(pictures=choice))
        assert set(result.summary["files"]) - {"bag"} <= expected
        strip = cv2.imread(str(result.out / result.summary["files"]["strip"]))
        assert strip.shape[1] == 1600
        if "video" in result.summary["files"]:
            reader = cv2.VideoCapture(str(result.out / result.summary["files"]["video"]))
            assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 10
            assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
            reader.release()


def test_single_frame_makes_a_video_and_a_strip(tmp_path: Path, detector: Detector) -> None:
    result = replay(ListSource([make_frame(0)]), detector, NAME, tmp_path / "out")
    assert (result.out / result.summary["files"]["strip"]).is_file()


def test_checkpoint_name_of_a_missing_file() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        CheckpointName.of("nowhere.pt")
