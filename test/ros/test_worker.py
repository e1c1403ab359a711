"""The thread that owns the network: rounds, failures, and an end. No ROS."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from monotakd_ros.errors import FrameError
from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.ros.worker import Arrival, DetectionWorker, Found, Job, outcome_of


class ScriptedDetector:
    """Fails on frames whose name says so, as a network may."""

    def __init__(self, most: int = 99) -> None:
        self.batches: list[list[str]] = []
        self._most = most

    def detect_batch(self, frames: Sequence[Frame]) -> list[Detections3D]:
        self.batches.append([frame.name for frame in frames])
        if len(frames) > self._most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        for frame in frames:
            if frame.name == "bad":
                raise FrameError("a bad frame")
            if frame.name == "broken":
                raise RuntimeError("cuDNN error")
        return [Detections3D.empty(("Car",), nominal_cam_T_lidar()) for _ in frames]


class Harness:
    def __init__(self, detector: ScriptedDetector, expected: Sequence[str], camera: Any) -> None:
        self.delivered: list[list[str]] = []
        self.failed: list[tuple[str, str]] = []
        self.split: list[list[str]] = []
        self.prepared = 0
        self.camera = camera
        self.worker = DetectionWorker(
            detector,  # type: ignore[arg-type]
            expected=lambda: expected,
            window_s=lambda: 0.5,
            prepare=self.prepare,
            deliver=self.deliver,
            on_failure=lambda job, error: self.failed.append((job.frame.name, outcome_of(error))),
            on_split=lambda jobs, error: self.split.append([job.frame.name for job in jobs]),
        )
        self.worker.start()

    def prepare(self, camera: str, arrival: Arrival) -> Job | None:
        self.prepared += 1
        if arrival.message is None:
            return None
        if arrival.message == "raise":
            raise KeyError("a mistake of ours")
        frame = Frame(arrival.message, 0, np.zeros((64, 128, 3), np.uint8), self.camera)
        return Job(camera, arrival, 0.0, frame, "camera", np.eye(4), 0.0)

    def deliver(self, found: Sequence[Found]) -> None:
        self.delivered.append([item.job.frame.name for item in found])

    def put(self, camera: str, message: Any) -> None:
        self.worker.waiting.put(camera, Arrival(message, time.perf_counter(), 0.0))

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert condition()

    def wait_for_failure(self) -> None:
        self.until(lambda: self.failed)

    def wait(self, count: int) -> None:
        self.until(lambda: len(self.delivered) >= count)
        assert len(self.delivered) == count


@pytest.fixture
def harness(camera: Any) -> Any:
    made: list[Harness] = []

    def make(detector: ScriptedDetector, expected: Sequence[str] = ("front",)) -> Harness:
        made.append(Harness(detector, expected, camera))
        return made[-1]

    yield make
    for item in made:
        item.worker.stop()


def test_images_of_all_cameras_go_together(harness: Any) -> None:
    detector = ScriptedDetector()
    run = harness(detector, ("front", "left"))
    run.put("front", "a")
    run.put("left", "b")
    run.wait(1)
    assert run.delivered == [["a", "b"]] == detector.batches


@pytest.mark.parametrize(("name", "outcome"), [("bad", "bad"), ("broken", "failed")])
def test_a_bad_one_takes_no_other_with_it(harness: Any, name: str, outcome: str) -> None:
    run = harness(ScriptedDetector(), ("front", "left"))
    run.put("front", name)
    run.put("left", "b")
    run.wait(1)
    assert run.delivered == [["b"]]
    assert run.failed == [(name, outcome)]


def test_out_of_memory_for_all_may_be_enough_for_one(harness: Any) -> None:
    detector = ScriptedDetector(most=1)
    run = harness(detector, ("front", "left"))
    run.put("front", "a")
    run.put("left", "b")
    run.wait(1)
    assert run.delivered == [["a", "b"]] == run.split and not run.failed
    assert detector.batches == [["a", "b"], ["a"], ["b"]]


def test_out_of_memory_for_one_is_told_and_survived(harness: Any) -> None:
    detector = ScriptedDetector(most=0)
    run = harness(detector)
    run.put("front", "a")
    run.wait_for_failure()
    assert run.failed == [("a", "failed")]
    detector._most = 1
    run.put("front", "b")
    run.wait(1)
    assert run.delivered == [["b"]]


@pytest.mark.parametrize("message", [None, "raise"])
def test_what_cannot_be_prepared_ends_nothing(harness: Any, message: Any) -> None:
    run = harness(ScriptedDetector())
    run.put("front", message)
    run.until(lambda: run.prepared == 1)
    run.put("front", "b")
    run.wait(1)
    assert run.delivered == [["b"]]


def test_stopping_waits_for_the_round_under_way(harness: Any) -> None:
    detector = ScriptedDetector()
    begun, go_on = threading.Event(), threading.Event()
    original = detector.detect_batch

    def slow(frames: Sequence[Frame]) -> list[Detections3D]:
        begun.set()
        go_on.wait(20)
        return original(frames)

    detector.detect_batch = slow  # type: ignore[method-assign]
    run = harness(detector)
    run.put("front", "a")
    assert begun.wait(20)
    threading.Timer(0.05, go_on.set).start()
    run.worker.stop()
    assert run.delivered == [["a"]]


def test_a_round_that_cannot_be_handed_out_takes_no_other_with_it(harness: Any, caplog: Any) -> None:
    run = harness(ScriptedDetector())
    original = run.worker._deliver

    def deliver(found: Sequence[Found]) -> None:
        if found[0].job.frame.name == "a":
            raise OverflowError("a mistake of ours")
        original(found)

    run.worker._deliver = deliver
    run.put("front", "a")
    run.until(lambda: "a mistake of ours" in caplog.text)
    run.put("front", "b")
    run.wait(1)
    assert run.delivered == [["b"]]


def test_what_the_network_held_is_free_before_cuda_is_asked_for_it(harness: Any, monkeypatch: Any) -> None:
    held: list[Any] = []
    alive: list[bool] = []

    class Hungry(ScriptedDetector):
        def detect_batch(self, frames: Sequence[Frame]) -> list[Detections3D]:
            if len(self.batches) == 0:
                self.batches.append([])
                features = np.zeros(3)
                held.append(weakref.ref(features))
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().detect_batch(frames)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(held[0]() is not None))
    run = harness(Hungry())
    run.put("front", "a")
    run.wait_for_failure()
    run.put("front", "b")
    run.wait(1)
    assert alive == [False]
