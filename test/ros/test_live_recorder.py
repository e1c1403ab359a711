"""Parts of a drive: whole, readable, labelled like any recording. Needs no ROS."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.data.source import open_source
from monotakd_ros.errors import OutputError
from monotakd_ros.generation.generate import generate
from monotakd_ros.generation.local_engine import run_here
from monotakd_ros.generation.settings import ALL_FRAMES, SelectionSettings
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generation_control import GenerationControl, GenerationWatch
from monotakd_ros.ros.live_labels import LiveLabels, unlabelled
from monotakd_ros.ros.live_recorder import LiveRecorder, earlier_parts


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Networks run here."""


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def recorder_in(out: Path, selection: SelectionSettings = ALL_FRAMES, **changes) -> LiveRecorder:
    return LiveRecorder(out, selection, **{"format": "bag", "image_encoding": "png", "part_s": 60.0, **changes})


@pytest.mark.parametrize("format", ["bag", "kitti"])
def test_a_part_gives_the_frames_back(tmp_path: Path, make_frame, format: str) -> None:
    recorder = recorder_in(tmp_path, format=format)
    for index in range(3):
        assert recorder.add(make_frame(index))
    assert earlier_parts(tmp_path) == []  # the open part has no name yet
    recorder.close()
    recorder.close()
    assert recorder.parts == earlier_parts(tmp_path) == [tmp_path / "parts" / "part_000000"]
    source = open_source(recorder.parts[0])
    for index, frame in enumerate(source.frames()):
        expected = make_frame(index)
        assert (frame.name, frame.stamp_ns) == (f"{index:06d}", expected.stamp_ns)
        assert (frame.points_stamp_ns, frame.labels) == (expected.points_stamp_ns, None)
        np.testing.assert_array_equal(frame.image, expected.image)
        np.testing.assert_array_equal(frame.points_lidar, expected.points_lidar)
        np.testing.assert_allclose(frame.world_T_lidar, expected.world_T_lidar, atol=1e-9)
    assert index == 2


def test_parts_end_with_their_time_and_when_time_jumps(tmp_path: Path, make_frame) -> None:
    clock = Clock()
    recorder = recorder_in(tmp_path, part_s=10.0, clock=clock)
    recorder.close_when_due()  # none is open
    recorder.add(make_frame(50))
    clock.now_s = 9.9
    recorder.add(make_frame(51))
    recorder.close_when_due()
    assert recorder.parts == []
    clock.now_s = 10.0
    recorder.close_when_due()
    assert [path.name for path in recorder.parts] == ["part_000000"]
    recorder.add(make_frame(52))
    recorder.add(make_frame(0))  # the bag begins anew
    assert len(recorder.parts) == 2
    recorder.close()
    counts = [len(open_source(path)) for path in recorder.parts]
    assert counts == [2, 1, 1] and recorder.kept == 4


def test_another_run_counts_on(tmp_path: Path, make_frame) -> None:
    for expected in ("part_000000", "part_000001"):
        recorder = recorder_in(tmp_path)
        recorder.add(make_frame(0))
        recorder.close()
        assert recorder.parts[0].name == expected


def test_only_what_is_worth_keeping(tmp_path: Path, make_frame) -> None:
    recorder = recorder_in(tmp_path, SelectionSettings(max_rate_hz=5, min_motion_m=3.0, min_novelty=1.0, min_points=1))
    kept = [recorder.add(make_frame(index)) for index in range(5)]  # 10 Hz, 2 m a frame
    assert kept == [True, False, True, False, True]
    assert recorder.left_out == {"too soon after the frame before": 2}
    recorder.close()


def test_what_was_written_before_an_error_is_kept(tmp_path: Path, make_frame, monkeypatch) -> None:
    recorder = recorder_in(tmp_path)
    recorder.add(make_frame(0))

    def full(self, frame):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monotakd_ros.data.bag_writer.BagFrameWriter._write", full)
    with pytest.raises(OutputError, match="No space left"):
        recorder.add(make_frame(1))
    assert len(open_source(recorder.parts[0])) == 1
    with pytest.raises(OutputError):
        recorder.add(make_frame(2))
    recorder.close()
    assert len(earlier_parts(tmp_path)) == 1
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["part_000000"]  # nothing temporary


