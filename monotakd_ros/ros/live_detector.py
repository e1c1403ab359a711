"""The configured detector node: a loaded network, its cameras, tf, and the worker between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rclpy.lifecycle import LifecycleNode

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.errors import ConfigError, MonotakdError
from monotakd_ros.frame import Detections3D
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.image_decoding import image_decoder
from monotakd_ros.ros.live_camera import LiveCamera
from monotakd_ros.ros.loading import load_detector, warm_up
from monotakd_ros.ros.merging import View, without_duplicates
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.outputs import DetectionOutputs, Placed
from monotakd_ros.ros.parameters import NodeParameters
from monotakd_ros.ros.tally import Outcome, Timing
from monotakd_ros.ros.thresholds import kept, parse_class_scores, parse_distance_scores
from monotakd_ros.ros.throttle import Throttle
from monotakd_ros.ros.transforms import TransformError, TransformLookup
from monotakd_ros.ros.worker import Arrival, DetectionWorker, Found, Job, outcome_of

logger = logging.getLogger(__name__)

LOOPED_S = 1.0
"""Image stamps that step back further than this mean that a bag began again."""
LIFETIMES_S = (0.2, 2.0)
"""Limits of the markers' lifetime where it follows the rate."""
STALE_HINT = "a bag played without --clock and use_sim_time, or a camera whose clock is off?"


