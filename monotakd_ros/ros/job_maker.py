"""From an image that arrived to a frame that the network takes: fresh, calibrated, decoded, placed by tf."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.errors import MonotakdError
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.live_camera import LiveCamera
from monotakd_ros.ros.stamp_clock import StampClock
from monotakd_ros.ros.tally import Outcome
from monotakd_ros.ros.transforms import TransformError, TransformLookup
from monotakd_ros.ros.worker import Arrival, Job

STALE_HINT = "a bag played without --clock and use_sim_time, or a camera whose clock is off?"


class Skip(Protocol):
    """Is told of an image that is not used, and why; of what nobody expected, also the exception."""

    def __call__(
        self, camera: LiveCamera, outcome: Outcome, problem: str, unexpected: Exception | None = None
    ) -> None: ...


class JobMaker:
    """Works in the worker's thread.

    Args:
        settings: those that hold now.
        tf: None where no frame is asked for.
        skip: see there.
        on_loop: called with the seconds that a camera's stamps stepped back.
    """

    def __init__(
        self,
        settings: Callable[[], DetectorSettings],
        tf: TransformLookup | None,
        skip: Skip,
        on_loop: Callable[[float], None],
    ) -> None:
        self._settings, self._tf, self._skip, self._on_loop = settings, tf, skip, on_loop
        self._clocks: dict[str, StampClock] = {}

    def forget(self) -> None:
        """Time has jumped."""
        self._clocks.clear()

    def make(self, camera: LiveCamera, arrival: Arrival) -> Job | None:
        """The job of an arrival; None where the image is not used, which was told."""
        taken_s = time.perf_counter()
        if arrival.epoch != camera.epoch or not self._is_usable(camera, arrival, taken_s):
            return None
        looped = self._has_looped(camera.name, stamp_ns_from_msg(arrival.message.header.stamp))
        epoch = camera.epoch if looped else arrival.epoch
        try:
            return self._job(camera, arrival, taken_s, epoch)
        except TransformError as error:
            self._skip(camera, "no_transform", str(error))
        except MonotakdError as error:
            self._skip(camera, "bad", str(error))
        except Exception as error:  # what OpenCV or numpy say to numbers that nobody thought of
            self._skip(camera, "bad", f"{type(error).__name__}: {error}", error)
        return None

    def _is_usable(self, camera: LiveCamera, arrival: Arrival, taken_s: float) -> bool:
        allowed_s = self._settings().max_image_age_s
        age_s = arrival.transport_s + taken_s - arrival.received_s
        if 0 < allowed_s < age_s:
            self._skip(camera, "stale", f"image {age_s:.1f} s old, allowed are {allowed_s:g} s: {STALE_HINT}")
            return False
        if not camera.input.frames.has_camera_info:
            self._skip(camera, "no_camera_info", f"no CameraInfo yet on {camera.input.info_topic}")
            return False
        return True

    def _has_looped(self, name: str, stamp_ns: int) -> bool:
        """Whether a camera's stamps jump back; then that was told."""
        back_s = self._clocks.setdefault(name, StampClock()).jump_back_s(stamp_ns)
        if back_s > 0:
            self._on_loop(back_s)
        return back_s > 0

    def _job(self, camera: LiveCamera, arrival: Arrival, taken_s: float, epoch: int) -> Job:
        frame = camera.input.frames.frame(arrival.message, self._cam_T_lidar)
        frame_id = self._settings().output_frame or frame.camera_frame_id
        frame_T_cam = self._transform(frame_id, frame.camera_frame_id, frame.stamp_ns)
        return Job(camera.name, arrival, taken_s, frame, frame_id, frame_T_cam, time.perf_counter(), epoch)

    def _cam_T_lidar(self, camera_frame: str, stamp_ns: int) -> np.ndarray | None:
        lidar_frame = self._settings().lidar_frame
        return self._transform(camera_frame, lidar_frame, stamp_ns) if lidar_frame else None

    def _transform(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        return np.eye(4) if self._tf is None else self._tf.lookup(target, source, stamp_ns)