@pytest.fixture
def parts(tmp_path: Path, make_frame) -> list[Path]:
    """Two parts of three frames."""
    recorder = recorder_in(tmp_path / "out")
    for index in range(6):
        recorder.add(make_frame(index))
        if index % 3 == 2:
            recorder.close()
    return recorder.parts


def test_parts_are_recordings(parts, request_for, watcher_in, tmp_path: Path) -> None:
    request = request_for(*parts)
    result = generate(request, run_here, watcher_in(tmp_path))
    assert result.manifest is not None and result.manifest["frames"] == 6


@pytest.fixture
def watcher_in():
    return lambda folder: GenerationWatch(GenerationControl(), DiskQuota(folder, lambda: (0.0, 0.0)))


def test_parts_are_labelled_in_turn_and_once(parts, request_for, tmp_path: Path) -> None:
    request = replace(request_for(parts[0]), out=tmp_path / "out" / "set")
    quota = DiskQuota(tmp_path, lambda: (0.0, 0.0))
    assert unlabelled(parts, request.out) == parts
    labels = LiveLabels(request, quota)
    labels.start()
    labels.add(parts[1])
    wait_for(lambda: labels.labelled == 2)
    labels.close()
    assert labels.trouble == "" and labels.waiting == 0
    assert len(open_source(request.out)) == 6
    assert unlabelled(parts, request.out) == []
    assert LiveLabels(replace(request, sources=tuple(parts)), quota).waiting == 0
    boxed = labels.newest.read()
    assert boxed is not None and boxed.frame.name == "0010000002"


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    """What is logged of labelling; pytest's own `caplog` hears nothing where ROS's launch has taken logging over."""
    logger, records = logging.getLogger("monotakd_ros.ros.live_labels"), []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_labelling_waits_for_room_and_goes_on_when_it_is_resumed(parts, request_for, tmp_path: Path, told) -> None:
    limits = [0.0, 1e9]
    labels = LiveLabels(
        replace(request_for(*parts), out=tmp_path / "out" / "set"), DiskQuota(tmp_path, lambda: (limits[0], limits[1]))
    )
    labels.start()
    for _ in range(2):  # resuming without room comes to the same
        wait_for(lambda: bool(labels.trouble))
        assert "min_free_gib" in labels.trouble and (labels.labelled, labels.waiting) == (0, 2)
        labels.resume()
    wait_for(lambda: bool(labels.trouble))
    limits[1] = 0.0
    labels.resume()
    wait_for(lambda: labels.labelled == 2)
    labels.close()
    assert (labels.trouble, labels.waiting) == ("", 0)
    assert len(open_source(tmp_path / "out" / "set")) == 6
    assert told and not any(record.exc_info for record in told)


def test_a_fault_of_ours_is_told_with_its_traceback_and_tried_again(
    parts, request_for, tmp_path: Path, told, monkeypatch
) -> None:
    labels = LiveLabels(request_for(*parts), DiskQuota(tmp_path, lambda: (0.0, 0.0)))
    monkeypatch.setattr("monotakd_ros.ros.live_labels.generate", lambda *_: 1 / 0)
    labels.start()
    wait_for(lambda: bool(labels.trouble))
    assert "ZeroDivisionError" in labels.trouble and told[0].exc_info
    monkeypatch.setattr("monotakd_ros.ros.live_labels.generate", generate)
    labels.resume()
    wait_for(lambda: labels.labelled == 2)
    labels.close()


@pytest.mark.parametrize("cancels_first", [True, False])
def test_labelling_that_waits_can_end(parts, request_for, tmp_path: Path, cancels_first: bool) -> None:
    labels = LiveLabels(
        replace(request_for(*parts), teacher=tmp_path / "none.pt"), DiskQuota(tmp_path, lambda: (0.0, 0.0))
    )
    if cancels_first:
        labels.cancel()
    labels.start()
    if not cancels_first:
        wait_for(lambda: "none.pt" in labels.trouble)
    labels.close()
    assert not labels._thread.is_alive() and labels.labelled == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
