"""The configured detector node: a loaded network, its cameras, tf, and the worker between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from rclpy.lifecycle import LifecycleNode

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.errors import ConfigError, MonotakdError
from monotakd_ros.frame import Detections3D
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.image_decoding import image_decoder
from monotakd_ros.ros.job_maker import JobMaker
from monotakd_ros.ros.live_camera import LiveCamera
from monotakd_ros.ros.loading import load_detector, warm_up
from monotakd_ros.ros.merged_output import MergedOutput
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.outputs import DetectionOutputs, Placed
from monotakd_ros.ros.parameters import NodeParameters
from monotakd_ros.ros.tally import Outcome, Timing
from monotakd_ros.ros.thresholds import kept, parse_class_scores, parse_distance_scores
from monotakd_ros.ros.throttle import Throttle
from monotakd_ros.ros.transforms import TransformLookup
from monotakd_ros.ros.worker import Arrival, DetectionWorker, Found, Job, outcome_of

logger = logging.getLogger(__name__)

ONCE_MORE_S = 1.0
"""How long activating waits for a round of before that hung."""
LIFETIMES_S = (0.2, 2.0)
"""Limits of the markers' lifetime where it follows the rate."""


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
        self._worker: DetectionWorker | None = None
        self._worker_before: DetectionWorker | None = None
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
        if self._worker_before is not None and not self._worker_before.has_ended(ONCE_MORE_S):
            raise ConfigError("the network hangs in an image of before: clean up and configure again")
        self._worker = DetectionWorker(
            self.detector,
            expected=self._awaited,
            window_s=lambda: self._parameters.current.batch_window_s,
            prepare=self._prepare,
            deliver=self._deliver,
            on_failure=self._failed,
            on_split=self._split,
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
            camera.input.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker_before, self._worker = self._worker, None
        self._forget_all()

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
                camera.enable()
            elif camera.input.is_listening:
                camera.disable(self._now_ns(), settings.output_frame)
                self._worker.waiting.drop(name)
                if self._merged is not None:
                    self._merged.forget(name, self._now_ns(), settings.output_frame)
        if settings.score_threshold != self._parameters.current.score_threshold:
            self._announce(settings)

    def reset(self) -> None:
        """Time has jumped: forget what belongs to the time before."""
        if self._worker is not None:
            self._worker.waiting.clear()
        if self._tf is not None:
            self._tf.clear()
        self._jobs.forget()
        for camera in self.cameras.values():
            camera.tally.count("resets")
        self._forget_all()

    @property
    def clock_runs(self) -> bool:
        """Whether the node knows what time it is: false on simulated time before the first /clock."""
        return self._now_ns() != 0

    def _wire(self, settings: DetectorSettings, made: ExitStack) -> None:
        self.decoder_name, decode = image_decoder(settings.image_decoder)  # type: ignore[arg-type]
        self._tf: TransformLookup | None = None
        if settings.output_frame or settings.lidar_frame:
            self._tf = TransformLookup(self._node, settings.tf_timeout_s)
            made.callback(self._tf.close)
        self._jobs = JobMaker(lambda: self._parameters.current, self._tf, self._skip, self._looped)
        self.cameras: dict[str, LiveCamera] = {}
        for name in settings.cameras:
            self.cameras[name] = LiveCamera(self._node, name, settings, decode, self._arrived)
            made.callback(self.cameras[name].close)
        self._merged: MergedOutput | None = None
        if settings.publish_merged:
            outputs = DetectionOutputs(self._node, "", settings, ros_message_types, annotated=False)
            made.callback(outputs.close)
            self._merged = MergedOutput(outputs)

    def _arrived(self, camera: LiveCamera, message: Any) -> None:
        now_ns, worker = self._now_ns(), self._worker
        transport_s = (now_ns - stamp_ns_from_msg(message.header.stamp)) * 1e-9 if now_ns else 0.0
        arrival = Arrival(message, time.perf_counter(), transport_s, camera.epoch)
        if worker is not None and worker.waiting.put(camera.name, arrival):
            camera.tally.count("replaced")

    def _awaited(self) -> list[str]:
        """Cameras whose images a round waits for: those that are listened to and did send lately."""
        cameras = self.cameras.items()
        return [name for name, camera in cameras if camera.input.is_listening and camera.tally.sent_lately()]

    def _prepare(self, name: str, arrival: Arrival) -> Job | None:
        return self._jobs.make(self.cameras[name], arrival)

    def _looped(self, back_s: float) -> None:
        if self._throttle.lets_through("loops"):
            logger.warning("image stamps step back by %.1f s: what belongs to the time before is forgotten", back_s)
        self.reset()

    def _deliver(self, found: Sequence[Found]) -> None:
        self.failures_in_a_row = 0
        settings = self._parameters.current
        sent = [pair for item in found if (pair := self._publish(item, settings)) is not None]
        if self._merged is not None:
            self._merged.publish(sent, settings)

    def _publish(self, item: Found, settings: DetectorSettings) -> tuple[Placed, float] | None:
        """Publish a camera's boxes; returns them with how long they count, None where they did not go out."""
        job, camera = item.job, self.cameras[item.job.camera]
        try:
            camera.note(job.frame, self.detector)
            boxes = self._kept(item.detections, settings)
            placed = Placed(job.camera, job.frame, boxes, job.frame_id, job.frame_T_cam)
            lifetime_s = self._lifetime_s(camera)
            if not camera.publish(placed, job.epoch, settings, lifetime_s):
                return None
        except Exception as error:
            self._skip(camera, "unsent", f"{type(error).__name__}: {error}", error)
            return None
        camera.tally.published(_timing(item))
        return placed, lifetime_s

    def _failed(self, job: Job, error: Exception) -> None:
        outcome = outcome_of(error)
        self.failures_in_a_row += outcome == "failed"
        unexpected = None if isinstance(error, (MonotakdError, torch.cuda.OutOfMemoryError)) else error
        self._skip(self.cameras[job.camera], outcome, f"{type(error).__name__}: {error}", unexpected)

    def _split(self, jobs: Sequence[Job], error: Exception) -> None:
        text = f"{len(jobs)} images together failed, tried one by one: {type(error).__name__}: {error}"
        for job in jobs:
            self.cameras[job.camera].tally.count("split", text)
        if self._throttle.lets_through("split"):
            logger.error("%s", text)

    def _skip(self, camera: LiveCamera, outcome: Outcome, problem: str, unexpected: Exception | None = None) -> None:
        """Count an image that is not used, and tell why; of what nobody expected, also where it came from."""
        camera.tally.count(outcome, problem)
        if self._throttle.lets_through(f"{camera.name} {outcome}"):
            count = camera.tally.counts()[outcome]
            logger.error("%s: image skipped (%d so far): %s", camera.title, count, problem, exc_info=unexpected)

    def _kept(self, detections: Detections3D, settings: DetectorSettings) -> Detections3D:
        by_class = parse_class_scores(settings.class_score_thresholds)
        by_distance = parse_distance_scores(settings.distance_score_thresholds)
        return detections.select(kept(detections, settings.score_threshold, by_class, by_distance))

    def _lifetime_s(self, camera: LiveCamera) -> float:
        if self._parameters.current.marker_lifetime_s > 0:
            return self._parameters.current.marker_lifetime_s
        interval_s = camera.tally.interval_s()
        return LIFETIMES_S[1] if interval_s is None else float(np.clip(2.5 * interval_s, *LIFETIMES_S))

    def _announce(self, settings: DetectorSettings) -> None:
        threshold = max(self.detector.score_threshold, settings.score_threshold)
        outputs = [camera.outputs for camera in self.cameras.values()]
        for output in [*outputs, *([self._merged.outputs] if self._merged else [])]:
            output.announce(self.detector.class_names, threshold, self._now_ns(), settings.output_frame)

    def _forget_all(self) -> None:
        place = self._now_ns(), self._parameters.current.output_frame
        for camera in self.cameras.values():
            camera.forget(*place)
        if self._merged is not None:
            self._merged.forget(None, *place)

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
