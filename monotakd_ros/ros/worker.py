"""The thread that owns the network: takes the newest images, detects, hands the boxes out. No ROS."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from monotakd_ros.detector import Detector
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.ros.newest import NewestItems
from monotakd_ros.ros.throttle import Throttle

logger = logging.getLogger(__name__)

HANGS_S = 10.0
"""A round that takes this long will not end."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """An image message as it came.

    Attributes:
        message: sensor_msgs Image or CompressedImage.
        received_s: `time.perf_counter` then.
        transport_s: from the image's stamp until then, by the node's clock.
        epoch: of its camera then; see `LiveCamera`.
    """

    message: Any
    received_s: float
    transport_s: float
    epoch: int = 0


@dataclass(frozen=True, eq=False)
class Job:
    """A frame that waits for its boxes.

    Attributes:
        camera: its name.
        arrival: of the image.
        taken_s: `time.perf_counter` when the worker took it.
        frame: the image as a frame.
        frame_id: tf frame in which boxes go out.
        frame_T_cam: (4, 4) from the camera into it.
        ready_s: when it was a frame.
        epoch: in which its boxes may go out.
    """

    camera: str
    arrival: Arrival
    taken_s: float
    frame: Frame
    frame_id: str
    frame_T_cam: Any
    ready_s: float
    epoch: int = 0


@dataclass(frozen=True, eq=False)
class Found:
    """A job's boxes, and when they were there."""

    job: Job
    detections: Detections3D
    found_s: float


class DetectionWorker:
    """Runs rounds in a thread of its own until stopped.

    Args:
        detector: used by that thread only.
        expected: names of the cameras whose images a round waits for.
        window_s: how long it waits for the second and later ones.
        prepare: makes a job of an arrival; None where the image cannot be used (which it has told).
        deliver: takes the boxes of a round; not called any more once stopped.
        on_failure: is told of a job that the network could not do.
        on_split: is told of the jobs of a batch that failed, and are tried one by one.
    """

    def __init__(
        self,
        detector: Detector,
        expected: Callable[[], Collection[str]],
        window_s: Callable[[], float],
        prepare: Callable[[str, Arrival], Job | None],
        deliver: Callable[[Sequence[Found]], None],
        on_failure: Callable[[Job, Exception], None],
        on_split: Callable[[Sequence[Job], Exception], None] = lambda jobs, error: None,
    ) -> None:
        self._detector, self._expected, self._window_s = detector, expected, window_s
        self._prepare, self._deliver = prepare, deliver
        self._on_failure, self._on_split = on_failure, on_split
        self.waiting: NewestItems[Arrival] = NewestItems()
        self._thread = threading.Thread(target=self._run, name="detect", daemon=True)
        self._left_behind = False
        self._throttle = Throttle()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way; one that hangs is left behind, so that the node can end."""
        self.waiting.close()
        if not self.has_ended(HANGS_S):
            self._left_behind = True
            logger.error("the network hangs: a round that began before is not over after %g s", HANGS_S)

    def has_ended(self, wait_s: float) -> bool:
        """Whether the thread is over, after waiting for it."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (taken := self.waiting.take(self._expected, self._window_s)) is not None:
            try:
                self._round(taken)
            except Exception:  # the node lives on, whatever happens to one round
                if self._throttle.lets_through("round"):
                    logger.exception("a round failed")

    def _round(self, taken: dict[str, Arrival]) -> None:
        jobs = [job for camera, arrival in taken.items() if (job := self._prepare(camera, arrival)) is not None]
        found = self._detect(jobs) if jobs else []
        if found and not self._left_behind:
            self._deliver(found)

    def _detect(self, jobs: Sequence[Job]) -> list[Found]:
        """The boxes of all jobs together; one by one where that fails, so that a bad one takes no other with it."""
        try:
            detections = self._detector.detect_batch([job.frame for job in jobs])
        except Exception as error:  # CUDA out of memory, a bad frame, anything that torch raises
            if len(jobs) == 1:
                self._on_failure(jobs[0], error)
            else:
                self._on_split(jobs, error)
            failure = error
        else:
            now = time.perf_counter()
            return [Found(job, result, now) for job, result in zip(jobs, detections)]
        free_memory(failure)
        return [found for job in jobs for found in self._detect([job])] if len(jobs) > 1 else []


def free_memory(error: Exception) -> None:
    """After the GPU ran out of memory, give back what torch holds for later."""
    error.__traceback__ = None  # its frames hold the tensors that the network had made so far
    if torch.cuda.is_available() and isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()


def outcome_of(error: Exception) -> str:
    """How a failure is counted: a bad image, or a failing network."""
    return "bad" if isinstance(error, FrameError) else "failed"