class LiveDetector:
    """Everything that exists between configure and cleanup.

    Args:
        node: whose subscriptions and publishers are made.
        parameters: read anew for every image.

    Raises:
        MonotakdError: checkpoint, device, or a part of ROS that is asked for is not usable.
    """

    def __init__(self, node: LifecycleNode, parameters: NodeParameters[DetectorSettings]) -> None:
        settings = parameters.current
        self._node, self._parameters = node, parameters
        self.detector, self.checkpoint = load_detector(settings)
        self.check(settings)
        warm_up(self.detector, len(settings.cameras))
        self.failures_in_a_row = 0
        self._throttle = Throttle()
        self._last_stamps_ns: dict[str, int] = {}
        self._worker: DetectionWorker | None = None
        with ExitStack() as made:  # a part of ROS that is missing must not leave the others behind
            self._wire(settings, made)
            self._made = made.pop_all()

    def check(self, settings: DetectorSettings) -> None:
        """See that settings fit the network.

        Raises:
            ConfigError: a class that it does not know.
        """
        unknown = set(parse_class_scores(settings.class_score_thresholds)) - set(self.detector.class_names)
        if unknown:
            raise ConfigError(
                f"class_score_thresholds: expected classes among {', '.join(self.detector.class_names)}, got "
                f"{', '.join(sorted(unknown))}"
            )

    def activate(self) -> None:
        """Listen and work."""
        self._worker = DetectionWorker(
            self.detector,
            expected=lambda: self._parameters.current.enabled,
            window_s=lambda: self._parameters.current.batch_window_s,
            prepare=self._prepare,
            deliver=self._deliver,
            on_failure=self._failed,
        )
        self._worker.start()
        try:
            self._announce(self._parameters.current)
            self.follow(self._parameters.current)
        except BaseException:
            self.deactivate()
            raise

    def deactivate(self) -> None:
        """Stop listening and working, and take the markers away."""
        for camera in self.cameras.values():
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        self._clear_markers()

    def close(self) -> None:
        """Give everything back."""
        if self._worker is not None:
            self.deactivate()
        self._made.close()

    def follow(self, settings: DetectorSettings) -> None:
        """Do what changed settings ask for; in the executor's thread."""
        if self._worker is None:
            return
        for name, camera in self.cameras.items():
            if name in settings.enabled:
                camera.subscribe()
            elif camera.is_listening:
                camera.unsubscribe()
                camera.outputs.clear(self._now_ns(), settings.output_frame)
        if settings.score_threshold != self._parameters.current.score_threshold:
            self._announce(settings)

    def reset(self) -> None:
        """Time has jumped: forget what belongs to the time before."""
        if self._worker is not None:
            self._worker.waiting.clear()
        if self._tf is not None:
            self._tf.clear()
        self._last_stamps_ns.clear()
        for camera in self.cameras.values():
            camera.tally.count("resets")
        self._clear_markers()

    def _wire(self, settings: DetectorSettings, made: ExitStack) -> None:
        self.decoder_name, decode = image_decoder(settings.image_decoder)  # type: ignore[arg-type]
        self._tf: TransformLookup | None = None
        if settings.output_frame or settings.lidar_frame:
            self._tf = TransformLookup(self._node, settings.tf_timeout_s)
            made.callback(self._tf.close)
        self.cameras: dict[str, LiveCamera] = {}
        for name in settings.cameras:
            self.cameras[name] = LiveCamera(self._node, name, settings, decode, self._arrived)
            made.callback(self.cameras[name].close)
        self._merged: DetectionOutputs | None = None
        if settings.publish_merged and len(settings.cameras) > 1:
            self._merged = DetectionOutputs(self._node, "", settings, ros_message_types, annotated=False)
            made.callback(self._merged.close)

    def _arrived(self, camera: LiveCamera, message: Any) -> None:
        transport_s = (self._now_ns() - stamp_ns_from_msg(message.header.stamp)) * 1e-9
        worker = self._worker
        if worker is not None and worker.waiting.put(camera.name, Arrival(message, time.perf_counter(), transport_s)):
            camera.tally.count("replaced")

    def _prepare(self, name: str, arrival: Arrival) -> Job | None:
        camera, settings, taken_s = self.cameras[name], self._parameters.current, time.perf_counter()
        age_s = arrival.transport_s + taken_s - arrival.received_s
        if 0 < settings.max_image_age_s < age_s:
            allowed_s = settings.max_image_age_s
            self._skip(camera, "stale", f"image {age_s:.1f} s old, allowed are {allowed_s:g} s: {STALE_HINT}")
            return None
        if not camera.frames.has_camera_info:
            self._skip(camera, "no_camera_info", f"no CameraInfo yet on {camera.info_topic}")
            return None
        self._watch_for_loops(name, stamp_ns_from_msg(arrival.message.header.stamp))
        try:
            frame = camera.frames.frame(arrival.message, self._cam_T_lidar)
            frame_id = settings.output_frame or frame.camera_frame_id
            frame_T_cam = self._transform(frame_id, frame.camera_frame_id, frame.stamp_ns)
        except TransformError as error:
            self._skip(camera, "no_transform", str(error))
            return None
        except MonotakdError as error:
            self._skip(camera, "bad", str(error))
            return None
        except Exception as error:  # what OpenCV or numpy say to numbers that nobody thought of
            self._skip(camera, "bad", f"{type(error).__name__}: {error}", error)
            return None
        return Job(name, arrival, taken_s, frame, frame_id, frame_T_cam, time.perf_counter())

    def _deliver(self, found: Sequence[Found]) -> None:
        settings = self._parameters.current
        placed = []
        for item in found:
            camera = self.cameras[item.job.camera]
            boxes = self._kept(item.detections, settings)
            camera.note(item.job.frame, self.detector)
            placed.append(Placed(item.job.camera, item.job.frame, boxes, item.job.frame_id, item.job.frame_T_cam))
            camera.outputs.publish(placed[-1:], settings, self._lifetime_s(camera, settings))
            camera.tally.published(_timing(item))
        if self._merged is not None:
            lifetime_s = max(self._lifetime_s(self.cameras[item.camera], settings) for item in placed)
            self._merged.publish(_merged(placed, settings), settings, lifetime_s)
        self.failures_in_a_row = 0

    def _failed(self, job: Job, error: Exception) -> None:
        outcome = outcome_of(error)
        self.failures_in_a_row += outcome == "failed"
        unexpected = None if isinstance(error, (MonotakdError, torch.cuda.OutOfMemoryError)) else error
        self._skip(self.cameras[job.camera], outcome, f"{type(error).__name__}: {error}", unexpected)

    def _skip(self, camera: LiveCamera, outcome: Outcome, problem: str, unexpected: Exception | None = None) -> None:
        """Count an image that is not used, and tell why; of what nobody expected, also where it came from."""
        camera.tally.count(outcome, problem)
        if self._throttle.lets_through(f"{camera.name} {outcome}"):
            count = camera.tally.counts()[outcome]
            logger.error("%s: image skipped (%d so far): %s", camera.title, count, problem, exc_info=unexpected)

    def _watch_for_loops(self, name: str, stamp_ns: int) -> None:
        before = self._last_stamps_ns.get(name)
        if before is not None and stamp_ns < before - LOOPED_S * 1e9:
            back_s = (before - stamp_ns) * 1e-9
            if self._throttle.lets_through("loops"):
                logger.warning("image stamps step back by %.1f s: what belongs to the time before is forgotten", back_s)
            self.reset()
        self._last_stamps_ns[name] = stamp_ns

    def _cam_T_lidar(self, camera_frame: str, stamp_ns: int) -> np.ndarray | None:
        lidar_frame = self._parameters.current.lidar_frame
        return self._transform(camera_frame, lidar_frame, stamp_ns) if lidar_frame else None

    def _transform(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        return np.eye(4) if self._tf is None else self._tf.lookup(target, source, stamp_ns)

    def _kept(self, detections: Detections3D, settings: DetectorSettings) -> Detections3D:
        by_class = parse_class_scores(settings.class_score_thresholds)
        by_distance = parse_distance_scores(settings.distance_score_thresholds)
        return detections.select(kept(detections, settings.score_threshold, by_class, by_distance))

    def _lifetime_s(self, camera: LiveCamera, settings: DetectorSettings) -> float:
        if settings.marker_lifetime_s > 0:
            return settings.marker_lifetime_s
        interval_s = camera.tally.interval_s()
        return LIFETIMES_S[1] if interval_s is None else float(np.clip(2.5 * interval_s, *LIFETIMES_S))

    def _announce(self, settings: DetectorSettings) -> None:
        threshold = max(self.detector.score_threshold, settings.score_threshold)
        outputs = [camera.outputs for camera in self.cameras.values()]
        for output in [*outputs, *([self._merged] if self._merged else [])]:
            output.announce(self.detector.class_names, threshold, self._now_ns(), settings.output_frame)

    def _clear_markers(self) -> None:
        for camera in self.cameras.values():
            camera.outputs.clear(self._now_ns(), self._parameters.current.output_frame)
        if self._merged is not None:
            self._merged.clear(self._now_ns(), self._parameters.current.output_frame)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _timing(item: Found) -> Timing:
    job = item.job
    return Timing(
        transport=job.arrival.transport_s,
        queue=job.taken_s - job.arrival.received_s,
        decode=job.ready_s - job.taken_s,
        infer=item.found_s - job.ready_s,
        publish=time.perf_counter() - item.found_s,
    )


def _merged(placed: Sequence[Placed], settings: DetectorSettings) -> list[Placed]:
    """What all cameras see, objects that two of them see only once."""
    views = [View(item.detections, item.frame_T_cam) for item in placed]
    masks = without_duplicates(views, settings.merge_iou, settings.merge_distance_m)
    return [replace(item, detections=item.detections.select(mask)) for item, mask in zip(placed, masks)]
