"""Live mode of `generate_node`: subscribes to camera and LiDAR, pairs them, and reports what `RecordingWorker` does."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from monotakd_ros.data.kitti import calibrated_extrinsic
from monotakd_ros.errors import CalibrationError, MissingDependencyError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.generation.settings import ALL_FRAMES
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.ros.camera_subscriptions import CameraSubscriptions
from monotakd_ros.ros.diagnostics import steady_clock
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generate_settings import GenerateSettings
from monotakd_ros.ros.image_decoding import image_decoder
from monotakd_ros.ros.live_labels import LiveLabels
from monotakd_ros.ros.live_recorder import PART_DIR, LiveRecorder, earlier_parts
from monotakd_ros.ros.paired_frames import PairedFrames
from monotakd_ros.ros.pairing import open_pairing
from monotakd_ros.ros.recording_worker import RecordingWorker
from monotakd_ros.ros.run_status import RunStatus
from monotakd_ros.ros.sensor_subscription import subscribe_to_sensor
from monotakd_ros.ros.transforms import TransformLookup

logger = logging.getLogger(__name__)

SET_DIR = "set"
TICK_S = 1.0
QUIET_TICKS = 3
"""Without a pair for longer, something is amiss."""


class LiveRun:
    """A `Run` that records a running camera and LiDAR.

    Args:
        node: whose subscriptions and tf listener they are.
        settings: its parameters.
        quota: of `out`.

    Raises:
        MonotakdError: a setting, checkpoint or file cannot be used.
    """

    def __init__(self, node: Node, settings: GenerateSettings, quota: DiskQuota) -> None:
        self._node, self._settings, self._quota = node, settings, quota
        self._out = Path(settings.out)
        self._recorder = LiveRecorder(
            self._out,
            settings.generation_settings().selection,
            settings.part_format,  # type: ignore[arg-type]  # its choices are checked, as are those below
            settings.image_encoding,  # type: ignore[arg-type]
            settings.part_s,
        )
        self._labels = self._make_labels() if settings.teacher else None
        self._tf = self._make_tf()
        self._camera = self._make_camera()
        self._frames = self._make_frames()
        self._worker = RecordingWorker(self._frames, self._recorder, self._labels, quota)
        self._pairing = open_pairing(self._take_pair, settings.cloud_tolerance_s, self._time_jumps)
        self._clouds: Any = None
        self._qos_problem = ""
        self._quiet_ticks = 0
        self.cancelled = False

    def start(self) -> None:
        """See `Run`."""
        self._worker.start()
        if self._labels is not None:
            self._labels.start()
        self._node.create_timer(TICK_S, self._tick, clock=steady_clock())
        self.resume()

    def pause(self) -> str:
        """See `Run`."""
        self._camera.unsubscribe()
        if self._clouds is not None:
            self._node.destroy_subscription(self._clouds)
            self._clouds = None
        self._worker.rest()
        return "listens no longer; the open part is closed"

    def resume(self) -> str:
        """See `Run`."""
        self._quota.measure_anew()
        if self._labels is not None:
            self._labels.resume()
        self._worker.listen()
        if self._clouds is None:
            self._qos_problem = ""
            self._camera.subscribe()
            self._clouds = subscribe_to_sensor(
                self._node, "sensor_msgs/msg/PointCloud2", "points", self._pairing.add_cloud, self._note
            )
        return "listens"

    def cancel(self) -> str:
        """See `Run`."""
        self.cancelled = True
        self.pause()
        if self._labels is not None:
            self._labels.cancel()
        return "ends; what is recorded is kept: the node started again goes on"

    def status(self) -> RunStatus:
        """See `Run`."""
        worker, values = self._worker, self._values()
        if worker.stopped:
            return RunStatus("error", f"recording stopped: {worker.stopped}", values=values)
        if self.cancelled:
            return RunStatus("warn", "cancelled; what is recorded is kept", values=values)
        if self._labels is not None and self._labels.trouble:
            return RunStatus("error", f"parts wait for labels: {self._labels.trouble}", values=values)
        if not worker.listening:
            return RunStatus("warn", "paused", values=values)
        if self._quiet_ticks > QUIET_TICKS:
            return RunStatus("warn", f"no pair of image and cloud: {self._missing()}", values=values)
        if worker.problem:
            return RunStatus("warn", worker.problem, values=values)
        return RunStatus("ok", "recording", values=values)

    def preview(self) -> BoxedFrame | None:
        """See `Run`."""
        return self._worker.preview() if self._labels is None else self._labels.newest.read()

    def close(self) -> None:
        """See `Run`."""
        self.pause()
        self._worker.close()
        if self._labels is not None:
            self._labels.close()
        if self._tf is not None:
            self._tf.close()
        parts = len(self._recorder.parts)
        logger.info("%d frames recorded in %d parts, %s", self._recorder.kept, parts, self._out / PART_DIR)

    def _make_labels(self) -> LiveLabels:
        request = self._settings.request()
        for checkpoint in filter(None, (request.teacher, request.assistant)):
            CheckpointName.of(checkpoint)  # a missing one shows now, not when the first part is closed
        request = replace(
            request,
            sources=tuple(earlier_parts(self._out)),
            out=self._out / SET_DIR,
            settings=replace(request.settings, selection=ALL_FRAMES),  # they are chosen already
        )
        return LiveLabels(request, self._quota)

    def _make_camera(self) -> CameraSubscriptions:
        settings = self._settings
        _, decode = image_decoder(settings.image_decoder)  # type: ignore[arg-type]
        return CameraSubscriptions(
            self._node,
            "",
            settings.image_transport,
            settings.rectify,  # type: ignore[arg-type]
            decode,
            lambda message: self._pairing.add_image(message),
            on_problem=self._note,
        )

    def _make_frames(self) -> PairedFrames:
        settings = self._settings
        calibrated = calibrated_extrinsic(Path(settings.calibration)) if settings.calibration else None
        lookup = _no_tf if self._tf is None else self._tf.lookup
        return PairedFrames(self._camera.frames, self._points_topic, lookup, calibrated, settings.world_frame)

    def _make_tf(self) -> TransformLookup | None:
        """None where a calibration file does for it."""
        settings = self._settings
        if settings.calibration and not settings.world_frame:
            return None
        try:
            return TransformLookup(self._node, settings.tf_timeout_s)
        except MissingDependencyError as error:
            if not settings.calibration:
                raise
            logger.warning("the vehicle's motion is not known: %s", error)
            return None

    @property
    def _points_topic(self) -> str:
        return self._node.resolve_topic_name("points")

    def _time_jumps(self) -> None:
        if self._tf is not None:
            self._tf.clear()
        self._frames.forget()

    def _note(self, problem: str) -> None:
        self._qos_problem = problem

    def _take_pair(self, image: Any, cloud: Any) -> None:
        self._quiet_ticks = 0
        self._worker.take_pair(image, cloud)

    def _tick(self) -> None:
        self._quiet_ticks += 1
        self._worker.tick()

    def _missing(self) -> str:
        """What is not published, or does not fit."""
        if self._qos_problem:
            return self._qos_problem
        topics = (self._camera.image_topic, self._points_topic)
        silent = [topic for topic in topics if not self._node.count_publishers(topic)]
        if silent:
            return f"nobody publishes {' and '.join(silent)}"
        return f"no stamps within {self._settings.cloud_tolerance_s:g} s"

    def _values(self) -> dict[str, Any]:
        recorder, labels = self._recorder, self._labels
        values = {**self._worker.counts, "frames recorded": recorder.kept, "parts closed": len(recorder.parts)}
        values |= {f"left out: {reason}": count for reason, count in sorted(recorder.left_out.items())}
        values |= {"pose known": self._frames.has_world}
        if labels is not None:
            values |= {"parts labelled": labels.labelled, "parts waiting for labels": labels.waiting}
        if (used_gib := self._quota.used_gib) is not None:
            values |= {"GiB used": used_gib}
        return values | {"free GiB": self._quota.free_gib, "out": self._out}


def _no_tf(target: str, source: str, stamp_ns: int) -> np.ndarray:
    raise CalibrationError(f"tf from {source!r} to {target!r} at {stamp_ns} ns: not listened to")
