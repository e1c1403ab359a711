"""What happens to live pairs between callback and disk. Needs no ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monotakd_ros.errors import FrameError
from monotakd_ros.generation.settings import ALL_FRAMES
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.live_recorder import LiveRecorder
from monotakd_ros.ros.recording_worker import RecordingWorker


class Frames:
    """In place of `PairedFrames`: the image of a pair is the frame, or the error; waits for `free` before each."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.begun = 0

    def frame(self, image: Any, cloud: Any) -> Any:
        self.begun += 1
        self.free.wait()
        if isinstance(image, Exception):
            raise image
        return image


class Recording:
    """A worker at work on a folder."""

    def __init__(self, out: Path) -> None:
        self.frames = Frames()
        self.limits = [0.0, 0.0]
        self.recorder = LiveRecorder(out, ALL_FRAMES, "kitti", "png", 60.0)
        quota = DiskQuota(out, lambda: (self.limits[0], self.limits[1]))
        self.worker = RecordingWorker(self.frames, self.recorder, None, quota)  # type: ignore[arg-type]
        self.rounds, original = 0, self.worker._round

        def counted(pair: Any) -> None:
            original(pair)
            self.rounds += 1

        self.worker._round = counted  # type: ignore[method-assign]
        self.worker.start()
        self.worker.listen()

    def take(self, image: Any) -> None:
        """A pair, and wait until it is begun."""
        before = self.frames.begun
        self.worker.take_pair(image, None)
        until(lambda: self.frames.begun > before)

    def settle(self) -> None:
        """Wait until all that was left is dealt with: the second round from now began after it was left."""
        for _ in range(2):
            goal = self.rounds + 1
            self.worker.tick()
            until(lambda goal=goal: self.rounds >= goal)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def recording(tmp_path: Path):
    made = Recording(tmp_path)
    yield made
    made.frames.free.set()
    made.worker.close()


def test_the_newest_pair_wins_and_the_others_are_counted(recording, make_frame) -> None:
    recording.frames.free.clear()
    recording.take(make_frame(0))
    for index in (1, 2, 3):
        recording.worker.take_pair(make_frame(index), None)
    recording.frames.free.set()
    until(lambda: recording.recorder.kept == 2)
    assert recording.worker.counts == {"pairs": 4, "dropped: a newer pair came first": 2}
    until(lambda: (shown := recording.worker.preview()) and shown.frame.stamp_ns == make_frame(3).stamp_ns)
    assert recording.worker.preview() is None


def test_a_bad_pair_is_told_and_the_next_one_recorded(recording, make_frame) -> None:
    recording.take(FrameError("half an image"))
    until(lambda: recording.worker.problem == "half an image")
    recording.take(ZeroDivisionError("a fault of ours"))
    recording.take(make_frame(0))
    until(lambda: recording.recorder.kept == 1)
    assert recording.worker.problem == "" and recording.worker.counts["unusable"] == 1


def test_rest_closes_the_part_and_records_nothing(recording, make_frame) -> None:
    recording.take(make_frame(0))
    until(lambda: recording.recorder.kept == 1)
    recording.worker.rest()
    until(lambda: len(recording.recorder.parts) == 1)
    recording.worker.take_pair(make_frame(1), None)
    recording.settle()
    assert recording.recorder.kept == 1 and recording.frames.begun == 1
    recording.worker.listen()
    recording.take(make_frame(2))
    recording.worker.close()
    assert len(recording.recorder.parts) == 2


def test_the_quota_stops_it_without_a_pair_and_resuming_tries_again(recording, make_frame) -> None:
    recording.take(make_frame(0))
    until(lambda: recording.recorder.kept == 1)
    recording.limits[1] = 1e9
    recording.worker.tick()
    until(lambda: recording.worker.stopped)
    assert "min_free_gib" in recording.worker.stopped
    until(lambda: len(recording.recorder.parts) == 1)
    recording.worker.take_pair(make_frame(1), None)
    recording.settle()
    assert recording.frames.begun == 1
    recording.limits[1] = 0.0
    recording.worker.listen()
    recording.take(make_frame(2))
    until(lambda: recording.recorder.kept == 2)


def test_how_full_the_disk_was_before_it_was_resumed_does_not_stop_it(recording, monkeypatch) -> None:
    recording.limits[1] = 1e9
    recording.worker.tick()
    until(lambda: recording.worker.stopped)
    recording.settle()
    before: list[str] = ["full, as it was"]

    def room_is_made_meanwhile() -> str | None:
        if not before:
            return None
        recording.worker.listen()
        return before.pop()

    monkeypatch.setattr(recording.worker._quota, "objection", room_is_made_meanwhile)
    recording.settle()
    assert before == [] and recording.worker.stopped == ""
